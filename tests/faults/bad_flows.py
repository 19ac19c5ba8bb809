"""Flows that are wrong, each in its own way: what terp says of them is tested."""

import sys
from typing import Any

import numpy as np
import xarray as xr
from prefect import flow

from terp.workflows import Product, ingest, iterate, stage

BAND = {"latitude": 9}  # two regions


def same(block: xr.Dataset) -> xr.Dataset:
    """The block as it is."""
    return block


@stage(cut=("latitude",), block=BAND)
def array(block: xr.Dataset) -> xr.Dataset:
    """Returns a DataArray."""
    return block["surface_temperature"]  # type: ignore[return-value]


@stage(cut=("latitude",), block=BAND)
def flat(block: xr.Dataset) -> xr.Dataset:
    """Loses the dimension it is cut along."""
    return block.mean("latitude")


@stage(cut=("latitude",), block=BAND)
def doubled(block: xr.Dataset) -> xr.Dataset:
    """Changes the size of the dimension it is cut along."""
    return xr.concat([block, block], "latitude")


@stage(cut=("latitude",), block=BAND)
def sliding(block: xr.Dataset) -> xr.Dataset:
    """Makes a coordinate of its data."""
    return block.assign_coords(time=block["surface_temperature"].mean(("latitude", "longitude")).to_numpy())


@stage(cut=("latitude",), block=BAND)
def refusing(block: xr.Dataset) -> xr.Dataset:
    """Raises on any block."""
    raise LookupError(f"{len(block)} variables are too many")


@stage(cut=("latitude",), block=BAND)
def leaving(block: xr.Dataset) -> xr.Dataset:
    """Ends the process that calls it."""
    sys.exit(len(block))


@stage(cut=("latitude",), block=BAND)
def quitting(block: xr.Dataset) -> xr.Dataset:
    """Ends the process that calls it on real values, not on made-up ones."""
    if block["surface_temperature"].max() > 100:
        sys.exit(len(block))
    return block


@stage(cut=("latitude",), block=BAND)
def shifting(block: xr.Dataset) -> xr.Dataset:
    """Gives another type on real values than on made-up ones."""
    return block if block["surface_temperature"].max() < 100 else block.astype("f8")


@stage(cut=("latitude",), block=BAND)
def plain(block: xr.Dataset, normal: xr.Dataset | None = None, *, offset: Any = 0.0) -> xr.Dataset:
    """Adds an offset."""
    return block + offset if normal is None else block - normal


@stage(cut=("latitude",), block=BAND)
def handing(block: xr.Dataset, *, normal: xr.Dataset) -> xr.Dataset:
    """Takes a product by name."""
    return block - normal


@stage(cut=("depth",))
def deep(block: xr.Dataset) -> xr.Dataset:
    """Is cut along what is not there."""
    return block


@stage(whole=("depth",))
def keeping(block: xr.Dataset) -> xr.Dataset:
    """Keeps whole what is not there."""
    return block


@stage(cut=("latitude",), libraries=("no-such-library",))
def learned(block: xr.Dataset) -> xr.Dataset:
    """Names a library that nobody has."""
    return block


@stage(cut=("latitude",), block=BAND)
def spoken(block: xr.Dataset) -> xr.Dataset:
    """Returns text."""
    words = np.full(block["surface_temperature"].shape, "warm")
    return xr.Dataset({"words": (block["surface_temperature"].dims, words)}, block.coords)


@stage(cut=())
def renamed(state: xr.Dataset) -> xr.Dataset:
    """Returns another variable than it takes."""
    return state.rename(surface_temperature="departure")


STAGES = {
    one.__name__: one
    for one in (
        *(array, flat, doubled, sliding, refusing, leaving, quitting),
        *(shifting, deep, keeping, learned, spoken, plain),
    )
}


@flow
def one(which: str, source: str = "ostia") -> Product:
    """Run one of the stages."""
    return STAGES[which](ingest(source))


@flow
def by_name(source: str = "ostia") -> Product:
    """Hand a product over by name."""
    data = ingest(source)
    return handing(data, normal=data)  # type: ignore[no-any-return]


@flow
def odd_parameter(source: str = "ostia") -> Product:
    """Give a parameter that JSON cannot hold."""
    return plain(ingest(source), offset={1, 2})


@flow
def too_many(source: str = "ostia") -> Product:
    """Give a stage more than it takes."""
    data = ingest(source)
    return plain(data, data, data)


@flow
def unequal(a: str, b: str) -> Product:
    """Take two grids of different sizes together."""
    return plain(ingest(a), ingest(b))


@flow
def changing(source: str = "ostia") -> Product:
    """Iterate what changes its state."""
    return iterate(renamed, ingest(source), limit=3)


@flow
def grouped(source: str = "ostia") -> Product:
    """Ask for a group that is not there."""
    return plain(ingest(source)["deeper"])


@flow
def nothing(source: str = "ostia") -> float:
    """Return no product."""
    return float(ingest(source).dims["latitude"])


@flow
def broken(source: str = "ostia") -> Product:
    """Raise in the flow's own body."""
    data = ingest(source)
    raise LookupError(f"{len(data.dims)} dimensions are too many")


@flow
def broken_later(source: str = "ostia") -> Product:
    """Raise in the flow's own body after a look at the values, so not in the plan."""
    data = plain(ingest(source))
    raise LookupError(f"{float(data.open()['surface_temperature'].max()):.0f} K is too warm")


@flow
def ending(source: str = "ostia") -> Product:
    """End the program in the flow's own body."""
    sys.exit(f"no use for {source}")


@flow
def decorated(how: str, source: str = "ostia") -> Product:
    """Cut a stage as `how` says."""
    ways: dict[str, dict[str, Any]] = {
        "both": {"cut": ("latitude",), "whole": ("time",)},
        "text": {"cut": "latitude"},
        "neither": {},
        "block": {"cut": ("latitude",), "block": {"longitude": 2}},
        "zero": {"cut": ("latitude",), "block": {"latitude": 0}},
        "overlap": {"cut": ("latitude",), "over": ("latitude",)},
    }
    return stage(**ways[how])(same)(ingest(source))


@flow
async def later(source: str = "ostia") -> Product:
    """Be async."""
    return ingest(source)
