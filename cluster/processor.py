"""One set of vector instructions for a whole run, so that its bits are the same on every processor that has them.

numpy and BLAS choose code by what the processor offers, and a product summed in eight lanes is rounded otherwise than
one in four. Workers are told what to compute with instead: a level of x86-64 (System V ABI, AMD64 supplement, table
3.1), by default that of all processors since 2013. What was made at a level is made again at that level.

What numba compiles keeps the order of the source, in whatever lanes, and so its bits: it may use all that there is.
"""

import platform
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Literal

from terp.cluster.errors import NoWorkers

type Level = Literal["x86-64-v2", "x86-64-v3", "x86-64-v4", "native"]

NATIVE: Final = "native"  # all that a processor has
USUAL: Final = "x86-64-v3"
VARIABLE = "TERP_PROCESSOR"  # says to workers what they compute with
_BY_LEVEL = (2, 4)  # the numpy that is built for the lowest level, and goes by levels itself


@dataclass(frozen=True)
class _Level:
    """What a level has more than the one below, as Linux and older numpy call it; and what BLAS calls the level."""

    flags: str
    numpy: str
    openblas: str
    mkl: str


_LEVELS: Mapping[str, _Level] = {
    "x86-64-v2": _Level("cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3", "SSSE3 SSE41 POPCNT SSE42", "Nehalem", "SSE4_2"),
    "x86-64-v3": _Level("abm avx avx2 bmi1 bmi2 f16c fma movbe", "AVX F16C FMA3 AVX2", "Haswell", "AVX2"),
    "x86-64-v4": _Level(
        "avx512f avx512bw avx512cd avx512dq avx512vl", "AVX512F AVX512CD AVX512_SKX", "SkylakeX", "AVX512"
    ),
}
LEVELS = (*_LEVELS, NATIVE)


def settings(level: str) -> dict[str, str]:
    """Return what the environment of a worker must hold before numpy is imported, for it to compute at a level."""
    if level not in _LEVELS or not _is_x86():
        return {VARIABLE: NATIVE}
    return {
        VARIABLE: level,
        "NPY_ENABLE_CPU_FEATURES": _numpy_names(level),
        "OPENBLAS_CORETYPE": _LEVELS[level].openblas,
        "MKL_CBWR": _LEVELS[level].mkl,
    }


def lacking(level: str) -> list[str]:
    """Return what this processor lacks of a level, as Linux names it."""
    if level not in _LEVELS or not _is_x86():
        return []
    here = _flags()
    return [flag for one in _up_to(level) for flag in one.flags.split() if flag not in here]


def demand(level: str) -> None:
    """Raise NoWorkers where this processor lacks something of a level."""
    lacks = lacking(level)
    if lacks:
        raise NoWorkers(
            f"the processor of {platform.node()} has no {', '.join(lacks)}, which {level} needs: "
            f"take {usual()} (--processor, or `processor` of the site)"
        )


def usual() -> str:
    """Return the level that is taken where none is asked for: the usual one, or the highest below it that is here."""
    below = [level for level in _LEVELS if level <= USUAL and not lacking(level)]
    return below[-1] if below and _is_x86() else NATIVE


def pin(environment: MutableMapping[str, str]) -> None:
    """Have this process compute at the level that its environment names. Raises NoWorkers where it cannot."""
    level = environment.get(VARIABLE, NATIVE)
    demand(level)
    environment.update(settings(level))


def _numpy_names(level: str) -> str:
    """Return what numpy calls the instructions of a level, beyond those that it was built for."""
    if tuple(map(int, version("numpy").split(".")[:2])) < _BY_LEVEL:
        return " ".join(one.numpy for one in _up_to(level))
    names = [f"X86_{name[-2:].upper()}" for name in _LEVELS if name <= level]
    return " ".join(names[1:] or names)


def _up_to(level: str) -> list[_Level]:
    return [one for name, one in _LEVELS.items() if name <= level]


def _is_x86() -> bool:
    return platform.machine() in ("x86_64", "AMD64")


def _flags() -> set[str]:
    with suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("flags"):
                return set(line.partition(":")[2].split())
    return set()
