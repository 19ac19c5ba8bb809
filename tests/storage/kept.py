"""A small archive for tests: real products, packed, in real objects, and a copy of it in another folder."""

import hashlib
import io
import json
import random
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr

from terp.storage.archive import Archive
from terp.storage.archive.ocfl import place
from terp.storage.filling import Filling
from terp.storage.grid import Group, shape_array
from terp.storage.lineage import Origin, Origins
from terp.storage.making import Layout, create
from terp.storage.package.smallzip import write_zip
from terp.storage.package.table import pack_product
from terp.storage.places import Folder
from terp.storage.product import StoredProduct
from terp.storage.writing import Written, write_region

SHAPE = (4, 60)
SUMS = "SHA512SUMS"
URN = "urn:terp:kept:0123456789"
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def product(folder: Path) -> StoredProduct:
    """Two arrays (x, t) in four regions, sealed."""
    cut = {"x": (SHAPE[0], 1)}
    arrays = tuple(shape_array(name, ("x", "t"), SHAPE, "float32", cut) for name in ("rain", "wind"))
    group = Group("", cut, arrays)
    small = xr.Dataset(coords={"x": np.arange(SHAPE[0]), "t": ("t", np.arange(SHAPE[1]), {"units": "s"})})
    layout = Layout((group,), {"": small}, Origins({"": (Origin.of("", "", arrays),)}))
    made = create(folder / "rows-0", "rows", "rows-0", {"stage": "rows", "code": {"rows": "1"}}, layout)
    with Filling(made) as filling:
        for _, index in filling.missing():
            rng = np.random.default_rng(index)
            blocks = {array.name: rng.random((1, SHAPE[1])).astype("f4") for array in arrays}
            done = write_region(filling.attempts, group, index, blocks)
            filling.commit([Written("", index, done, 0.01, "test", reads=((index, index + 1), (0, SHAPE[1])))])
        filling.seal()
    return StoredProduct(made.folder)


def contents(work: Path) -> dict[str, Path]:
    """The files of an object as a run archives it, in small."""
    work.mkdir(parents=True)
    [packed] = pack_product(product(work / "product"), work, "rows")
    table = work / "rows.zarr.zip.members.json"
    rng = random.Random(3)
    zipped = io.BytesIO()
    write_zip(zipped, [(f"{name}.json", rng.randbytes(300)) for name in ("rows", "more")])
    texts = {
        "README.md": b"# What was measured\n" * 20,
        "prov.json": json.dumps({"entity": list(range(100))}).encode(),
        "picture.png": rng.randbytes(2000),
        "lineage.zip": zipped.getvalue(),
    }
    for name, data in texts.items():
        (work / name).write_bytes(data)
    return {"rows.zarr.zip": packed.path, table.name: table, **{name: work / name for name in texts}}


def summed(work: Path, files: Mapping[str, Path]) -> Path:
    """Write the checksums of some files, as `sha512sum` does."""
    lines = [f"{hashlib.sha512(path.read_bytes()).hexdigest()}  {name}\n" for name, path in sorted(files.items())]
    (work / SUMS).write_text("".join(lines))
    return work / SUMS


def archive(home: Path, urns: tuple[str, ...] = (URN,)) -> Folder:
    """An archive with an object of two versions for each name."""
    files = contents(home / "work")
    first = {name: path for name, path in files.items() if name != "prov.json"}
    made = Archive(home / "archive")
    made.create_if_missing()
    for urn in urns:
        about = {"message": "kept", "user_name": "A Tester", "created": NOON}
        for version in (first, files):
            made.ingest(urn, {**version, SUMS: summed(home / "work", version)}, **about)  # type: ignore[arg-type]
    shutil.rmtree(home / "work")
    return Folder("archive", made.root)


def copied(archive: Folder, folder: Path, name: str = "attic") -> Folder:
    """A copy of all of an archive in another place."""
    shutil.copytree(archive.root, folder, copy_function=shutil.copyfile)
    return Folder(name, folder)


def home_of(urn: str = URN) -> str:
    """Where an object is in an archive."""
    return place(urn).as_posix()
