"""Workers of Dask that only sleep: many in one process, each a real one for the scheduler, which speaks TLS with it."""

import asyncio
import logging
import os
import random
import secrets
import signal
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from terp.storage.shard import Stored
from terp.storage.writing import Written

Region = tuple[bytes, dict[str, Stored]]  # the file of a region, the same for all, and what is told of it


def about(seconds: float) -> float:
    """Return half of it to half as much again: workers that all end at once would be counted once more or less."""
    return seconds * random.uniform(0.5, 1.5)


async def idled(seconds: float, number: int) -> int:
    """Take about so long for a region, and leave nothing."""
    await asyncio.sleep(about(seconds))
    return number


async def slept(seconds: float, region: Region, attempts: str, places: Sequence[tuple[str, int]]) -> list[Written]:
    """Take about so long for each region, and leave the files that a worker would have written."""
    from distributed import get_worker

    await asyncio.sleep(about(seconds * len(places)))
    name, made = str(get_worker().name), []
    for group, index in places:
        file = f"{index}-{secrets.token_hex(8)}-0"
        Path(attempts, file).write_bytes(region[0])
        made.append(Written(group, index, {array: (file, told) for array, told in region[1].items()}, seconds, name))
    return made


def serve(address: str, security: Any, count: int, ready: Connection) -> None:
    """Be so many workers, until this process is ended; say when all are there."""
    import dask

    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)  # in the end they are in the middle of things
    settings = {"distributed.worker.profile.enabled": False, "distributed.admin.system-monitor.interval": "1h"}
    with tempfile.TemporaryDirectory() as folder, dask.config.set(settings):
        asyncio.run(_serve(address, security, count, ready, folder))


async def _serve(address: str, security: Any, count: int, ready: Connection, folder: str) -> None:
    from distributed import Worker

    options = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "security": security, "local_directory": folder}
    workers = [Worker(address, name=f"sleeper/{number}", host="127.0.0.1", **options) for number in range(count)]
    for some in range(0, count, 50):
        await asyncio.gather(*workers[some : some + 50])
    ready.send(count)
    await asyncio.gather(*(worker.finished() for worker in workers))
