"""`python -m benchmarks.candidate ROW NAME --folder DIR`: run one candidate of a row; the harness starts this."""

import argparse
import ctypes
import socket
from contextlib import suppress
from pathlib import Path

from benchmarks.job import Job
from benchmarks.rows import ROWS, load

PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.candidate", description=__doc__)
    parser.add_argument("row", choices=list(ROWS))
    parser.add_argument("name")
    parser.add_argument("--folder", type=Path, required=True, help="holds the data in source/")
    parser.add_argument("--gib", type=float, required=True)
    parser.add_argument("--harness", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    adopt()
    job = Job(asked.folder, asked.gib, None if asked.harness is None else socket.socket(fileno=asked.harness))
    load(asked.row).candidates[asked.name].run(job)
    job.over()


def adopt() -> None:
    """Be the parent of whatever a child leaves behind, so that it is measured too; Linux only."""
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    main()
