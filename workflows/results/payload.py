"""The payload of an archived object: its results in packages and, where that is asked for, in a second form too."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from terp.storage.form import second_form
from terp.storage.form.migration import PROOF, demand_held
from terp.storage.package import Packed, pack_product
from terp.storage.package.packed import PackedProduct, tables
from terp.storage.package.table import MEMBERS
from terp.storage.product import StoredProduct
from terp.workflows.results.earlier import Earlier


class _Told(Protocol):
    def say(self, text: str) -> None: ...


@dataclass(frozen=True)
class Packing:
    """How results are to be packed: bytes of a package at most, 0 for as before or else as usual; in which form too."""

    band_bytes: int = 0
    second_form: str = ""

    def is_that_of(self, files: Mapping[str, Path]) -> bool:
        """Say whether the files of an object are packed like this; raises BadPackage where one of them is not there."""
        known = tables(files)
        if self.second_form and not all(f"{name}{PROOF}" in files for name in known):
            return False
        most = {PackedProduct(table, files).told["most"] for table in known.values()} if self.band_bytes else set()
        return most <= {self.band_bytes}


USUAL = Packing()


@dataclass(frozen=True)
class Payload:
    """What was packed, and what is to be told of the second forms of it."""

    packed: list[Packed]
    migrations: list[dict[str, Any]]

    @property
    def digests(self) -> dict[str, tuple[str, str]]:
        """The SHA-256 and the SHA-512 of each file, by its name: they were made while it was."""
        forms = [one for told in self.migrations for one in (*told["files"], told["proof"])]
        made = {one.path.name: (one.sha256, one.sha512) for one in self.packed}
        return made | {one["name"]: (one["sha256"], one["sha512"]) for one in forms}


def payload(products: Mapping[str, StoredProduct], before: Earlier, how: Packing, folder: Path, told: _Told) -> Payload:
    """Put results into a folder; what an earlier version has already stays where it is.

    Raises as `pack_product` and `second_form` do.
    """
    for name, product in products.items() if how.second_form else ():
        demand_held(product, name)
    packed = [
        one
        for name, product in products.items()
        for one in pack_product(
            product, folder, name, how.band_bytes or before.band_bytes(name), before.results.get(name)
        )
    ]
    new = [one for one in packed if one.path.parent == folder]
    told.say(f"packed {', '.join(one.path.name for one in new)}")
    if len(new) < len(packed):
        told.say(f"{len(packed) - len(new)} of {len(packed)} packages are in {before.identifier} already")
    if not how.second_form:
        return Payload(packed, [])
    files = {one.path.name: one.path for one in packed}
    migrations = []
    for name in products:
        migrations.append(second_form(PackedProduct(folder / f"{name}{MEMBERS}", files), folder, name, how.second_form))
        told.say(f"{name} in {how.second_form} too, proven to be the same")
    return Payload(packed, migrations)
