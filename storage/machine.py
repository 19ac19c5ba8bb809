"""Machine: what numbers can depend on beside the code: processor, C library, numerical library, threads.

Each process that computes tells it of itself, once: the nodes of a cluster need not be alike.
"""

import os
import platform
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

# What compilers and numerical libraries choose code by; other flags of a processor change no result.
_CHOSEN_BY = re.compile(r"^(s?sse[\d_]*[a-z]?|pni|avx.*|amx.*|fma4?|f16c|bmi\d|asimd.*|sve.*|neon|vx.*|vsx|fphp)$")
NATIVE = "native"
_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Machine:
    """A kind of machine, without its name; `features` are the vector instructions of its processor, sorted.

    `level` is what numerical libraries were held to of these: a level of x86-64, or all that the processor has.
    `threads` are what numerical libraries were told of threads: (library, number), "" for those left to themselves.
    """

    system: str
    libc: str
    cpu: str
    features: tuple[str, ...]
    blas: str
    threads: tuple[tuple[str, str], ...]
    level: str = ""

    @classmethod
    @cache
    def here(cls) -> "Machine":
        """Return what this process runs on."""
        system = f"{platform.system()} {platform.release()} {platform.machine()}"
        cpu, features = _processor()
        level = os.environ.get("TERP_PROCESSOR", NATIVE)
        threads = tuple((name, os.environ.get(f"{name}_NUM_THREADS", "")) for name in _THREADS)
        return cls(system, " ".join(platform.libc_ver()), cpu, features, _blas(), threads, level)

    @property
    def computes(self) -> tuple[str, tuple[str, ...]]:
        """What has to be equal for the same bits: the level, or processor and features where it was left to these."""
        return (self.cpu, self.features) if self.level in ("", NATIVE) else (self.level, ())

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"features": list(self.features), "threads": dict(self.threads)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Machine":
        """Read back what `to_json` gave."""
        lists = {"features": tuple(plain["features"]), "threads": tuple(plain["threads"].items())}
        return cls(**{**plain, **lists})


def _processor() -> tuple[str, tuple[str, ...]]:
    """Return the model and features of the first processor: those of a machine are alike."""
    told: dict[str, str] = {}
    with suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if not line.strip():
                break
            name, _, value = line.partition(":")
            told[name.strip()] = value.strip()
    features = told.get("flags", told.get("Features", "")).split()
    model = told.get("model name") or platform.processor() or platform.machine()
    return model, tuple(sorted(one for one in features if _CHOSEN_BY.match(one)))


def _blas() -> str:
    """Return the library that numpy does linear algebra with; "" in a process that computes nothing by numpy."""
    if "numpy" not in sys.modules:
        return ""
    import numpy as np

    built: Mapping[str, Any] = np.show_config(mode="dicts")
    blas = built.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', '')} {blas.get('version', '')}".strip()
