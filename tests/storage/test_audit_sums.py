"""What an object says of itself twice, in its inventory and in SHA512SUMS, is held against each other by an audit."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).parent))
import kept

from terp.storage import files
from terp.storage.archive import Archive
from terp.storage.audit import Damage, Order, audit
from terp.storage.places import Folder
from terp.storage.repair import repair
from terp.storage.repair.repair import Work
from terp.storage.signature import SigningKey

SUMS, SIGNATURE = "SHA512SUMS", "SHA512SUMS.sig"
OTHER = "0" * 128

type Change = Callable[[str], str]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GLANCE", 0.0)


def looked(*places: Folder) -> list[Damage]:
    return audit(Order(places, places[0].root.parent / "custody", [place.name for place in places])).damage


def made(home: Path, *versions: Change, sign: Callable[[bytes], bytes] | None = None) -> Folder:
    """An archive with an object whose versions have checksums that were changed before they were archived."""
    archive, work = Archive(home / "archive"), home / "work"
    archive.create_if_missing()
    for number, change in enumerate(versions):
        work.mkdir(parents=True, exist_ok=True)
        names = ["README.md", "data.bin", *(f"more{one}.txt" for one in range(number))]
        for name in names:
            (work / name).write_bytes(name.encode() * 100)
        text = change(kept.summed(work, {name: work / name for name in names}).read_text()).encode()
        (work / SUMS).write_bytes(text)
        names += [SUMS] if text else []
        if sign:
            (work / SIGNATURE).write_bytes(sign(text))
            names.append(SIGNATURE)
        about: dict[str, Any] = {"message": "sums", "user_name": "A Tester", "created": kept.NOON}
        archive.ingest(kept.URN, {name: work / name for name in names}, **about)
    return Folder("archive", archive.root)


def same(text: str) -> str:
    return text


def forge(home: Path, path: str, data: bytes) -> None:
    """Change a file of an object, and all inventories and sidecars with it, so that they agree."""
    old = hashlib.sha512((home / path).read_bytes()).hexdigest()
    overwrite(home / path, data)
    for inventory in home.rglob("inventory.json"):
        text = inventory.read_text().replace(old, hashlib.sha512(data).hexdigest())
        overwrite(inventory, text.encode())
        digest = hashlib.sha512(text.encode()).hexdigest()
        overwrite(inventory.with_name("inventory.json.sha512"), f"{digest}  inventory.json\n".encode())


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_checksums_that_were_changed_with_the_inventory_are_found_with_rule_place_and_cure(tmp_path: Path) -> None:
    archive = kept.archive(tmp_path)
    home = archive.root / kept.home_of()
    path = f"v2/content/{SUMS}"
    lines = (home / path).read_text().splitlines(keepends=True)
    forge(home, path, "".join([OTHER + lines[0][128:], *lines[1:-1]]).encode())
    [damage] = looked(archive)
    assert (damage.place, damage.object, damage.path) == ("archive", kept.URN, path)
    assert (damage.kind, damage.rule) == ("contradicted", "terp S1")
    name, gone = lines[0][130:-1], lines[-1][130:-1]
    assert f"says other than the inventory of v2: {name} has another SHA-512 in it; {gone} is not in it" in str(damage)
    assert "restore the object from a copy" in damage.cure
    assert Damage.from_json(json.loads(json.dumps(damage.to_json()))) == damage


def test_a_file_that_was_changed_with_the_inventory_is_found_by_the_checksums(tmp_path: Path) -> None:
    archive = kept.archive(tmp_path)
    forge(archive.root / kept.home_of(), "v1/content/README.md", b"# Something else\n")
    assert [(one.path, one.rule) for one in looked(archive)] == [
        (f"v1/content/{SUMS}", "terp S1"),
        (f"v2/content/{SUMS}", "terp S1"),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text + f"{OTHER}  strange.txt\n", "strange.txt is in it, and not in the version"),
        (lambda text: text.replace("data.bin", "data\x1b.bin"), r"'data\x1b.bin' is in it"),
        (lambda text: text + text[:128] + "  data.bin\n", "data.bin has another SHA-512 in it"),
        (lambda text: text + "what is this\n", "1 of its lines are no checksums"),
        (lambda text: text[:1], "README.md is not in it; data.bin is not in it; 1 of its lines are no checksums"),
    ],
)
def test_what_checksums_say_too_much_or_too_little_is_told(change: Change, said: str, tmp_path: Path) -> None:
    [damage] = looked(made(tmp_path, change))
    assert said in damage.what


@pytest.mark.parametrize(
    "change",
    [
        same,
        lambda text: "".join(reversed(text.splitlines(keepends=True))),
        lambda text: text.replace("  ", " *"),
        lambda text: text.replace("  ", "  ./"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "".join(line[:128].upper() + line[128:] for line in text.splitlines(keepends=True)),
    ],
)
def test_checksums_that_say_the_same_in_another_form_are_no_finding(change: Change, tmp_path: Path) -> None:
    assert looked(made(tmp_path, change, change)) == []


def test_a_version_that_has_lost_its_checksums_is_found(tmp_path: Path) -> None:
    [damage] = looked(made(tmp_path, same, lambda _: ""))
    assert (damage.path, damage.rule) == ("inventory.json", "terp S1")
    assert f"has no {SUMS} in v2, where v1 has it" in damage.what


def test_an_object_that_never_had_checksums_is_no_finding(tmp_path: Path) -> None:
    assert looked(made(tmp_path, lambda _: "", lambda _: "")) == []


def signatures(text: bytes) -> Iterator[bytes]:
    """What is no signature of some checksums, each in its own way."""
    key = SigningKey(Ed25519PrivateKey.generate())
    sound = key.sign(text)
    yield key.sign(text + b"\n")
    yield b""
    yield sound.replace(b"SSH SIGNATURE", b"PGP SIGNATURE")
    yield sound[:80] + sound[140:]
    yield sound.replace(b"AAA", b"AAB", 1)


@pytest.mark.parametrize("which", range(5))
def test_a_signature_that_is_not_of_the_checksums_is_found(which: int, tmp_path: Path) -> None:
    archive = made(tmp_path, same, sign=lambda text: list(signatures(text))[which])
    [damage] = looked(archive)
    assert (damage.path, damage.kind, damage.rule) == (f"v1/content/{SIGNATURE}", "contradicted", "terp S2")


def test_a_signature_of_the_checksums_is_no_finding(tmp_path: Path) -> None:
    key = SigningKey(Ed25519PrivateKey.generate())
    assert looked(made(tmp_path, same, same, sign=key.sign)) == []


def test_nothing_is_read_again_to_hold_checksums_against_the_inventory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, read = made(tmp_path, same, same), list[str]()
    true = archive.read

    def reading(name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        read.append(name)
        yield from true(name, offset, size)

    monkeypatch.setattr(archive, "read", reading)
    assert looked(archive) == []
    assert sorted(read.count(name) for name in set(read) if name.endswith(SUMS)) == [1, 1]


def test_a_copy_of_an_older_version_is_not_blamed_for_a_newer(tmp_path: Path) -> None:
    older = made(tmp_path, same)
    copy = kept.copied(older, tmp_path / "attic")
    newer = made(tmp_path, same, lambda text: text + f"{OTHER}  strange.txt\n")
    assert [(one.place, one.path) for one in looked(newer, copy)] == [("archive", f"v2/content/{SUMS}")]


def test_a_repair_leaves_a_contradiction_to_people_and_tells_the_cure(tmp_path: Path) -> None:
    archive = made(tmp_path, lambda text: text + f"{OTHER}  strange.txt\n")
    copy = kept.copied(archive, tmp_path / "attic")
    names = ["archive", "attic"]
    outcome = repair(Work([archive, copy], tmp_path / "custody", tmp_path / "scratch", names, names))
    assert (outcome.mended, outcome.exit_code) == ([], 65)
    assert [why for _, why in outcome.left] == [damage.cure for damage, _ in outcome.left]
    assert len(outcome.left) == 2
