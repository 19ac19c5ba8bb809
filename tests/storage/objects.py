"""Archived objects for tests of what leaves the archive: of a real product, made with the storage layer alone."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from terp.storage.archive import Archive
from terp.storage.archive.policy import POLICY
from terp.storage.filling import Filling
from terp.storage.grid import Group, shape_array
from terp.storage.home import Home
from terp.storage.lineage import Origin, Origins
from terp.storage.making import Layout, create
from terp.storage.package import pack_product
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region

URN = "urn:terp:wells:0123456789"
CANARY = "zeearend"  # a word of what is closed, which must not be in what is open
NUMBER = 31_337  # and a value
YEARS = np.arange(1985, 2006)
SHAPE = (YEARS.size, 5, 4)  # time, latitude, longitude
CUT = {"time": (YEARS.size, 8)}
POLICY_TEXT = (Path(__file__).parents[1] / "policy.toml").read_text()
CLOSED = """
[[beperkingGebruik]]
type = "Overig"
grond = "Archiefwet 1995, artikel 15, lid 1, onder a"
looptijd = "P20Y"
toelichting = "where the zeearend nests"
variables = ["zeearend", "nest"]
"""


def values(name: str) -> np.ndarray[Any, Any]:
    """All values of one of the arrays."""
    if name == "level":
        return np.arange(np.prod(SHAPE), dtype="f4").reshape(SHAPE)
    return np.full(SHAPE, NUMBER, "i4")


def layout() -> Layout:
    """Two arrays on one grid, one of them closed, of which other texts tell; of the coordinates one is closed."""
    dims = ("time", "latitude", "longitude")
    said = {
        "level": {
            "units": "m",
            "long_name": "level of the groundwater",
            "ancillary_variables": "zeearend quality",
            "comment": f"not where a {CANARY} nests",
            "actual_range": [0.0, 419.0],
            "valid_max": NUMBER,
        },
        CANARY: {"units": "1", "long_name": f"pairs of the {CANARY}", "valid_max": NUMBER},
    }
    shaped = (shape_array(name, dims, SHAPE, values(name).dtype.name, CUT) for name in said)
    arrays = tuple(replace(one, attrs=said[one.name]) for one in shaped)
    group = Group("", CUT, arrays)
    days = (np.array([f"{year}-07-01" for year in YEARS], "M8[D]") - np.datetime64("1985-01-01")).astype("i4")
    small = xr.Dataset(
        coords={
            "time": ("time", days, {"units": "days since 1985-01-01", "calendar": "standard", "standard_name": "time"}),
            "latitude": ("latitude", np.linspace(54, 50, SHAPE[1]), {"units": "degrees_north"}),
            "longitude": ("longitude", np.linspace(3, 6, SHAPE[2]), {"units": "degrees_east"}),
            "nest": ("latitude", np.full(SHAPE[1], NUMBER, "i4"), {"long_name": f"{CANARY} nests"}),
        },
        attrs={
            "title": f"Wells and the {CANARY}",
            "history": f"cut from {CANARY}.nc with --secret {NUMBER}",
            "Conventions": "CF-1.11",
        },
    )
    return Layout((group,), {"": small}, Origins({"": (Origin.of("", "", arrays),)}))


def product(folder: Path, plan: Layout | None = None) -> StoredProduct:
    """Make the product of a layout, sealed."""
    made = create(folder / "wells-0", "wells", "wells-0", {"stage": "wells", "code": {"wells": "1"}}, plan or layout())
    with Filling(made) as filling:
        for path, index in filling.missing():
            group = made.group(path)
            rows = group.box(index)["time"]
            blocks = {array.name: values(array.name)[rows] for array in group.arrays}
            done = write_region(filling.attempts, group, index, blocks)
            reads = ((rows.start, rows.stop), (0, SHAPE[1]), (0, SHAPE[2]))
            filling.commit([Written(path, index, done, 0.01, "test", reads=reads)])
        filling.seal()
    return made


def archived(
    home: Path,
    policy: str = POLICY_TEXT,
    more: Mapping[str, bytes] | None = None,
    identifier: str = URN,
    most: int = 1 << 30,
) -> Home:
    """Archive a product in its package, with what lies beside it; return the home."""
    house = Home(home).open()
    folder = home / "work"
    folder.mkdir(exist_ok=True)
    made = product(folder)
    path = folder / f"{CANARY}.zarr.zip"
    for old in folder.glob(f"{CANARY}.*"):
        old.unlink()
    packages = [one.path for one in pack_product(made, folder, CANARY, most)]
    beside = {
        "README.md": f"# Wells and the {CANARY}\n\nRead: {CANARY}.nc\n".encode(),
        "ro-crate-metadata.json": b"{}",
        "values.json": f'{{"facts":{{"most":{NUMBER}}}}}'.encode(),
        "picture.png": b"\x89PNG" + os.urandom(64),
        POLICY: policy.encode(),
    } | dict(more or {})
    for name, data in beside.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    files = [*packages, path.with_name(f"{path.name}.members.json"), *(folder / name for name in beside)]
    sums = "".join(
        f"{hashlib.sha512(one.read_bytes()).hexdigest()}  {one.relative_to(folder)}\n" for one in sorted(files)
    )
    (folder / "SHA512SUMS").write_text(sums)
    archive = Archive(house.archive)
    archive.create_if_missing()
    archive.ingest(
        identifier,
        {str(one.relative_to(folder)): one for one in [*files, folder / "SHA512SUMS"]},
        message="first",
        user_name="A. Maker",
        created=datetime(2026, 11, 21, 12, tzinfo=UTC),
    )
    return house


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
