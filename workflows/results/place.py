"""Find the regions that hold a value, or several, by the labels of its coordinates."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from terp.storage.codec import Values
from terp.storage.grid import Group
from terp.workflows.errors import Usage

Labels = Callable[[str], Values | None]  # of a dimension; None where it has no coordinate
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d([ T]\d\d(:\d\d(:\d\d)?)?)?)?)?")


@dataclass(frozen=True)
class Along:
    """Where along one dimension: positions from `start` to before `stop`, and the labels of the first and last."""

    start: int
    stop: int
    first: str
    last: str
    nearest: bool

    def __str__(self) -> str:
        span = self.first if self.first == self.last else f"{self.first} to {self.last}"
        return f"{span} (the nearest)" if self.nearest else span


def chosen(groups: tuple[Group, ...], variable: str) -> Group:
    """Return the group of a variable, which may be left out where there is one; raises Usage, which lists them."""
    known = {f"{g.path}/{a.name}".strip("/"): g for g in groups for a in g.arrays}
    fits = {name: g for name, g in known.items() if not variable or variable in (name, name.rpartition("/")[2])}
    if len({group.path for group in fits.values()}) == 1:
        return next(iter(fits.values()))
    said = f"there is no variable {variable!r}" if variable else "there are several groups"
    raise Usage(f"{said}: name one of {', '.join(fits or known)} with --variable")


def along(labels_of: Labels, sizes: Mapping[str, int], at: Mapping[str, str]) -> dict[str, Along]:
    """Return where labels are; raises Usage for what is not there, with what is."""
    unknown = [dim for dim in at if dim not in sizes]
    if unknown:
        raise Usage(f"there is no dimension {unknown[0]!r}: --at takes {', '.join(sizes)}")
    return {dim: _along(labels_of(dim), dim, sizes[dim], label) for dim, label in at.items()}


def _along(labels: Values | None, dim: str, size: int, label: str) -> Along:
    if labels is None:
        if not label.lstrip("-").isdecimal() or not 0 <= int(label) < size:
            raise Usage(f"{dim} has no coordinate: give a number from 0 to {size - 1}, not {label!r}")
        return Along(int(label), int(label) + 1, label, label, nearest=False)
    try:
        found = _found(labels, label)
    except (KeyError, ValueError, TypeError):
        found = np.zeros(0, int)
    if not found.size:
        raise Usage(f"{dim} has no {label!r}: it has {size} labels from {_text(labels[0])} to {_text(labels[-1])}")
    start, stop = int(found.min()), int(found.max()) + 1
    nearest = labels.dtype.kind == "f" and float(labels[start]) != float(label)
    return Along(start, stop, _text(labels[start]), _text(labels[stop - 1]), nearest)


def _found(labels: Values, label: str) -> Values:
    """Return the places of what is meant by a label; none, or an error, where that is not there."""
    kind = labels.dtype.kind
    if kind in "iu":
        return np.flatnonzero(labels == int(label))
    if kind == "M" and _DATE.fullmatch(label):
        first = np.datetime64(label.replace(" ", "T"))  # in units of what is written: a year, a month, ...
        moments = labels.astype("M8[us]")
        return np.flatnonzero((first <= moments) & (moments < first + 1))
    if kind == "f" and math.isfinite(float(label)) and (np.all(np.diff(labels) > 0) or np.all(np.diff(labels) < 0)):
        away = np.abs(labels.astype("f8") - float(label))
        if away.min() > np.abs(np.diff(labels.astype("f8"))).max(initial=0) and len(labels) > 1:
            return np.zeros(0, int)  # beyond the ends: -75 is no longitude from 0 to 360
        nearest = np.flatnonzero(away == away.min())
        return nearest[[np.argmax(labels[nearest])]]  # the larger of two, as pandas has it
    return _found_by_xarray(labels, float(label) if kind == "f" else label)


def _found_by_xarray(labels: Values, wanted: float | str) -> Values:
    """Return the same for texts, other calendars, other ways to write a date, and numbers in no order."""
    import xarray as xr

    places = xr.DataArray(np.arange(len(labels)), {"at": labels}, ["at"])
    return np.atleast_1d(places.sel(at=wanted, method="nearest" if isinstance(wanted, float) else None))


def _text(label: Any) -> str:
    value = np.asarray(label)
    if value.dtype.kind == "M":
        return str(np.datetime_as_string(value, unit="s")).removesuffix("T00:00:00")
    return str(value[()])


def regions(group: Group, found: Mapping[str, Along]) -> Values:
    """Return the numbers of the regions that hold what was found; of a dimension of which nothing is said, all."""
    numbers = np.zeros(1, int)
    for (dim, (_, block)), count in zip(group.cut.items(), group.grid, strict=True):
        one = found.get(dim)
        places = np.arange(one.start // block, (one.stop - 1) // block + 1) if one else np.arange(count)
        numbers = np.add.outer(numbers * count, places).reshape(-1)
    return numbers
