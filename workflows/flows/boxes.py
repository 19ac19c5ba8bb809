"""Areas of a grid: boxes in degrees, known ones by name, and the axes they are measured on."""

import xarray as xr

from terp.storage.errors import BadInput

Box = tuple[float, float, float, float]

BOXES: dict[str, Box] = {  # west, east (degrees east), south, north, edges included
    "nino1+2": (270, 280, -10, 0),
    "nino3": (210, 270, -5, 5),
    "nino3.4": (190, 240, -5, 5),
    "nino4": (160, 210, -5, 5),
}
_EDGE = 1e-3  # degrees: coordinates are often float32


def axis(dataset: xr.Dataset | xr.DataArray, which: str) -> xr.DataArray:
    """The axis "latitude" or "longitude" of a grid, by its CF standard name or its usual ones; BadInput without one."""
    for name in map(str, dataset.indexes):
        if name in (which, which[:3]) or dataset[name].attrs.get("standard_name") == which:
            return dataset[name]
    found = ", ".join(map(str, dataset.dims))
    raise BadInput(f"A mean over an area needs an axis of {which} (by name or CF standard_name); the axes are {found}.")


def within(latitude: xr.DataArray, longitude: xr.DataArray, box: Box | None) -> xr.DataArray:
    """Which cells have their centre in the box, edges included; longitudes count modulo 360."""
    if box is None:
        return xr.ones_like(latitude, dtype=bool) & xr.ones_like(longitude, dtype=bool)
    west, east, south, north = box
    rows = (latitude >= south - _EDGE) & (latitude <= north + _EDGE)
    return rows & ((longitude - west + _EDGE) % 360 <= min(east - west, 360) + 2 * _EDGE)
