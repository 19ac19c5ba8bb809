"""A plain picture of any result, for flows that bring none of their own: a line, a map, or a histogram."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

PICTURE = "picture.png"  # of a run's results, in their object
_MOST = 4_000_000  # values that are read for one panel
_PANELS = 6


def quicklook(results: "Mapping[str, xr.Dataset]", target: Path) -> None:
    """Write a PNG with a panel for each variable, the first of its leading dimensions where there are many."""
    from matplotlib.figure import Figure

    panels = [(name, data[v]) for name, data in results.items() for v in data.data_vars if _is_plain(data[v])][:_PANELS]
    figure = Figure(figsize=(9, 3 * max(len(panels), 1)), dpi=120, layout="constrained")
    for axes, (name, values) in zip(figure.subplots(max(len(panels), 1), squeeze=False)[:, 0], panels, strict=False):
        shown, where = _cut(values)
        _draw(axes, shown)
        axes.set_title(f"{name}: {values.name} {where}", loc="left", fontsize=10)
    figure.savefig(target, format="png", metadata={"Software": None})


def _is_plain(values: "xr.DataArray") -> bool:
    return values.dtype.kind in "fciub" and values.size > 0


def _cut(values: "xr.DataArray") -> "tuple[xr.DataArray, str]":
    """Return at most two dimensions of a variable, and words for where the others were cut."""
    first = dict.fromkeys(values.dims[:-2], 0)
    shown = values.isel(first)
    steps = {dim: slice(None, None, max(1, -(-n // 2000))) for dim, n in shown.sizes.items()}
    shown = shown.isel(steps).load()
    where = ", ".join(f"{dim} 0 of {values.sizes[dim]}" for dim in first)
    return (abs(shown) if shown.dtype.kind == "c" else shown), f"({where})" if where else ""


def _draw(axes: Any, values: "xr.DataArray") -> None:
    numbers = values.to_numpy().astype(float)
    if numbers.ndim == 2:
        finite = numbers[np.isfinite(numbers)]
        low, high = np.percentile(finite, [1, 99]) if finite.size else (0, 1)
        picture = axes.imshow(numbers, aspect="auto", vmin=low, vmax=high, origin="lower", interpolation="nearest")
        axes.figure.colorbar(picture, ax=axes, label=str(values.attrs.get("units", "")))
        axes.set_ylabel(values.dims[0])
    else:
        axes.plot(np.atleast_1d(numbers), linewidth=1)
        axes.set_ylabel(str(values.attrs.get("units", "")))
    axes.set_xlabel(values.dims[-1] if values.ndim else "")
