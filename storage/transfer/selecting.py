"""Which part of the data is wanted: variables by name, and ranges of the labels of dimensions, both ends included."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from terp.storage.errors import BadInput
from terp.storage.sharded import Pick

if TYPE_CHECKING:
    import xarray as xr

_RANGE = ".."


def parsed(texts: Sequence[str]) -> dict[str, str]:
    """Return the ranges of `dim=a..b,dim=c` by dimension; raises BadInput."""
    found = dict[str, str]()
    for text in ",".join(texts).split(",") if texts else ():
        dim, equals, wanted = text.strip().partition("=")
        if not (dim and equals and wanted.strip(". ")):
            raise BadInput(f"--where takes DIM=FROM..TO or DIM=LABEL, as in time=1990..2000, not {text!r}")
        if dim in found:
            raise BadInput(f"--where names {dim} twice: give one range")
        found[dim] = wanted.strip()
    return found


def positions(frame: "xr.Dataset", dim: str, size: int, wanted: str) -> Pick:
    """Return where the labels of a dimension are within a range, or where one label is; raises BadInput.

    `frame` has decoded coordinates. A part of a date is all of that time: 1990..1991 ends with December 1991. Of a
    dimension without coordinate, positions from 0 are meant.
    """
    first, range_, last = wanted.partition(_RANGE)
    last = last if range_ else first
    labels = frame[dim].to_numpy() if dim in frame.coords and frame[dim].ndim == 1 else np.arange(size)
    try:
        inside = _inside(labels, first.strip(), last.strip())
    except (ValueError, TypeError) as error:
        raise BadInput(f"{dim}={wanted} is no range of labels of {dim}, which has {_span(labels)}: {error}") from None
    found = np.flatnonzero(inside)
    if not found.size:
        return slice(0, 0)
    whole = slice(int(found[0]), int(found[-1]) + 1)
    return whole if whole.stop - whole.start == found.size else found


def nothing(frame: "xr.Dataset", dim: str, size: int) -> str:
    """Return what to say where no label of a dimension was within a range."""
    labels = frame[dim].to_numpy() if dim in frame.coords and frame[dim].ndim == 1 else np.arange(size)
    return f"{dim} has {_span(labels)}"


def _inside(labels: "np.ndarray[Any, Any]", first: str, last: str) -> "np.ndarray[Any, Any]":
    if labels.dtype.kind == "M":
        return _between(labels, *_times(first, last))
    if labels.dtype.kind in "iuf":
        return _between(labels, float(first) if first else None, float(last) if last else None)
    if labels.dtype.kind == "O" and labels.size and hasattr(labels[0], "isoformat"):  # another calendar
        texts = np.array([one.isoformat() for one in labels])
        return _between(texts, first or None, f"{last}~" if last else None)  # "~" is behind every digit
    return _between(labels.astype(str), first or None, last or None)


def _between(labels: "np.ndarray[Any, Any]", low: Any, high: Any) -> "np.ndarray[Any, Any]":
    inside = np.ones(labels.shape, bool)
    if low is not None:
        inside &= labels >= low
    if high is not None:
        inside &= labels <= high
    return inside


def _times(first: str, last: str) -> tuple[Any, Any]:
    import pandas as pd

    low = np.datetime64(pd.Period(first).start_time) if first else None
    high = np.datetime64(pd.Period(last).end_time) if last else None
    return low, high


def _span(labels: "np.ndarray[Any, Any]") -> str:
    if not labels.size:
        return "no labels"
    return f"{labels.size} labels from {labels[0]} to {labels[-1]}"


def wanted_of(known: Sequence[str], variables: Sequence[str]) -> set[str]:
    """Return which of some paths of variables are wanted, by path or name; all where none are named."""
    if not variables:
        return set(known)
    found = {one: {path for path in known if one in (path, path.rpartition("/")[2])} for one in variables}
    if missing := [one for one, paths in found.items() if not paths]:
        raise BadInput(f"there is no variable {missing[0]!r}; there are {', '.join(known)}")
    return set().union(*found.values())
