"""Facts about the machine and the software, for whoever compares results."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = (
    *("numpy", "numba", "numcodecs", "zarr", "google-crc32c", "xarray", "dask", "distributed", "prefect", "ducc0"),
    *("zarrs", "flox", "numbagg", "bottleneck", "tensorstore", "cubed", "h5py", "hdf5plugin", "prefect-dask"),
)
_FREE = 0.03  # of the memory, which the kernel keeps
ROOT = Path(__file__).parents[1]


def facts() -> dict[str, Any]:
    """Return what the results depend on and are known by."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
        "versions": installed(),
    }


def fill_page_cache(folder: Path) -> None:
    """Have the kernel use memory that is free for cached files, of nothing but zeros, that it may drop at any time.

    A virtual machine gives memory that nobody uses back to its host, and waits for it when it is wanted again: 9 us a
    page where this was found, which is paid by whoever comes first, and by whoever takes most.
    """
    ballast = folder / "ballast"  # takes no room on the disk; it stays, as memory of a file that is removed is free
    with ballast.open("ab") as file:
        start = file.tell()
        memory = psutil.virtual_memory()
        file.truncate(start + max(0, memory.free - int(memory.total * _FREE)))
    with ballast.open("rb", buffering=0) as file:
        file.seek(start)
        buffer = bytearray(8 << 20)
        while file.readinto(buffer):
            pass


def commit() -> str:
    """Return git's commit, with a + if files differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or "unknown"


def cpu_model() -> str:
    names = [
        line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model n")
    ]
    return names[0].strip() if names else platform.machine()


def installed() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def chosen(versions: dict[str, str]) -> dict[str, str]:
    """Return the versions of the libraries that matter here."""
    return {name: versions[name] for name in LIBRARIES if name in versions}
