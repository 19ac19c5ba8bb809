"""`python -m benchmarks.import_storm`: what the start of a worker asks of the file system that all nodes share.

The same imports from the tree as it is installed, and from a packed environment on the node's own disk (see
docs/decisions/010-environment.md). Files are counted by strace: opened, and asked for in any way (opened, looked at,
looked for in vain). Seconds are of a warm cache on this machine's disk; a parallel file system answers in the same
order, and 100 to 1000 times as slowly when many ask.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import terp.cluster
from terp.cluster.environment import pack, prologue

IMPORTS = "import terp.workflows.running.task, distributed"
SHARED = f"exec {sys.executable} -c '{IMPORTS}'"
PACKED = f"exec \"$TERP_PYTHON\" -c '{IMPORTS}'"
CALL = re.compile(r'(\w+)\((?:AT_FDCWD, )?"(/[^"]*)"(?:.* = (-?\d+))?')
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # that of whoever measures may lead through the folders that are watched


def shared_folders() -> tuple[str, ...]:
    """Return the folders that every node would read: environment, interpreter, and terp where it is a checkout."""
    own = Path(terp.cluster.__file__).resolve().parents[1]
    return tuple(f"{folder}/" for folder in {sys.prefix, sys.base_prefix, str(own)})


def count(script: str, folders: tuple[str, ...], trace: Path) -> dict[str, int]:
    """Return how many files in some folders a script of bash opened, and how often it asked for any."""
    command = ["strace", "-f", "--seccomp-bpf", "-e", "trace=%file", "-o", str(trace), "bash", "-c", script]
    subprocess.run(command, env=os.environ | {"PATH": PATH}, check=True, capture_output=True)
    calls = [match.groups() for line in trace.open(errors="replace") if (match := CALL.search(line))]
    trace.unlink()
    here = [(call, code or "-1") for call, path, code in calls if path.startswith(folders)]
    return {"opened": sum(call.startswith("open") and int(code) >= 0 for call, code in here), "asked": len(here)}


def run(script: str) -> None:
    """Run a script of bash."""
    subprocess.run(["bash", "-c", script], check=True, capture_output=True)


def timed[Result](function: Callable[[], Result]) -> tuple[Result, float]:
    """Return what a function gives, and the seconds that it took."""
    started = time.perf_counter()
    return function(), time.perf_counter() - started


def measure(place: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Return what packing and unpacking take, and what each kind of start asks for and takes."""
    packed, packing = timed(lambda: pack(place))
    _, again = timed(lambda: pack(place))
    nodes = [place / "node1", place / "node2"]
    for node in nodes:
        node.mkdir()
    unpack = ["\n".join(prologue(packed, str(node))) for node in nodes]
    _, unpacking = timed(lambda: run(unpack[0]))
    starts = {"shared": SHARED, "packed": f"{unpack[0]}\n{PACKED}"}
    rounds_of = {name: [timed(partial(run, script))[1] for _ in range(rounds)] for name, script in starts.items()}
    folders, trace = (*shared_folders(), str(packed)), place / "trace"
    found: dict[str, dict[str, float]] = {
        "pack": {"bytes": packed.stat().st_size, "seconds": packing, "again": again},
        "unpack": {"files": sum(len(files) for *_, files in os.walk(nodes[0])), "seconds": unpacking},
        "first": {**count(f"{unpack[1]}\n{PACKED}", folders, trace)},
    }
    for name, script in starts.items():
        found[name] = {**count(script, folders, trace), "seconds": statistics.median(rounds_of[name])}
    return found


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_storm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if shutil.which("strace") is None:
        sys.exit("files are counted by strace, which is not here: install it (Debian: apt install strace)")
    with tempfile.TemporaryDirectory(prefix="terp-bench-", dir=os.environ.get("TERP_BENCH")) as place:
        found = measure(Path(place), asked.rounds)
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    made, unpacked = found["pack"], found["unpack"]
    print(f"packed {made['bytes'] / 1e6:.0f} MB in {made['seconds']:.1f} s; found as packed in {made['again']:.2f} s")
    print(f"unpacked {unpacked['files']} files in {unpacked['seconds']:.1f} s, once a node\n")
    print(f"{'of the shared file system':28} {'opened':>8} {'asked for':>10} {'start':>8}")
    for name, words in {"shared": "shared", "first": "packed, first of a node", "packed": "packed, others"}.items():
        row = found[name]
        start = f"{row['seconds']:6.2f} s" if "seconds" in row else ""
        print(f"{words:28} {row['opened']:8.0f} {row['asked']:10.0f} {start}")


if __name__ == "__main__":
    main()
