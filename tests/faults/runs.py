"""Whole runs as a user starts them, and what came of them."""

import os
import subprocess
import sys
from pathlib import Path

from terp.storage.product import StoredProduct

FLOWS = Path(__file__).parent / "flows.py"
COMMAND = [str(Path(sys.executable).with_name("terp")), "run", f"{FLOWS}:departures", "--no-archive", "--quiet"]
REGIONS = 216  # of the slow stage


def environment(home: Path, prefect: dict[str, str]) -> dict[str, str]:
    """The environment of a command that works in `home`."""
    return {**os.environ, **prefect, "TERP_HOME": str(home)}


def run(home: Path, prefect: dict[str, str]) -> None:
    """Run to the end."""
    done = attempt(environment(home, prefect))
    assert done.returncode == 0, done.stderr


def attempt(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run, and see how it ends."""
    return subprocess.run([*COMMAND, "--workers", "2"], env=environment, capture_output=True, text=True, timeout=240)


def products(home: Path) -> dict[str, bytes]:
    """All bytes that count: the Zarr groups, manifests and seals of all products."""
    found = {}
    for folder in (home / "products").glob("[!.]*"):
        for path in [*(folder / "data.zarr").rglob("*"), *folder.glob("manifest.*"), folder / "seal.json"]:
            if path.is_file():
                found[str(path.relative_to(home))] = path.read_bytes()
    return found


def recorded(home: Path) -> int:
    """How many times a region of the slow stage was recorded, over all segments."""
    return sum(rows(folder) for folder in (home / "products").glob("slow-*/ledger"))


def rows(ledger: Path) -> int:
    """How many rows there are in the ledger of a product."""
    size = StoredProduct(ledger.parent).ledger.type.itemsize
    return sum(path.stat().st_size // size for path in ledger.glob("*.rows"))
