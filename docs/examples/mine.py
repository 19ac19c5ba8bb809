"""A flow of one's own: how far each month was from what is usual at a place, and the mean over the area."""

import numpy as np
import xarray as xr
from prefect import flow

from terp.workflows import Product, ingest, stage


@stage(whole=("time",))  # a block has all times of some places
def departure(block: xr.Dataset) -> xr.Dataset:
    """Each month minus the mean of that calendar month."""
    months = block.groupby("time.month")
    return (months - months.mean("time")).drop_vars("month")


@stage(over=("latitude", "longitude"))  # block by block, then added up
def area_mean(block: xr.Dataset) -> xr.Dataset:
    """Sum and weight of a block: cells get smaller towards the poles."""
    weight = np.cos(np.deg2rad(block["latitude"]))
    values = block["surface_temperature"]
    sums = (values * weight).sum(("latitude", "longitude"))
    weights = (values.notnull() * weight).sum(("latitude", "longitude"))
    return xr.Dataset({"sum": sums, "weight": weights})


@area_mean.finish
def _(total: xr.Dataset) -> xr.Dataset:
    return xr.Dataset({"mean": total["sum"] / total["weight"]})


@flow
def departures(source: str = "ostia") -> dict[str, Product]:
    """Departures of the sea-surface temperature from its monthly normals."""
    each = departure(ingest(source))
    return {"departures": each, "mean": area_mean(each)}
