"""What a process and all that it started take: seconds of processors, and memory."""

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

COST = 20  # looking takes at most one part in so many of the time
PAUSE = 0.05  # seconds between looks


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all below it."""
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def cpu_seconds(process: psutil.Process) -> float:
    """Return what all processes had, with those that ended and were waited for."""
    total = 0.0
    for one in family(process):
        with suppress(psutil.Error):
            total += sum(one.cpu_times()[:4])  # of itself: user, system; of its ended children: user, system
    return total


def pss_bytes(process: psutil.Process) -> list[int]:
    """Return the proportional set size of each process: pages that several share are divided among them."""
    sizes = []
    for one in family(process):
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines()
            sizes.append(1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1]))
    return sizes


class Watch(threading.Thread):
    """Looks at the memory again and again, and keeps the peaks: of the sum, and of the largest process."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.sum, self.largest = process, 0, 0
        self._over = threading.Event()

    def run(self) -> None:
        pause = 0.0
        while not self._over.wait(pause):
            began = time.perf_counter()
            sizes = pss_bytes(self.process)
            self.sum, self.largest = max(self.sum, sum(sizes)), max(self.largest, *sizes, 0)
            pause = max(PAUSE, COST * (time.perf_counter() - began))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
