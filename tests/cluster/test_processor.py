"""A run computes with one set of vector instructions, and then its bits are the same on other processors."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from terp.cluster import processor
from terp.cluster.errors import NoWorkers
from terp.cluster.launch import PINNED
from terp.cluster.launch_here import launch_here
from terp.cluster.processor import LEVELS, NATIVE, USUAL, VARIABLE, demand, lacking, pin, settings, usual

BITS = Path(__file__).with_name("bits.py")
EMULATOR = shutil.which("qemu-x86_64")
x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="levels are those of x86-64")
emulated = pytest.mark.skipif(not EMULATOR, reason="no qemu-x86_64 (Debian: qemu-user) to be another processor")


def bits(level: str, *words: str, before: tuple[str, ...] = ()) -> dict[str, Any]:
    command = [*before, sys.executable, str(BITS), *words]
    done = subprocess.run(
        command,
        env={**os.environ, **PINNED, **settings(level)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@x86
def test_numpy_in_a_worker_chooses_by_the_level_and_not_by_the_processor() -> None:
    chosen = bits(USUAL)["chosen"]
    assert chosen == settings(USUAL)["NPY_ENABLE_CPU_FEATURES"].split()
    assert chosen[-1] in ("AVX2", "X86_V3")
    if not lacking("x86-64-v4"):
        assert len(bits(NATIVE)["chosen"]) > len(chosen)


@x86
@pytest.mark.skipif(bool(lacking("x86-64-v4")), reason="this processor has no AVX-512")
def test_without_a_level_bits_depend_on_the_processor() -> None:
    there, here = bits(USUAL, "numba")["digests"], bits(NATIVE, "numba")["digests"]
    assert there["sum"] == here["sum"]
    assert [name for name in there if there[name] != here[name]] == ["exp", "log", "pow", "dot", "product"]


@x86
@emulated
@pytest.mark.parametrize("cpu", ["Haswell", "EPYC-Rome"])
def test_at_a_level_another_processor_gives_the_same_bits(cpu: str) -> None:
    assert bits(USUAL, before=(str(EMULATOR), "-cpu", cpu)) == bits(USUAL)


@x86
@emulated
@pytest.mark.campaign
def test_compiled_kernels_give_the_same_bits_on_another_processor_unless_they_may_reorder() -> None:
    there = bits(USUAL, "numba", before=(str(EMULATOR), "-cpu", "EPYC-Rome"))["digests"]
    here = bits(USUAL, "numba")["digests"]
    assert [name for name in there if there[name] != here[name]] == ["fastmath"]


@x86
@pytest.mark.parametrize(
    ("numpy", "names"),
    [("2.3.5", ["SSSE3 SSE41 POPCNT SSE42", "AVX F16C FMA3 AVX2"]), ("2.4.0", ["X86_V2", "X86_V3"])],
)
def test_each_numpy_is_told_in_its_own_names(monkeypatch: pytest.MonkeyPatch, numpy: str, names: list[str]) -> None:
    monkeypatch.setattr(processor, "version", lambda _: numpy)
    lowest, usual = (settings(level)["NPY_ENABLE_CPU_FEATURES"] for level in ("x86-64-v2", USUAL))
    assert lowest == names[0]
    assert usual == (names[1] if numpy == "2.4.0" else " ".join(names))


def test_what_a_job_runs_imports_no_numpy_before_it_is_held_to_a_level() -> None:
    seen = "import sys, terp.cluster.worker; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_workers_of_this_machine_are_held_to_a_level() -> None:
    with launch_here(1, processor=usual()) as crew:
        [found] = crew.client.run(lambda: dict(os.environ)).values()
    assert settings(usual()).items() <= found.items()
    assert not settings(usual()).keys() & os.environ.keys(), "this process is as it was"


@x86
def test_a_level_that_a_processor_has_not_is_refused_with_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        processor, "_flags", lambda: {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3", "avx"}
    )
    assert usual() == "x86-64-v2"
    with pytest.raises(NoWorkers, match=r"has no abm, avx2, bmi1, bmi2, f16c, fma, movbe, which x86-64-v3 needs: take"):
        demand(USUAL)
    environment = {VARIABLE: "x86-64-v4"}
    with pytest.raises(NoWorkers, match="avx512f"):
        pin(environment)
    assert environment == {VARIABLE: "x86-64-v4"}
    monkeypatch.setattr(processor, "_flags", set[str])
    assert usual() == NATIVE


def test_where_there_are_no_levels_a_processor_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    for level in LEVELS:
        assert settings(level) == {VARIABLE: NATIVE}
        demand(level)
    assert usual() == NATIVE
