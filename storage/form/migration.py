"""Put what is packed into a second form beside it, and tell of it as a migration (PREMIS 3.0, eventType)."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from blake3 import blake3

from terp.storage.canonical import canonical
from terp.storage.errors import CannotMigrate
from terp.storage.files import disk, publish, replace, sync_file, sync_folder
from terp.storage.form import netcdf
from terp.storage.form.band import Band, bands_of
from terp.storage.form.held import Node, held
from terp.storage.form.proof import Digests, prove, read_by
from terp.storage.package.packed import PackedProduct
from terp.storage.product import StoredProduct
from terp.storage.small import META

FORMS = ("netcdf4",)
PROOF = ".nc.proof.json"
FORMAT = "terp equality 1"
_BLOCK = 4 << 20


def demand_held(product: StoredProduct, name: str) -> None:
    """Raise CannotMigrate, before anything is packed, that names all of a product that NetCDF-4 cannot hold."""
    keys = [one.key for one in product.small_files if one.key.rpartition("/")[2] == META]
    held(name, {key.removesuffix(META).rstrip("/"): json.loads(product.document(key)) for key in keys})


def second_form(packed: PackedProduct, folder: Path, name: str, form: str = "netcdf4") -> dict[str, Any]:
    """Write each band of a packed product as NAME.nc or NAME.0000.nc into a folder, once it is proven to be the same.

    Beside them is NAME.nc.proof.json with the digests of all values, by array and region, as they were read back out of
    both forms. Returns what a PREMIS event of the type migration tells. Raises CannotMigrate with what NetCDF-4 cannot
    hold or what is not the same, Damaged where the package is, DiskTrouble; no file is visible that was not proven.
    """
    if form not in FORMS:
        raise CannotMigrate(f"there is no second form {form!r}: there is {', '.join(FORMS)}")
    nodes = [
        (band, held(band.name, band.documents)) for band in bands_of(packed)
    ]  # all is refused before any of it is written
    made, proven = list[dict[str, Any]](), dict[str, Digests]()
    for band, described in nodes:
        target = folder / f"{band.name}.nc"
        proven[target.name] = _published(target, band, described)
        made.append(_about(target) | {"from": _source(packed, band)})
    proof = folder / f"{name}{PROOF}"
    table = {"format": FORMAT, "columns": ["region", "zarr", "netcdf"], "files": proven}
    replace(proof, canonical(table))
    return _facts(made, proven, _about(proof))


def _published(target: Path, band: Band, nodes: Sequence[Node]) -> Digests:
    """Make a file under another name, and show it once it was checked."""
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with disk(target):
        try:
            netcdf.write(band, nodes, fresh)
            sync_file(fresh)
            found = prove(band, nodes, fresh)
            publish(fresh, target, lambda: None)
            sync_folder(target.parent)
        except BaseException:
            with suppress(OSError):
                fresh.unlink()
            raise
        return found


def _about(path: Path) -> dict[str, Any]:
    """Return name, size in bytes and digests of a file, read once."""
    digests = hashlib.sha256(), hashlib.sha512()
    with disk(path), path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            for digest in digests:
                digest.update(block)
    sha256, sha512 = (digest.hexdigest() for digest in digests)
    return {"name": path.name, "size": path.stat().st_size, "sha256": sha256, "sha512": sha512}


def _source(packed: PackedProduct, band: Band) -> dict[str, str]:
    told = packed.told["packages"][band.number]
    return {"name": told["name"], "sha512": told["sha512"]}


def _facts(made: list[dict[str, Any]], proven: dict[str, Digests], proof: dict[str, Any]) -> dict[str, Any]:
    """Return the event: each array with one digest over those of its regions, as they were read out of both forms."""
    arrays = [
        {
            "file": file,
            "array": path,
            "regions": len(rows),
            "zarr": blake3("".join(row[1] for row in rows).encode()).hexdigest(),
            "netcdf": blake3("".join(row[2] for row in rows).encode()).hexdigest(),
        }
        for file, digests in proven.items()
        for path, rows in digests.items()
    ]
    return {
        "type": "migration",
        "outcome": "equal",
        "detail": "values bit for bit, types, dimensions, attributes and coordinates, read back out of both",
        "from": "Zarr v3 in ZIP",
        "to": "NetCDF-4",
        "written": netcdf.written_by(),
        "read back": read_by(),
        "files": made,
        "proof": proof,
        "arrays": arrays,
    }
