"""Where the result rests: shards, ledger, products, provenance, packages and the archive."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

if __name__ != "terp.storage":  # a second name would make a second copy of every class
    raise ImportError(f"import terp.storage, not {__name__}")


def open(path: "Path | str", group: str = "") -> "xr.Dataset":  # noqa: A001
    """Open a group of a packed result as one Dataset, lazily and in place.

    `path` is NAME.zarr.zip or its table NAME.zarr.zip.members.json, for the whole result, in however many bands; a
    folder that holds one such table; or one package or band alone, which needs no table. Raises BadPackage for what is
    none of these or lacks a part, Damaged or Missing when what is read is not what was packed, DiskTrouble.
    """
    from terp.storage.package.joined import open_path

    return open_path(Path(path), group)
