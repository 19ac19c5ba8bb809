"""Flows that tests run and break."""

import ctypes
import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from prefect import flow

from terp.workflows import Product, ingest, iterate, stage


@stage(cut=("latitude", "longitude"), block={"latitude": 1, "longitude": 36})
def slow(block: xr.Dataset, *, seconds: float = 0.05) -> xr.Dataset:
    """Departures from the mean of all time; a region takes at least so many seconds. 18 x 12 = 216 regions."""
    if block.sizes["longitude"] > 2:  # not for the made-up block of the plan
        time.sleep(seconds)
        if ctypes.CDLL(None).getenv(b"ODD"):  # by Python's own way it would be a doubt in each plan
            warnings.warn("odd", stacklevel=2)
    return (block - block.mean("time")).rename(surface_temperature="departure")


@stage(over=("latitude", "longitude"), block={"latitude": 1})
def total(block: xr.Dataset) -> xr.Dataset:
    """Sum over the grid: 18 partial results, two levels."""
    return block.astype("f8").sum(("latitude", "longitude"))


@stage(cut=())
def halve(state: xr.Dataset) -> xr.Dataset:
    """Half of it."""
    return state / 2


def small(state: xr.Dataset) -> bool:
    """Whether all is small."""
    return bool(abs(state["departure"]).max() < 50)


@stage(cut=("latitude",), block={"latitude": 1})
def fragile(block: xr.Dataset) -> xr.Dataset:
    """Fails north of 2 degrees, but not on a made-up block."""
    if float(block["latitude"].min()) > 2 and block.sizes["latitude"] == 1 and block["surface_temperature"].max() > 100:
        raise ZeroDivisionError("no north here")
    return block


@stage(cut=("latitude",), block={"latitude": 9})
def murderous(block: xr.Dataset) -> xr.Dataset:
    """Kills its worker."""
    if block["surface_temperature"].max() > 100:
        os.kill(os.getpid(), 9)
    return block


@stage(cut=("latitude",), block={"latitude": 1})
def crashing(block: xr.Dataset) -> xr.Dataset:
    """Crashes in one region, as compiled code can."""
    if block["surface_temperature"].max() > 100 and 2 < float(block["latitude"].min()) < 2.5:
        os.kill(os.getpid(), signal.SIGSEGV)
    return block


@stage(cut=("latitude",), block={"latitude": 9})
def peeping(block: xr.Dataset) -> xr.Dataset:
    """Opens a file by itself."""
    secret = Path(os.environ.get("PEEP", "/nonexistent"))
    offset = len(secret.read_text()) if secret.exists() else 0
    return block + offset


@stage(cut=("latitude",), block={"latitude": 9})
def random_walk(block: xr.Dataset) -> xr.Dataset:
    """Gives other values each time."""
    return block + np.random.default_rng().normal()


@stage(cut=("latitude",), block={"latitude": 9})
def cut_dependent(block: xr.Dataset) -> xr.Dataset:
    """Takes the mean along the dimension it is cut along."""
    return block - block.mean("latitude")


@stage(cut=("latitude",), block={"latitude": 1})
def lingering(block: xr.Dataset, *, folder: str = "", times: int = 1, holding: bool = False) -> xr.Dataset:
    """Does not come back from one region, the first times; `holding` Python's lock, as compiled code can."""
    if folder and block["surface_temperature"].max() > 100 and 2 < float(block["latitude"].min()) < 2.5:
        before = len(list(Path(folder).iterdir()))
        Path(folder, f"{before}-{os.getpid()}").touch()
        if before < times:
            (ctypes.PyDLL(None) if holding else ctypes.CDLL(None)).sleep(3600)
    return block


@flow
def linger(source: str = "ostia", folder: str = "", times: int = 1, holding: bool = False) -> Product:
    """Do not come back from one region."""
    return lingering(ingest(source), folder=folder, times=times, holding=holding)


@flow
def departures(source: str = "ostia", seconds: float = 0.05) -> dict[str, Product]:
    """Departures of the sea-surface temperature, their sum, and what is left of it after halving."""
    each = slow(ingest(source), seconds=seconds)
    whole = total(each)
    return {"each": each, "sum": whole, "left": iterate(halve, whole, limit=9, until=small)}


@flow
def failing(source: str = "ostia") -> Product:
    """Fail in the middle."""
    return fragile(ingest(source))


@flow
def killing(source: str = "ostia") -> Product:
    """Kill workers."""
    return murderous(ingest(source))


@flow
def crash(source: str = "ostia") -> Product:
    """Crash in one region."""
    return crashing(ingest(source))


@flow
def doubtful(source: str = "ostia") -> dict[str, Product]:
    """All that terp warns of."""
    data = ingest(source)
    return {"a": peeping(data), "b": random_walk(data), "c": cut_dependent(data)}


@flow
def branching(source: str = "ostia") -> Product:
    """Look at a value before going on."""
    data = ingest(source)
    return halve(data) if float(data.open()["surface_temperature"].max()) > 0 else data


@stage(cut=("latitude",), block={"latitude": 9})
def hungry(block: xr.Dataset) -> xr.Dataset:
    """Wants two gigabytes, but not for a made-up block."""
    if block["surface_temperature"].max() > 100:
        block = block + np.ones(2**28).max()
    return block


@flow
def starving(source: str = "ostia") -> Product:
    """Starves."""
    return hungry(ingest(source))


@stage(cut=("latitude",), block={"latitude": 9})
def picky(block: xr.Dataset, *, marks: str, later: str = "") -> xr.Dataset:
    """Fails in its southern region on the worker that gets it first; with `later`, on each other in another way."""
    if float(block["latitude"].min()) < 0 and block["surface_temperature"].max() > 100:
        try:
            with open(marks, "x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            if later:
                raise LookupError(later) from None
        if Path(marks).read_text() == str(os.getpid()):
            raise ZeroDivisionError("not here")
    return block


@flow
def choosing(marks: str, later: str = "", source: str = "ostia") -> Product:
    """A stage that fails on one of the workers."""
    return picky(ingest(source), marks=marks, later=later)


@stage(cut=("latitude",), block={"latitude": 9})
def northern(block: xr.Dataset) -> xr.Dataset:
    """Twice as much; two regions."""
    return block * 2


@stage(cut=("latitude",), block={"latitude": 9})
def spoiling(block: xr.Dataset, *, home: str, how: str) -> xr.Dataset:
    """Spoils, once, a shard that is read next."""
    if block.sizes["latitude"] == 9 and not (Path(home) / "spoilt").exists():
        last = max(Path(home).glob("products/northern-*/data.zarr/surface_temperature/c/*/*/*"))
        stored = bytearray(last.read_bytes())
        stored[len(stored) // 2] ^= 1
        last.unlink()
        if how == "altered":
            last.write_bytes(stored)
        (Path(home) / "spoilt").touch()
    return block * 2


@flow
def losing(home: str, how: str, source: str = "ostia") -> Product:
    """A stage whose input loses a shard while it is at work."""
    return spoiling(northern(ingest(source)), home=home, how=how)
