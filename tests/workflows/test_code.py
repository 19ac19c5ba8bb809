"""A stage's key is its own code and what it reaches: an edit elsewhere costs nothing, an edit here is seen."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from terp.workflows.planning.call import pickled
from terp.workflows.planning.code import Code

BASE = '''
import numpy as np
from helpers_of_test import scale

FACTOR = 2.5

def inner(x):
    """Says something."""
    return x * FACTOR

def unrelated(x):
    return x + 1

def block(x, power=2):
    # a remark
    return scale(np.sqrt(inner(x) ** power))
'''
HELPERS = "def scale(x):\n    return x * 3\n\ndef other(x):\n    return x\n"


def load(folder: Path, name: str, text: str) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def parts(tmp_path: Path) -> Callable[..., dict[str, str]]:
    counter = iter(range(1000))

    def of(text: str = BASE, helpers: str = HELPERS) -> dict[str, str]:
        folder = tmp_path / str(next(counter))
        folder.mkdir()
        load(folder, "helpers_of_test", helpers)
        return Code(load(folder, "flow_of_test", text).block).parts

    return of


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a remark", "# another remark"),
        ('"""Says something."""', '"""Says something else."""'),
        ("def unrelated(x):\n    return x + 1", "def unrelated(x):\n    return x + 100"),
        ("def block(x, power=2):", "def block(\n    x: float,\n    power: int = 2,\n) -> float:"),
        ("return x * FACTOR", "return (x *\n        FACTOR)"),
    ],
)
def test_an_edit_that_changes_nothing_costs_nothing(parts: Any, old: str, new: str) -> None:
    assert old in BASE
    assert parts(BASE.replace(old, new)) == parts()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x * FACTOR", "x / FACTOR"),
        ("FACTOR = 2.5", "FACTOR = 2.6"),
        ("power=2", "power=3"),
        ("np.sqrt", "np.cbrt"),
    ],
)
def test_an_edit_of_what_is_reached_is_seen(parts: Any, old: str, new: str) -> None:
    assert parts(BASE.replace(old, new)) != parts()


def test_an_edit_in_another_own_file_is_seen_only_where_it_is_reached(parts: Any) -> None:
    assert parts(helpers=HELPERS.replace("x * 3", "x * 4")) != parts()
    assert parts(helpers=HELPERS.replace("def other(x):\n    return x", "def other(x):\n    return -x")) == parts()


def test_what_cannot_be_named_is_told(tmp_path: Path) -> None:
    text = "class Thing:\n    pass\n\nTHING = Thing()\n\ndef block(x):\n    return x, THING\n"
    doubts = Code(load(tmp_path, "doubt_of_test", text).block).doubts
    assert any("THING is a Thing" in doubt for doubt in doubts)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("open('f').read()", "calls open"),
        ("xr.open_dataset('f')", "xr.open_dataset"),
        ("np.random.normal()", "np.random.normal"),
        ("time.time()", "time.time"),
        ("np.random.default_rng().normal()", "default_rng"),
    ],
)
def test_files_clocks_and_chance_are_told(tmp_path: Path, line: str, word: str) -> None:
    text = f"import time\nimport numpy as np\nimport xarray as xr\n\ndef block(x):\n    return x, {line}\n"
    assert any(word in doubt for doubt in Code(load(tmp_path, "impure_of_test", text).block).doubts)


def test_a_seeded_generator_is_no_doubt(tmp_path: Path) -> None:
    text = "import numpy as np\n\ndef block(x):\n    return x + np.random.default_rng(7).normal()\n"
    assert Code(load(tmp_path, "seeded_of_test", text).block).doubts == []


def test_a_kernel_that_may_be_reordered_is_told_of_unless_its_bits_may_differ(tmp_path: Path) -> None:
    text = "from numba import njit\n\n@njit(fastmath={})\ndef total(x):\n    return x.sum()\n\n"
    text += "def block(x):\n    return total(x)\n"
    fast = load(tmp_path, "fast_of_test", text.format(True)).block
    [doubt] = Code(fast).doubts
    assert doubt.startswith("total is compiled with fastmath: another processor may give other last bits")
    assert Code(fast, exact=False).doubts == []
    assert Code(load(tmp_path, "slow_of_test", text.format(False)).block).doubts == []


def test_the_methods_that_python_makes_for_a_dataclass_are_no_doubt(tmp_path: Path) -> None:
    text = "import dataclasses\n\n@dataclasses.dataclass(frozen=True)\nclass Box:\n    size: int = 1\n\n"
    found = Code(load(tmp_path, "boxed", text + "def block(x):\n    return Box(2).size * x\n").block)
    assert found.doubts == []
    assert set(found.parts) == {"block", "Box"}


def test_a_function_with_a_cache_reaches_workers_that_lack_its_file(tmp_path: Path) -> None:
    text = "import functools\n\n@functools.cache\ndef slow(x):\n    return x * 2\n\ndef block(x):\n    return slow(x)\n"
    (tmp_path / "sent").write_bytes(pickled(load(tmp_path, "cached_of_test", text).block))
    script = "import sys, cloudpickle; print(cloudpickle.load(open(sys.argv[1], 'rb'))[0](21))"
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "sent"], cwd="/", capture_output=True, text=True)
    assert done.stdout == "42\n", done.stderr
