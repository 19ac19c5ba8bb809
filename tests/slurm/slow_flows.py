"""A flow for tests of scaling: slow regions that note when they begin and end."""

import os
import socket
import time

import xarray as xr
from prefect import flow

from terp.workflows import Product, ingest, stage


@stage(cut=("latitude",), block={"latitude": 1})
def marked(block: xr.Dataset, *, seconds: float = 1.0, last: float = 1.0, marks: str = "") -> xr.Dataset:
    """18 regions that take so many seconds; the southernmost takes `last`. Each is marked in a file."""
    if block["surface_temperature"].max() > 100:  # not the made-up block of the plan
        south = float(block["latitude"].max())
        _mark(marks, "begin", south)
        time.sleep(last if south < -4.9 else seconds)
        _mark(marks, "end", south)
    return block + 1


def _mark(path: str, what: str, south: float) -> None:
    line = f"{what} {south:.2f} {socket.gethostname()} {time.time():.1f}\n".encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)


@flow
def marks(source: str = "ostia", seconds: float = 1.0, last: float = 1.0, path: str = "") -> Product:
    """Mark regions."""
    return marked(ingest(source), seconds=seconds, last=last, marks=path)
