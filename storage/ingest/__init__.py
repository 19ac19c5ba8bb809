"""Readers: what comes in, as xarray Datasets under CF or MSv4 names.

A reader is a module of this package with `NAME`, `CUT`, `recognise` and `read`; where the cut differs from file to
file, with `cut`; and where it reads parts of a source, with `pieces`, which tell in what files these are, and
`lacking`, which says what of them is not there. They are imported when they are needed, and asked in the order of
`READERS`.
"""

import stat
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terp.storage.errors import BadInput
from terp.storage.lineage import Pieces

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["READERS", "SAMPLES", "Reader", "locate", "recognise"]


@dataclass(frozen=True)
class Reader:
    """One kind of source; `module` is its name in this package, `kind` what people call it."""

    module: str
    kind: str

    @property
    def name(self) -> str:
        """The reader's name, as records give it."""
        return str(self._module.NAME)

    def recognise(self, path: Path) -> bool:
        """Whether the content at `path` is of this kind; never raises."""
        return bool(self._module.recognise(path))

    def read(self, path: Path) -> "dict[str, xr.Dataset]":
        """Group path -> Dataset, "" for the root; BadInput in a person's sentence for anything malformed."""
        groups: dict[str, xr.Dataset] = self._module.read(path)
        return groups

    def cut(self, groups: "Mapping[str, xr.Dataset]") -> dict[str, tuple[str, ...]]:
        """For each group the dimensions along which regions may be cut, the usual one first."""
        special: Callable[..., dict[str, tuple[str, ...]]] | None = getattr(self._module, "cut", None)
        if special:
            return special(groups)
        return {name: tuple(dim for dim in self._module.CUT if dim in group.dims) for name, group in groups.items()}

    def pieces(self, path: Path, groups: "Mapping[str, xr.Dataset]") -> dict[str, list[Pieces]]:
        """For each group how its arrays lie in the files of the source; none for what is read as a whole."""
        known: Callable[..., dict[str, list[Pieces]]] | None = getattr(self._module, "pieces", None)
        return known(path, groups) if known else {}

    def lacking(self, path: Path, groups: "Mapping[str, xr.Dataset]", names: Container[str]) -> list[str]:
        """Return a sentence for each array of which files are not among `names`, and that is read as missing values.

        Raises BadInput where they would be read as numbers.
        """
        known: Callable[..., list[str]] | None = getattr(self._module, "lacking", None)
        return known(path, groups, names) if known else []

    @property
    def _module(self) -> Any:
        return import_module(f"terp.storage.ingest.{self.module}")


READERS = (
    Reader("visibilities", "radio visibilities (UVFITS, UVH5, MeasurementSet)"),
    Reader("netcdf", "netCDF"),
    Reader("series", "a folder of netCDF files that follow each other along one axis"),
    Reader("stations", "KNMI daily station files (etmgeg_NNN.txt, or a folder of them)"),
    Reader("zarr", "a Zarr group"),
)

SAMPLES = {"ostia": ("iris_sample_data", "sample_data/ostia_monthly.nc")}

_LOOKS = (
    (b"GRIB", "GRIB; convert it to netCDF first (grib_to_netcdf, cdo -f nc4 copy)"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"\x1f\x8b", "gzip; unpack it first"),
    (b"BZh", "bzip2; unpack it first"),
    (b"\xfd7zXZ", "xz; unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"SIMPLE  =", "FITS without visibilities"),
    (b"\x93NUMPY", "a numpy array, which has no names or coordinates; save it as netCDF"),
)


def locate(source: str) -> Path:
    """The path of a source: a file or folder, or else the name of a sample that came with the installation."""
    if not source:
        raise BadInput(f"no source is named: give a file, a folder, or one of the samples {', '.join(SAMPLES)}.")
    path = Path(source).expanduser()
    if path.exists() or source not in SAMPLES:
        return path
    from importlib.resources import files

    package, inside = SAMPLES[source]
    try:
        return Path(str(files(package))) / inside
    except ModuleNotFoundError as error:
        message = (
            f"the sample '{source}' is in the package {package.replace('_', '-')}, which is not installed; install it."
        )
        raise BadInput(message) from error


def recognise(path: Path) -> Reader:
    """The reader for what is at `path`; BadInput names the path, what it looks like and the kinds there are."""
    looks = _unreadable(path)
    if not looks:
        for reader in READERS:
            if reader.recognise(path):
                return reader
        looks = _resembles(path)
    kinds = "; ".join(reader.kind for reader in READERS)
    raise BadInput(f"{path} {looks}. terp reads {kinds}; and the samples {', '.join(SAMPLES)}.")


def _unreadable(path: Path) -> str:
    """Why no reader needs to try."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            return "" if any(path.iterdir()) else "is an empty folder"
        if not stat.S_ISREG(kind):
            return "is neither a file nor a folder"
        with path.open("rb") as file:
            return "" if file.read(1) else "is an empty file"
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"can't be opened ({error.strerror})"


def _resembles(path: Path) -> str:
    if path.is_dir():
        return f"is a folder without anything terp knows ({len(list(path.iterdir()))} entries)"
    with path.open("rb") as file:
        start = file.read(2048)
    for magic, name in _LOOKS:
        if start.startswith(magic):
            return f"looks like {name}"
    return _text(start)


def _text(start: bytes) -> str:
    text = start.decode("latin-1").lstrip("\ufeffï»¿ \r\n\t").lower()
    if text.startswith(("<!doctype html", "<html")):
        return "looks like HTML: a web page was saved in place of the file; fetch it again"
    if text.startswith(("<?xml", "<error")):
        return "looks like XML"
    if b"\0" in start:
        return "is of a kind that terp does not know"
    lines = text.splitlines()
    commas = any(mark in lines[0] for mark in ",;\t") if lines else False
    return "looks like CSV or another table of text" if commas else "looks like plain text"
