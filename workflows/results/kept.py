"""What archived objects tell of their making, by themselves: products and runs may be gone."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terp.storage import descent
from terp.storage.archive import Archive, tombstone
from terp.storage.crate import INPUTS, METADATA
from terp.storage.errors import Destroyed, StorageError
from terp.storage.files import disk
from terp.storage.home import Home
from terp.workflows.results.recipe import RECIPE


@dataclass(frozen=True)
class Making:
    """Of what a product was made: keys of products, and SHA-256s of the files of a source."""

    stage: str
    inputs: frozenset[str] = frozenset()
    sha256: frozenset[str] = frozenset()

    @classmethod
    def of(cls, frozen: Mapping[str, Any]) -> "Making":
        """Return it by what was frozen of the product."""
        source: dict[str, str] = frozen["ingredients"].get("source", {})
        return cls(frozen["name"], frozenset(descent.keys_of(frozen)), frozenset(source.values()))


@dataclass(frozen=True)
class Kept:
    """What a version of an archived object tells.

    Keys of its results by name, the making of all products on the way to them, by key, the SHA-256s of what its run has
    read, and those of the files of each result, by which they are known where they are read as a source.
    """

    identifier: str
    version: str
    run: str
    results: Mapping[str, str]
    making: Mapping[str, Making]
    read: frozenset[str]
    files: Mapping[str, frozenset[str]]


def versions(home: Home, identifier: str) -> Iterator[tuple[str, dict[str, Path]]]:
    """Walk the versions of an archived object with their files: an older one may have had other results.

    Raises BadPackage where it is not there.
    """
    archive = Archive(home.archive)
    for version in archive.versions(identifier):
        yield version, archive.files(identifier, version)


def all_kept(home: Home) -> tuple[list[Kept], list[str]]:
    """Return what all objects of a home tell that are not destroyed, and a sentence for each that cannot be read."""
    found, damaged = list[Kept](), list[str]()
    for identifier in Archive(home.archive).list():
        try:
            tombstone.demand_none(home.custody, identifier)
            found += [_kept(identifier, version, files) for version, files in versions(home, identifier)]
        except Destroyed:
            continue
        except StorageError as damage:
            damaged.append(str(damage))
        except (KeyError, TypeError, AttributeError):
            damaged.append(f"{identifier} does not tell of what it was made: restore it from a copy")
    return found, damaged


def _kept(identifier: str, version: str, files: Mapping[str, Path]) -> Kept:
    recipe, sums = recipe_of(files), _digests(files)
    lineage = files.get(descent.ARCHIVED)
    lines = _text(files, INPUTS).splitlines()
    results = descent.results(lineage) if lineage else recipe["results"]
    return Kept(
        identifier,
        version,
        recipe["run"],
        results,
        {key: Making.of(one) for key, one in descent.frozen_in(lineage).items()} if lineage else {},
        frozenset(line.split()[0] for line in lines if line.strip()),
        {name: frozenset(sums[one] for one in sums if one.startswith(f"{name}.")) for name in results},
    )


def recipe_of(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return run and results of an object by its recipe; none where it has no recipe that can be read."""
    with suppress(StorageError, ValueError, KeyError, TypeError):
        told = json.loads(_text(files, RECIPE))
        return {"run": str(told["run"]), "results": dict(told["results"])}
    return {"run": "", "results": {}}


def _digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256s of the files of an object, by name, as its crate tells them; {} where it cannot be read."""
    with suppress(StorageError, ValueError, KeyError, TypeError):
        told = json.loads(_text(files, METADATA))["@graph"]
        return {str(one["@id"]): str(one["sha256"]) for one in told if one.get("sha256") and one["@id"] in files}
    return {}


def _text(files: Mapping[str, Path], name: str) -> str:
    if name not in files:
        return ""
    with disk(files[name]):
        return files[name].read_text(errors="replace")
