"""A stage's key is its own code and what it reaches: an edit elsewhere costs nothing, an edit here is seen."""

import importlib.util
import os
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
    text = "import threading\n\nTHING = threading.Lock()\n\ndef block(x):\n    return x, THING\n"
    doubts = Code(load(tmp_path, "doubt_of_test", text).block).doubts
    assert any("THING is a lock" in doubt for doubt in doubts)


WRAPS = (
    "import functools\ndef by(k):\n def d(f):\n  @functools.wraps(f)\n  def w(x):\n   return f(x) * k + 2\n  return w\n"
)
WRAPS += " return d\n"
CALLS = "def block(x):\n return g(x)\n"
SCALE = "class S:\n k = 7\n def __init__(self, k):\n  self.k = k\n def of(self, x):\n  return x * self.k\n"
MADE = "import dataclasses as d\ndef f():\n return 2\n"
EDITED = {
    "a base class": (
        "class B:\n def f(self, x):\n  return x * 2\nclass C(B):\n pass\ndef block(x):\n return C().f(x)",
        "2",
        "3",
    ),
    "one of two lambdas": ("f = lambda x: x\ng = lambda x: x * 2\ndef block(x):\n return g(f(x))", "2", "3"),
    "a lambda in a table": (
        "T = {\n 'a': lambda x: x * 2,\n 'b': lambda x: x}\ndef block(x):\n return T['a'](x)",
        "2",
        "3",
    ),
    "which lambda of a line": ("a, b = lambda x: x, lambda x: -x\ng = a\ndef block(x):\n return g(x)", "= a", "= b"),
    "a function in a table": ("def f(x):\n return x * 2\nT = [f]\ndef block(x):\n return T[0](x)", "2", "3"),
    "which of two that are both reached": (
        "def a(x):\n return x\ndef b(x):\n return -x\ng = a\ndef block(x):\n return g(x), a, b",
        "g = a",
        "g = b",
    ),
    "what a decorator does": (f"{WRAPS}@by(1)\ndef block(x):\n return x", "2", "3"),
    "what a decorator is given": (f"{WRAPS}K = 5\n@by(K)\ndef block(x):\n return x", "5", "6"),
    "what is decorated": (f"{WRAPS}@by(1)\ndef block(x):\n return x * 7", "7", "8"),
    "what a stage-like decorator is given": (f"{WRAPS}stages = by\n@stages(5)\ndef block(x):\n return x", "5", "6"),
    "a decorated method": (
        f"{WRAPS}class C:\n @by(1)\n def f(self):\n  return 7\ndef block(x):\n return C().f()",
        "7",
        "8",
    ),
    "what is given in advance": (
        f"import functools\ndef f(k, x):\n return x * k\ng = functools.partial(f, 2)\n{CALLS}",
        "2",
        "3",
    ),
    "the object of a method": (f"{SCALE}g = S(2).of\n{CALLS}", "2", "3"),
    "a method of an object": (f"{SCALE}g = S(2)\ndef block(x):\n return g.of(x)", "x *", "x /"),
    "what makes an object": (f"{SCALE}g = S(2)\ndef block(x):\n return g.of(x)", "2", "3"),
    "what makes an attribute": ("K = 2\nclass C:\n k = K\ndef block(x):\n return x * C.k", "2", "3"),
    "an attribute that is set later": (f"{SCALE}S.k = 2\ndef block(x):\n return x * S.k", "2", "3"),
    "a default of a method": (
        "K = 2\nclass C:\n def f(self, k=K):\n  return k\ndef block(x):\n return C().f()",
        "2",
        "3",
    ),
    "a default that is made": (
        f"{MADE}@d.dataclass\nclass C:\n k: int = d.field(default_factory=f)\ndef block(x):\n return C().k",
        "2",
        "3",
    ),
    "a kind of argument": (
        "import functools\n@functools.singledispatch\ndef g(x):\n return x\n@g.register\ndef _(x: int):\n return 2\n"
        + CALLS,
        "2",
        "3",
    ),
    "an attribute of a function": (f"def g(x):\n return x * g.k\ng.k = 2\n{CALLS}", "2", "3"),
    "one of two closures": (
        "def by(k):\n def f(x):\n  return x * k\n return f\nf, g = by(1), by(2)\ndef block(x):\n return g(f(x))",
        "2",
        "3",
    ),
    "which library": ("import numpy as lib\ndef block(x):\n return lib.sqrt(x)", "numpy", "scipy"),
    "a member of an enum": (
        "import enum\nclass E(enum.Enum):\n A = 1\n B = 2\nE1 = E.A\ndef block(x):\n return E1.value",
        "E.A",
        "E.B",
    ),
    "a date": ("import datetime\nD = datetime.date(2020, 1, 1)\ndef block(x):\n return D", "2020", "2021"),
    "a mask": ("import numpy as np\nD = np.ma.array([1, 5], mask=[0, 2])\ndef block(x):\n return D", "2", "0"),
    "a helper that is named in the same way": (
        "from helpers_of_test import scale as other\ndef scale(x):\n return other(x)\ndef block(x):\n return scale(x)",
        "",
        "",
    ),
    "a helper that is imported when it is called": (
        "def block(x):\n from helpers_of_test import scale\n return scale(x)",
        "",
        "",
    ),
    "a module that is imported when it is called": (
        "def block(x):\n import helpers_of_test as h\n return h.scale(x)",
        "",
        "",
    ),
    "what is got by its name": (
        "import helpers_of_test\ndef block(x):\n return getattr(helpers_of_test, 'scale')(x)",
        "",
        "",
    ),
}


@pytest.mark.parametrize("what", EDITED)
def test_an_edit_is_seen_however_it_is_reached(parts: Any, what: str) -> None:
    text, old, new = EDITED[what]
    assert parts(text) == parts(text)
    if old:
        assert parts(text) != parts(text.replace(old, new))
    else:
        assert parts(text) != parts(text, HELPERS.replace("x * 3", "x * 4"))


def test_an_edit_in_a_module_of_a_package_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number in (2, 3):
        folder = tmp_path / str(number)
        (folder / f"pkg{number}").mkdir(parents=True)  # without __init__.py
        (folder / f"pkg{number}" / "sub.py").write_text(f"def f(x):\n    return x * {number}\n")
        monkeypatch.syspath_prepend(folder)
        text = f"import pkg{number}.sub as named\nimport pkg{number} as pkg\ndef block(x):\n    return pkg.sub.f(x)\n"
        found.append(Code(load(folder, "package_of_test", text).block).parts["f"])
    assert found == ["def f(x):\n    return x * 2", "def f(x):\n    return x * 3"]


def test_what_was_typed_at_a_prompt_is_told_apart_by_what_it_is_compiled_to() -> None:
    def typed(text: str) -> dict[str, str]:
        names: dict[str, Any] = {"__name__": __name__}
        exec(f"import math\ndef block(x):\n    return math.{text}", names)
        return Code(names["block"]).parts

    assert typed("sqrt(x)") == typed("sqrt(x)")
    assert typed("sqrt(x)") != typed("cosh(x)")
    assert typed("pow(x, 2)") != typed("pow(x, 3)")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("os.environ['K']", "reads environment variables"),
        ("os.getenv('K')", "reads environment variables"),
        ("np.load('f')", "calls np.load"),
        ("pathlib.Path('f').read_text()", "read_text"),
        ("open('f').read()", "calls open"),
        ("xr.open_dataset('f')", "xr.open_dataset"),
        ("np.random.normal()", "np.random.normal"),
        ("time.time()", "time.time"),
        ("np.random.default_rng().normal()", "default_rng"),
    ],
)
def test_files_clocks_and_chance_are_told(tmp_path: Path, line: str, word: str) -> None:
    text = f"import os, pathlib, time\nimport numpy as np\nimport xarray as xr\n\ndef block(x):\n    return x, {line}\n"
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


def test_what_was_put_into_a_library_counts_where_it_is_taken_of_that_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(block: Any) -> Any:
        return block.rename(a="b"), os.path.sep

    def renaming(block: Any) -> Any:
        return os.rename("a", "b"), block

    before = Code(renamed).parts, Code(renaming).parts
    monkeypatch.setattr(os, "rename", lambda *_: "own")
    assert Code(renamed).parts == before[0]
    assert Code(renaming).parts != before[1]
