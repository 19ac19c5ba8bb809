"""A dissemination copy (OAIS: DIP): a part of an archived object for a reader, without what is closed to them.

NAME.zarr.zip, NAME.zarr.zip.members.json   the part, made anew as a package; data.zarr.zip where something is closed
NAME.zarr.zip.mdto.xml, mdto.xml            what each package and the copy are (MDTO)
README.md, LEESMIJ.md                       what it is a copy of, what is left out and why, how to check and read it
LICENCE.md                                  whose the rights are, and what may be done with it
dip.json                                    the same for programs: object, version, transformation, restrictions
NAME.nc, NAME.nc.proof.json                 the part in NetCDF-4 too, where that is asked for, proven to be the same
FORMATS.md                                  what each byte of a package is, as terp tells it of all
SHA512SUMS                                  for sha512sum -c
origin/                                     the object's own metadata, only where nothing of the object is closed

Where anything is closed to the reader no file of the object goes along: each was written from the whole, and may tell
of it. All that is there then was written from what is open, from the policy's own words for the public (grounds, terms,
rights) and from the identifier.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from blake3 import blake3

from terp.storage import files
from terp.storage.canonical import canonical
from terp.storage.environment import is_lock
from terp.storage.errors import BadInput, BadPackage, BadPolicy
from terp.storage.form import second_form
from terp.storage.package import pack_product
from terp.storage.package.packed import PackedProduct
from terp.storage.package.table import PACKAGE
from terp.storage.readme import formats
from terp.storage.transfer import subset
from terp.storage.transfer.copying import Copied, copy
from terp.storage.transfer.dipwords import Told, leesmij, licence, readme
from terp.storage.transfer.dipwords import about as mdto_about
from terp.storage.transfer.dipwords import of_package as mdto_of_package
from terp.storage.transfer.masking import telling
from terp.storage.transfer.openness import PROFILES, Closed, Openness
from terp.storage.transfer.outgoing import Outgoing
from terp.storage.transfer.selecting import wanted_of

_ORIGIN = frozenset(
    {
        *("README.md", "LEESMIJ.md", "mdto.xml", "premis.xml", "datacite.xml", "policy.toml", "import.json"),
        *("ro-crate-metadata.json", "prov.json", "prov.ttl", "journal.jsonl", "replay.json", "inputs.sha256"),
        *("flow.py", "source.zip", "terp.zip", "changes.diff", "run.svg", "SHA512SUMS", "SHA512SUMS.sig"),
    }
)


@dataclass(frozen=True)
class Request:
    """Which part is asked for, by whom, on which day: variables by name (none: all), ranges by dimension, a profile.

    `recipient` and `ground` are told in the copy of all profiles but `public`.
    """

    variables: Sequence[str]
    where: Mapping[str, str]
    profile: str
    on: date
    recipient: str = ""
    ground: str = ""
    netcdf: bool = False

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise BadPolicy(f"there is no profile {self.profile!r}: choose one of {', '.join(PROFILES)}")
        if self.profile != "public" and not (self.recipient.strip() and self.ground.strip()):
            raise BadPolicy(f"a copy that is {self.profile} is for one who is named, on a ground: --for and --ground")


@dataclass
class Dissemination:
    """A copy on its way: what may leave of an object for a request."""

    aip: Outgoing
    request: Request
    coverage: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        self.sources = {name: subset.Source(packed) for name, packed in self.aip.products().items()}
        self.openness = Openness(self.aip.terms, self.request.on)

    @cached_property
    def withheld(self) -> dict[str, Closed]:
        """What is closed to the reader, by path, with what closes it."""
        known = {path for source in self.sources.values() for path in source.variables}
        for closed in () if self.request.profile == "full" else self.openness.closed:
            if lost := [name for name in closed.variables if not {name} & {part for p in known for part in _names(p)}]:
                raise BadPolicy(
                    f"a restriction closes {lost[0]}, and {self.aip.identifier} has no variable of that name: nothing "
                    f"leaves before its policy names what it means; there are {', '.join(sorted(known))}"
                )
        found = {path: self.openness.why(path, self.request.profile) for path in sorted(known)}
        return {path: why for path, why in found.items() if why}

    @property
    def masked(self) -> bool:
        """Whether anything of the object is closed to the reader, wanted or not.

        Under `private unless` that is what tells of it, though each variable was opened.
        """
        named = [one for one in self.openness.closed if not one.unless or self.request.profile == "public"]
        return bool(self.withheld) or (self.request.profile != "full" and bool(named))

    @cached_property
    def closed_names(self) -> list[str]:
        """The names of what is closed: of variables of the object, and those that the policy names."""
        said = {name for one in self.openness.closed for name in one.variables if self.masked}
        return sorted({path.rpartition("/")[2] for path in [*self.withheld, *said]})

    def chosen(self) -> subset.Chosen:
        """Return what leaves; raises BadPolicy where what was asked for, or asked by, is closed, or all of it."""
        large = sorted({path for source in self.sources.values() for path in source.large})
        known = sorted({path for source in self.sources.values() for path in source.variables})
        for dim in self.request.where:
            if why := next((closed for path, closed in self.withheld.items() if dim in _names(path)), None):
                raise BadPolicy(f"{dim} is not open ({why}): what is chosen by it would tell of it")
        wanted = wanted_of([path for path in known if path not in self.withheld], self._asked(known))
        wanted = wanted if self.request.variables else set(large) - self.withheld.keys()
        if not wanted & set(large):
            said = "; ".join(dict.fromkeys(map(str, self.withheld.values()))) or "no array is named"
            raise BadPolicy(
                f"nothing of {self.aip.identifier} may leave for the profile {self.request.profile}: {said}"
            )
        small = {path for path in known if path not in large and path not in self.withheld}
        return subset.Chosen(wanted | small, self.request.where, self.closed_names, self.masked)

    def _asked(self, known: Sequence[str]) -> Sequence[str]:
        for name in self.request.variables:
            paths = [path for path in known if name in (path, path.rpartition("/")[2])]
            if paths and all(path in self.withheld for path in paths):
                raise BadPolicy(f"{name} is not open: {self.withheld[paths[0]]}")
        return self.request.variables

    def write(self, folder: Path) -> dict[str, Any]:
        """Fill an empty folder with the copy; return what is to be recorded. Nothing is left on failure but in it."""
        subset.demand_dimensions(list(self.sources.values()), self.request.where)
        chosen = self.chosen()
        work = folder.with_name("work")
        parts = list(self._parts(chosen, folder, work))
        shutil.rmtree(work, ignore_errors=True)
        if not parts:
            raise BadInput(f"nothing of {self.aip.identifier} is within {_shown(self.request.where)}: widen the range")
        kept = sorted({name for _, names in parts for name in names})
        made = {name: one for files_, _ in parts for name, one in files_.items()}
        told = self._told(kept)
        self._describe(folder, told, made)
        if not self.masked:
            self._origin(folder)
        sums = _sums(folder, {name: one.sha512 for name, one in made.items()})
        files.write_new(folder / "SHA512SUMS", sums)
        self._demand_silence(folder, kept)
        return {"sha512": hashlib.sha512(sums).hexdigest(), "of": "SHA512SUMS", **_recorded(told)}

    def _parts(self, chosen: subset.Chosen, folder: Path, work: Path) -> Iterator[tuple[dict[str, Copied], list[str]]]:
        """Write the part of each product; yield its files by name with the paths of the large arrays in them."""
        for number, (name, source) in enumerate(self.sources.items(), 1):
            found = subset.parts(source, chosen)
            if not found:
                continue
            called = (f"data-{number}" if len(self.sources) > 1 else "data") if self.masked else name
            self._covered(found)
            product = subset.write(source, found, work / called, called)
            packed = pack_product(product, folder, called)
            shutil.rmtree(work / called, ignore_errors=True)
            files_ = {one.path.name: _copied(one.size, one.sha256, one.sha512) for one in packed}
            if self.request.netcdf:
                files_ |= _as_netcdf(folder, called)
            yield files_, [subset.path_of(one.group.path, a.name) for one in found for a in one.group.arrays]

    def _covered(self, found: Sequence[subset.Part]) -> None:
        """Note from when to when the times are that leave."""
        for one in found:
            for first, last in subset.times(one):
                before = self.coverage or (first, last)
                self.coverage = min(before[0], first), max(before[1], last)

    def _told(self, kept: list[str]) -> Told:
        counts = dict(Counter(self.withheld.values()))
        aip, request = self.aip, self.request
        asked = {"variables": kept, "where": dict(request.where), "profile": request.profile}
        mark = blake3(canonical({**asked, "on": request.on.isoformat()})).hexdigest()[:12]
        return Told(
            identifier=f"{aip.identifier}/{aip.version}/dip/{mark}",
            aip=aip.identifier,
            version=aip.version,
            on=request.on,
            profile=request.profile,
            variables=tuple(kept),
            where=dict(request.where),
            withheld=counts,
            terms=aip.terms,
            recipient=request.recipient,
            ground=request.ground,
            masked=self.masked,
            coverage=self.coverage,
        )

    def _describe(self, folder: Path, told: Told, made: Mapping[str, Copied]) -> None:
        files.write_new(folder / "mdto.xml", mdto_about(told, list(made)))
        for name, copied in made.items():
            files.write_new(folder / f"{name}.mdto.xml", mdto_of_package(told, name, copied))
        texts = {"README.md": readme(told), "LEESMIJ.md": leesmij(told), "LICENCE.md": licence(told)}
        texts["FORMATS.md"] = formats()
        for name, text in texts.items():
            files.write_new(folder / name, text.encode())
        files.write_new(folder / "dip.json", canonical(told.to_json()) + b"\n")

    def _origin(self, folder: Path) -> None:
        """Let the object's own metadata go along (DUTO D13): nothing of the object is closed."""
        for name, path in self.aip.files.items():
            if name in _ORIGIN or is_lock(name) or name.endswith(f"{PACKAGE}.mdto.xml"):
                target = folder / "origin" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                copy(path, target, sha512=self.aip.sha512[name])

    def _demand_silence(self, folder: Path, kept: Sequence[str]) -> None:
        """Raise BadPackage where a file has the name of what is closed: in a ground or in the identifier, that is.

        A dimension of what is open keeps its name, though its coordinate be closed.
        """
        shown = {dim for source in self.sources.values() for path in kept for dim in source.variables.get(path, ())}
        closed = telling(set(self.closed_names) - shown - {path.rpartition("/")[2] for path in kept})
        words = [name.casefold().encode() for name in closed] if self.masked else []
        for path in sorted(folder.rglob("*")) if words else ():
            data = b"" if path.is_dir() or path.name.endswith(PACKAGE) else path.read_bytes().lower()
            if any(word in path.name.casefold().encode() or word in data for word in words):
                raise BadPackage(
                    f"{path.name} of the copy would name what is closed, as the identifier of the object or the ground "
                    "of a restriction does: give it another ground in its policy and archive it again, or make a copy "
                    "for one who is named (--profile full)"
                )


def _names(path: str) -> tuple[str, str]:
    """Return by what a restriction may name a variable."""
    return path, path.rpartition("/")[2]


def _recorded(told: Told) -> dict[str, Any]:
    return {key: value for key, value in told.to_json().items() if key not in ("format", "aip", "licence")}


def _copied(size: int, sha256: str, sha512: str) -> Copied:
    return Copied(size, {"sha256": sha256, "sha512": sha512})


def _as_netcdf(folder: Path, name: str) -> dict[str, Copied]:
    """Write a product in NetCDF-4 too, proven to be the same; return the files that hold it."""
    facts = second_form(PackedProduct(folder / f"{name}{PACKAGE}"), folder, name)
    return {one["name"]: _copied(one["size"], one["sha256"], one["sha512"]) for one in facts["files"]}


def _sums(folder: Path, known: Mapping[str, str]) -> bytes:
    """Return what `sha512sum -c` reads; what was packed was hashed on the way."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    digests = {name: known.get(name) or hashlib.sha512(path.read_bytes()).hexdigest() for name, path in paths.items()}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def _shown(where: Mapping[str, str]) -> str:
    return ", ".join(f"{dim}={wanted}" for dim, wanted in where.items()) or "the object"
