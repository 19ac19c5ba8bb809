"""Which places there are: `custody/places.toml`, one `[[place]]` for each, written by a person and held to be whole."""

import ipaddress
import os
import tomllib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from terp.storage.archive.policy import Term, Text
from terp.storage.errors import BadPlaces
from terp.storage.files import disk
from terp.storage.places.folder import Folder
from terp.storage.places.place import Place
from terp.storage.places.tape import HERE, Tape

PLACES = "places.toml"


def _somewhere(value: str) -> str:
    if not Path(value).expanduser().is_absolute():
        raise ValueError("must be a whole path, from / or ~")
    return value


def _sealed(value: str) -> str:
    parts = urlsplit(value)
    safe = (parts.scheme == "https" and parts.hostname) or (parts.scheme == "http" and _is_here(parts.hostname))
    if value and not safe:
        raise ValueError("must be an https:// URL (http:// only for this machine)")
    return value


def _is_here(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


type Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
type Here = Annotated[str, AfterValidator(_somewhere)]
type Url = Annotated[str, AfterValidator(_sealed)]
type Words = Annotated[tuple[Text, ...], Field(min_length=1)]


class _About(BaseModel):
    """What is said of any place: its name, how often its copies are read again, and what it costs, in words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    audit_every: Term
    cost: str = ""


class AboutFolder(_About):
    """Another disk or file system, mounted here."""

    kind: Literal["folder"]
    path: Here

    @property
    def where(self) -> str:
        """Where it is, for people."""
        return self.path

    def open(self) -> Place:
        """Return the place."""
        return Folder(self.name, Path(self.path).expanduser())


class AboutSftp(_About):
    """A folder of an SSH server; `key` is a private key without passphrase, and `known_hosts` names the server's."""

    kind: Literal["sftp"]
    host: Text
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: Text
    path: Annotated[str, Field(pattern="^/")]
    key: Here
    known_hosts: Here

    @property
    def where(self) -> str:
        """Where it is, for people."""
        return f"{self.user}@{self.host}:{self.port}{self.path}"

    def open(self) -> Place:
        """Return the place; raises BadPlaces where others may read the key."""
        from terp.storage.places.sftp import Sftp  # late: paramiko is behind it
        from terp.storage.places.ssh import Login

        key, known = Path(self.key).expanduser(), Path(self.known_hosts).expanduser()
        if key.is_file() and key.stat().st_mode & 0o077:
            raise BadPlaces(f"the key {key} of the place {self.name} can be read by others: chmod 600 {key}")
        return Sftp(self.name, Login(self.host, self.port, self.user, key, known), self.path)


class AboutS3(_About):
    """A bucket; without an endpoint it is one of AWS. Credentials come from the environment or the profile."""

    kind: Literal["s3"]
    bucket: Text
    endpoint: Url = ""
    prefix: Annotated[str, Field(pattern=r"^([\w-][\w.-]*(/[\w-][\w.-]*)*)?$")] = ""
    region: str = ""
    profile: str = ""

    @property
    def where(self) -> str:
        """Where it is, for people."""
        return "/".join(part for part in (self.endpoint, self.bucket, self.prefix) if part)

    def open(self) -> Place:
        """Return the place."""
        from terp.storage.places.s3 import Bucket  # late: botocore is behind it

        return Bucket(self.name, self.bucket, self.prefix, self.endpoint, self.region, self.profile)


class AboutTape(_About):
    """A folder whose files go to tape; `min_average` is the least average size of a file there, in bytes.

    `max_file` is what such a file may have: an object that is larger goes in several.
    """

    kind: Literal["tape"]
    path: Here
    stage: Words = ("dmget", "-a")
    state: tuple[Text, ...] = ("dmattr", "-a", "state")
    here: Words = HERE
    wait: Annotated[float, Field(ge=0, le=3600)] = 30.0
    min_average: Annotated[int, Field(ge=1)] = 1_000_000_000
    max_file: Annotated[int, Field(ge=1)] = 200_000_000_000

    @model_validator(mode="after")
    def _roomy(self) -> "AboutTape":
        if self.max_file < 2 * self.min_average:
            raise ValueError("max_file must be twice min_average or more, else no files can have that average")
        return self

    @property
    def where(self) -> str:
        """Where it is, for people."""
        return self.path

    def open(self) -> Tape:
        """Return the place."""
        root = Path(self.path).expanduser()
        return Tape(self.name, root, self.stage, self.state, self.here, self.wait)


type About = AboutFolder | AboutSftp | AboutS3 | AboutTape
_MODELS: dict[str, type[_About]] = {
    "folder": AboutFolder,
    "sftp": AboutSftp,
    "s3": AboutS3,
    "tape": AboutTape,
}


class Places(BaseModel):
    """All places, in the order in which they are written down."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: tuple[Annotated[About, Field(discriminator="kind")], ...] = ()

    @classmethod
    def load(cls, custody: Path) -> "Places":
        """Read the places of an archive; none where nobody wrote any down. Raises BadPlaces, which names all wrongs."""
        path = custody / PLACES
        with disk(path):
            return cls.parse(path.read_bytes(), str(path)) if path.exists() else cls()

    @classmethod
    def parse(cls, data: bytes, name: str = PLACES) -> "Places":
        """Read places from the bytes of a TOML file."""
        try:
            found = cls.model_validate(tomllib.loads(data.decode()))
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BadPlaces(f"{name} is no TOML: {error}") from None
        except ValidationError as error:
            wrong = "\n".join(f"  {line}" for line in _complaints(error, tomllib.loads(data.decode())))
            raise BadPlaces(f"{name} does not say where the places are:\n{wrong}") from None
        names = [one.name for one in found.place]
        if twice := {one for one in names if names.count(one) > 1}:
            raise BadPlaces(f"{name} has two places of the name {min(twice)}: a place is known by its name")
        _demand_apart(found.place, name)
        return found

    def about(self, name: str) -> About:
        """Return what is said of a place; raises BadPlaces where there is none of that name."""
        for one in self.place:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.place) or "none"
        raise BadPlaces(f"there is no place {name!r} in custody/{PLACES}; known are {known}")


def _demand_apart(places: tuple[About, ...], name: str) -> None:
    """Raise BadPlaces where one place is another, or in it: what is removed from the one would be gone from both."""
    for one, other in combinations(places, 2):
        here, there = _stands(one), _stands(other)
        if here[0] == there[0] and (here[1].is_relative_to(there[1]) or there[1].is_relative_to(here[1])):
            raise BadPlaces(
                f"{name}: the places {one.name} and {other.name} are one, or one is in the other ({other.where}): two "
                "copies there would be one; choose another"
            )


def _stands(about: About) -> tuple[str, PurePosixPath]:
    """Return on what a place is, and where there."""
    if isinstance(about, AboutSftp):
        return f"{about.host.lower()}:{about.port}", PurePosixPath(about.path)
    if isinstance(about, AboutS3):
        return f"{about.endpoint.rstrip('/').lower()} {about.bucket}", PurePosixPath("/", about.prefix)
    return "", PurePosixPath(os.path.realpath(Path(about.path).expanduser()))


def _complaints(error: ValidationError, plain: dict[str, Any]) -> Iterator[str]:
    for one in error.errors():
        where = _where(one["loc"], plain)
        if one["type"] == "missing":
            yield f"{where} is missing"
        elif one["type"] == "extra_forbidden":
            yield f"{where} is not known: {_allowed(one['loc'])}"
        elif one["type"].startswith("union_tag"):
            yield f"{where} has no kind that is known: known are {', '.join(_MODELS)}"
        else:
            yield f"{where} {one['msg'].removeprefix('Value error, ').removeprefix('Input ')}, not {one['input']!r}"


def _where(found: tuple[int | str, ...], plain: dict[str, Any]) -> str:
    """Return in words what is wrong: pydantic says "place", number, kind, key."""
    if len(found) < 2:
        return ".".join(map(str, found))
    named = plain["place"][found[1]]
    label = named.get("name", f"number {int(found[1]) + 1}") if isinstance(named, dict) else f"number {found[1]}"
    return f"place {label}" + (f": {'.'.join(map(str, found[3:]))}" if found[3:] else "")


def _allowed(found: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = _MODELS[str(found[2])] if len(found) > 2 else Places
    return f"known are {', '.join(model.model_fields)}"
