"""Objects for tests of custody: small, under a policy, in an archive of a home, with people who may sign."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from terp.storage.archive import Archive
from terp.storage.archive.people import People, Person
from terp.storage.archive.proposal import Scope
from terp.storage.home import Home
from terp.storage.places import Folder

URN, OTHER = "urn:terp:noise:1", "urn:terp:other:2"
PEOPLE = ("A. Archivist", "B. Archivist")
NOON = datetime(2014, 3, 1, 12, tzinfo=UTC)
TODAY = date(2026, 11, 28)
POLICY = (Path(__file__).parents[1] / "policy.toml").read_text()


def policy(*changed: tuple[str, str], more: str = "") -> bytes:
    """Return the policy of the tests with some of its lines otherwise."""
    text = POLICY
    for old, new in changed:
        assert old in text, old
        text = text.replace(old, new)
    return (text + more).encode()


def put(home: Home, decided: bytes, identifier: str = URN, more: Mapping[str, bytes] = {}) -> Path:
    """Archive an object under a policy; return its folder."""
    work = home.root.parent / "work"
    work.mkdir(parents=True, exist_ok=True)
    unique = identifier.encode()
    files = {"result.zarr.zip": unique * 9000, "values.json": b'{"values": 1}' + unique * 9, "README.md": unique * 20}
    files |= {"policy.toml": decided, "flow.py": b"# the same in many objects\n" * 20, **more}
    for name, data in files.items():
        (work / name).write_bytes(data)
    archive = Archive(home.archive)
    archive.create_if_missing()
    about = {"message": "Results of the flow noise", "user_name": "A. Maker", "created": NOON}
    return archive.ingest(identifier, {name: work / name for name in files}, **about).path  # type: ignore[arg-type]


def key(folder: Path, name: str) -> Path:
    """Make a key as ssh-keygen does; return the private file, with the public one beside it."""
    private, path = Ed25519PrivateKey.generate(), folder / name
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.with_name(f"{name}.pub").write_bytes(public + b" somebody@host\n")
    return path


def person(home: Home, folder: Path, name: str) -> tuple[Person, Path]:
    """Register a person with a fresh key; return both."""
    private = key(folder, name)
    line = private.with_name(f"{name}.pub").read_text()
    return People(home.custody).add(name, line, ["archivist"], "the tests"), private


def scene(folder: Path) -> Home:
    """Make a home with two objects of which copies are in a place, a product and a run of the first, and two people."""
    home = Home(folder / "home")
    for identifier in (URN, OTHER):
        _copy(home, put(home, policy(), identifier), folder / "copies")
    for path in ("products/key/data.zarr/c/0", "products/key/product.json", "runs/noise-1/run.json"):
        (home.root / path).parent.mkdir(parents=True, exist_ok=True)
        (home.root / path).write_bytes(path.encode() * 100)
    for name in PEOPLE:
        person(home, folder, name)
    return home


def _copy(home: Home, rests: Path, target: Path) -> None:
    there = Folder("second", target)
    target.mkdir(exist_ok=True)
    for path in rests.rglob("*"):
        if path.is_file():
            there.put(path.relative_to(home.archive).as_posix(), path)


def scope(home: Home) -> Scope:
    """Return what belongs to the first object of the scene outside of the archive."""
    places = {"second": Folder("second", home.root.parent / "copies")}
    return Scope(places, [home.products / "key", home.runs / "noise-1"], ["noise-1"], ["urn:terp:derived:3"], [])
