"""The archive: what is in it is whole, valid, and found again; no crash, race or bad disk shows half an object."""

import errno
import hashlib
import json
import logging
import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path

import ocfl
import pytest
from ocfl.layout_0003_hash_and_id_n_tuple import Layout_0003_Hash_And_Id_N_Tuple

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import killing

from terp.storage.archive import Archive, Receipt
from terp.storage.archive.ocfl import place
from terp.storage.errors import BadPackage, Damaged, DiskTrouble

IDENTIFIER = "urn:terp:noise/2026 é"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def sha512(path: Path) -> str:
    return hashlib.sha512(path.read_bytes()).hexdigest()


def put(archive: Archive, files: dict[str, Path], identifier: str = IDENTIFIER, **options: object) -> Receipt:
    about = {"message": "first", "user_name": "A. Maker", "user_address": "mailto:a@example.org", "created": NOON}
    return archive.ingest(identifier, files, **(about | options))  # type: ignore[arg-type]


def complaints(archive: Archive) -> list[str]:
    """Return what ocfl-py finds wrong, warnings included; its `validate` says True of a root with bad objects."""
    root = ocfl.StorageRoot(root=str(archive.root))
    sound = root.validate(log_warnings=True)
    found = [message for _, message in root.errors] + [str(message) for message in root.log.messages]
    if not sound or root.good_objects != root.num_objects or root.num_objects != len(archive.list()):
        found.append(f"{root.good_objects} of {root.num_objects} objects are valid")
    return found


def assert_valid(archive: Archive, objects: int) -> None:
    """Ask ocfl-py, warnings included, and our own check."""
    assert complaints(archive) == []
    assert len(archive.list()) == objects
    for identifier in archive.list():
        assert archive.verify(identifier) == []
    assert not (archive.root / "extensions/terp-staging").exists()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "archive")
    made.create_if_missing()
    return made


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rng, folder = random.Random(4), tmp_path / "work"
    (folder / "docs").mkdir(parents=True)
    contents = {
        "p.zarr.zip": rng.randbytes(50_000),
        "README.md": b"read",
        "docs/spec.txt": b"spec",
        "copy.txt": b"read",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}


def test_an_empty_archive_is_valid_and_made_once(archive: Archive) -> None:
    before = {path: path.read_bytes() for path in archive.root.rglob("*") if path.is_file()}
    archive.create_if_missing()
    assert {path: path.read_bytes() for path in archive.root.rglob("*") if path.is_file()} == before
    assert (archive.root / "0=ocfl_1.1").read_text() == "ocfl_1.1\n"
    assert archive.list() == []
    assert_valid(archive, objects=0)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BadPackage, match=r"holds thesis\.tex"):
        Archive(tmp_path).create_if_missing()
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_an_archive_with_another_layout_is_refused(archive: Archive) -> None:
    (archive.root / "ocfl_layout.json").write_text('{"extension": "0002-flat-direct-storage-layout"}')
    with pytest.raises(BadPackage, match="0002-flat"):
        archive.create_if_missing()


def test_an_ingested_object_is_valid_and_its_files_come_back(archive: Archive, files: dict[str, Path]) -> None:
    receipt = put(archive, files)
    inventory = hashlib.sha512((receipt.path / "inventory.json").read_bytes()).hexdigest()
    assert receipt == Receipt(IDENTIFIER, "v1", archive.root / place(IDENTIFIER), True, inventory)
    assert_valid(archive, objects=1)
    assert archive.list() == [IDENTIFIER]
    assert {n: p.read_bytes() for n, p in archive.files(IDENTIFIER).items()} == {
        n: p.read_bytes() for n, p in files.items()
    }
    inventory = json.loads((receipt.path / "inventory.json").read_bytes())
    assert inventory["versions"]["v1"]["created"] == "2026-11-21T12:00:00Z"
    assert inventory["versions"]["v1"]["user"] == {"name": "A. Maker", "address": "mailto:a@example.org"}


def test_the_archive_can_be_checked_with_coreutils_alone(archive: Archive, files: dict[str, Path]) -> None:
    home = put(archive, files).path
    done = subprocess.run(["sha512sum", "--strict", "-c", "inventory.json.sha512"], cwd=home, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "identifier", [IDENTIFIER, "a", "..hor/rib:lè-$id", "x" * 101, "é" * 40, "doi:10.5281/zenodo.1"]
)
def test_objects_are_where_the_official_layout_puts_them(identifier: str) -> None:
    assert str(place(identifier)) == Layout_0003_Hash_And_Id_N_Tuple().identifier_to_path(identifier)


def test_the_same_content_again_makes_no_version(archive: Archive, files: dict[str, Path]) -> None:
    put(archive, files)
    receipt = put(archive, dict(reversed(files.items())), message="again")
    assert (receipt.version, receipt.created_new) == ("v1", False)
    assert_valid(archive, objects=1)


def test_other_content_makes_the_next_version_and_stores_only_what_is_new(
    archive: Archive, files: dict[str, Path], tmp_path: Path
) -> None:
    home = put(archive, files).path
    (tmp_path / "new").write_bytes(b"new")
    changed = {
        "p.zarr.zip": files["p.zarr.zip"],
        "README.md": tmp_path / "new",
        "moved/spec.txt": files["docs/spec.txt"],
    }
    assert put(archive, changed).version == "v2"
    assert [p.relative_to(home).as_posix() for p in home.glob("v2/content/**/*")] == ["v2/content/README.md"]
    assert {n: p.read_bytes() for n, p in archive.files(IDENTIFIER).items()} == {
        n: p.read_bytes() for n, p in changed.items()
    }
    old = archive.files(IDENTIFIER, "v1")
    assert {n: p.read_bytes() for n, p in old.items()} == {n: p.read_bytes() for n, p in files.items()}
    assert put(archive, files).version == "v3"  # back again: nothing to store
    assert not (home / "v3/content").exists()
    assert_valid(archive, objects=1)
    with pytest.raises(BadPackage, match="no version v9; it has v1, v2, v3"):
        archive.files(IDENTIFIER, "v9")


def test_equal_files_are_stored_once_and_still_found_by_both_names(archive: Archive, files: dict[str, Path]) -> None:
    home = put(archive, files).path
    assert len([path for path in home.glob("v1/content/**/*") if path.is_file()]) == 3
    found = archive.files(IDENTIFIER)
    assert found["README.md"] == found["copy.txt"]


def test_a_file_with_a_known_digest_is_not_read_to_be_moved(archive: Archive, files: dict[str, Path]) -> None:
    package = files["p.zarr.zip"]
    inode, digest, access = package.stat().st_ino, sha512(package), 1_000_000_000
    os.utime(package, (access, package.stat().st_mtime))
    put(archive, files, digests={"p.zarr.zip": digest}, move=True)
    stored = archive.files(IDENTIFIER)["p.zarr.zip"]
    assert stored.stat().st_ino == inode
    assert stored.stat().st_atime == access
    assert not any(path.exists() for path in files.values())
    assert_valid(archive, objects=1)


def test_moving_falls_back_to_copying_where_there_are_no_hard_links(
    archive: Archive, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    put(archive, files, move=True)
    assert not any(path.exists() for path in files.values())
    assert_valid(archive, objects=1)


def test_what_was_not_newly_stored_is_not_taken_away(archive: Archive, files: dict[str, Path]) -> None:
    put(archive, files)
    put(archive, files, move=True)
    assert all(path.exists() for path in files.values())


def test_a_file_that_has_not_the_digest_given_is_refused(archive: Archive, files: dict[str, Path]) -> None:
    with pytest.raises(Damaged, match=r"p\.zarr\.zip has not the SHA-512"):
        put(archive, files, digests={"p.zarr.zip": "0" * 128})
    with pytest.raises(BadPackage, match=r"given for x\.zip, which is not among"):
        put(archive, files, digests={"x.zip": "0" * 128})
    assert archive.list() == []
    assert_valid(archive, objects=0)


@pytest.mark.parametrize("name", ["../a", "/a", "a//b", "", "README.md/a"])
def test_names_that_would_leave_the_object_are_refused(archive: Archive, files: dict[str, Path], name: str) -> None:
    with pytest.raises(BadPackage):
        put(archive, files | {name: files["README.md"]})


def test_an_unknown_object_and_a_moment_without_time_zone_are_refused(archive: Archive, files: dict[str, Path]) -> None:
    with pytest.raises(BadPackage, match="holds no object 'x'"):
        archive.files("x")
    with pytest.raises(BadPackage, match="time zone"):
        put(archive, files, created=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(DiskTrouble, match="gone"):
        put(archive, {"a": Path("gone")})


def test_stored_files_are_read_only_and_shared_as_the_umask_says(archive: Archive, files: dict[str, Path]) -> None:
    before = os.umask(0o027)
    try:
        home = put(archive, files).path
    finally:
        os.umask(before)
    assert {stat.S_IMODE(p.stat().st_mode) for p in home.rglob("*") if p.is_file() and "0=" not in p.name} == {0o440}
    assert {stat.S_IMODE(p.stat().st_mode) for p in home.rglob("*") if p.is_dir()} == {0o750}


def test_folders_of_a_shared_archive_keep_its_group(archive: Archive, files: dict[str, Path]) -> None:
    os.chmod(archive.root, 0o2775)
    os.chmod(archive.root / "extensions", 0o2775)
    home = put(archive, files, move=True).path
    assert all(path.stat().st_mode & stat.S_ISGID for path in home.rglob("*") if path.is_dir())


# damage


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def grow(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"\n")


DAMAGES = {
    "v1/content/p.zarr.zip": [flip, grow, Path.unlink],
    "v1/content/README.md": [flip, Path.unlink],
    "v1/inventory.json": [flip],
    "inventory.json": [flip, grow, Path.unlink],
    "inventory.json.sha512": [flip, Path.unlink],
    "0=ocfl_object_1.1": [flip, Path.unlink],
    "v1/content/extra": [Path.touch],
    "v2": [Path.mkdir],
    "stray.txt": [Path.touch],
}


@pytest.mark.parametrize(("where", "damage"), [(where, how) for where, hows in DAMAGES.items() for how in hows])
def test_damage_is_found_by_us_and_by_ocfl_py(
    where: str, damage: Callable[[Path], None], archive: Archive, files: dict[str, Path]
) -> None:
    home = put(archive, files).path
    damage(home / where)
    assert where in {finding.path for finding in archive.verify(IDENTIFIER)}
    if where != "0=ocfl_object_1.1":
        assert archive.list() == [IDENTIFIER]
    assert complaints(archive)


def test_two_files_exchanged_are_both_named(archive: Archive, files: dict[str, Path]) -> None:
    put(archive, files)
    found = archive.files(IDENTIFIER)
    one, two = found["README.md"], found["docs/spec.txt"]
    aside = one.rename(one.with_name("aside"))
    two.rename(one)
    aside.rename(two)
    assert {finding.path for finding in archive.verify(IDENTIFIER)} == {
        "v1/content/README.md",
        "v1/content/docs/spec.txt",
    }


# bad disks


@pytest.mark.parametrize("version", [1, 2])
def test_a_failing_sync_shows_nothing_half_and_the_next_ingest_is_whole(
    version: int, archive: Archive, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").write_bytes(b"new")
    if version == 2:
        put(archive, files)
        files = files | {"README.md": tmp_path / "new"}
    real, troubles = os.fsync, list[str]()

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for good in range(100):
        answers = chain(repeat(real, good), repeat(refuse))  # one refusal alone is met by writing again
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda descriptor, answers=answers: next(answers)(descriptor))
            try:
                receipt = put(archive, files)
            except DiskTrouble as error:
                troubles.append(str(error))
            else:
                break
        seen = [archive.files(identifier) for identifier in archive.list()]
        assert all(path.exists() for found in seen for path in found.values())
        if version == 1:
            assert seen == []
            assert_valid(archive, objects=0)
    assert len(troubles) > 10
    assert all("input/output error" in words for words in troubles)
    assert receipt.version == f"v{version}"
    assert_valid(archive, objects=1)


# crashes and races: in a process of their own, as they kill

SETTING = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from terp.storage.archive import Archive
here = Path(sys.argv[1])
archive = Archive(here / "archive")

def put(text, **options):
    for name, data in {"a.zip": text * 9000, "b/c.txt": text, "same.txt": "same"}.items():
        path = here / text / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data)
    files = {p.relative_to(here / text).as_posix(): p for p in (here / text).rglob("*") if p.is_file()}
    now = datetime(2026, 11, 21, tzinfo=UTC)
    about = dict(message="m", user_name="u", user_address="mailto:u@example.org", created=now)
    return archive.ingest("urn:x:" + options.pop("to", "1"), files, **about, **options)
"""

KILLING = (
    SETTING
    + """
from killing import dies

first = sys.argv[2] == "v1"
for count in range(0, 1000, int(sys.argv[3])):
    to = str(count)
    if not first:
        put("old", to=to)
    died = dies(count, lambda: put("new", to=to, move=True))
    if "urn:x:" + to in archive.list():
        for name, path in archive.files("urn:x:" + to).items():
            assert path.exists(), (count, name)
    receipt = put("new", to=to)
    assert receipt.version == ("v1" if first else "v2"), (count, receipt)
    assert archive.verify("urn:x:" + to) == [], count
    if not died:
        print(count)
        break
"""
)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_killed_at_any_moment_the_next_ingest_finishes_or_starts_over(
    version: str, archive: Archive, tmp_path: Path
) -> None:
    [points] = killing.told(KILLING, tmp_path, version, 5)
    assert int(points) > 50
    assert_valid(archive, objects=len(archive.list()))


def test_a_torn_version_folder_is_removed_and_a_whole_one_finished(archive: Archive, files: dict[str, Path]) -> None:
    home = put(archive, files).path
    torn = home / "v2"
    torn.mkdir()
    (torn / "inventory.json").write_text("{")
    (torn / "inventory.json.sha512").write_text("0  inventory.json\n")
    assert archive.files(IDENTIFIER) == archive.files(IDENTIFIER, "v1")
    assert {finding.path for finding in archive.verify(IDENTIFIER)} == {"v2", "v2/inventory.json"}
    assert not put(archive, files).created_new
    assert not torn.exists()
    before = [(home / name).read_bytes() for name in ("inventory.json", "inventory.json.sha512")]
    put(archive, files | {"more": files["README.md"]})
    for name, data in zip(("inventory.json", "inventory.json.sha512"), before, strict=True):
        (home / name).unlink()
        (home / name).write_bytes(data)  # as if killed before the top was brought up to date
    assert "more" in archive.files(IDENTIFIER)
    inventory = hashlib.sha512((home / "v2/inventory.json").read_bytes()).hexdigest()
    again = put(archive, files | {"more": files["README.md"]})
    assert again == Receipt(IDENTIFIER, "v2", home, False, inventory)
    assert_valid(archive, objects=1)


def test_a_version_whose_inventories_were_damaged_is_never_dropped(archive: Archive, files: dict[str, Path]) -> None:
    home = put(archive, files).path
    files["p.zarr.zip"].write_bytes(b"the second version")
    put(archive, files)
    for path in (home / "inventory.json", home / "v2/inventory.json"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b'"head": "v2"', b'"head": "v3"'))
    files["p.zarr.zip"].write_bytes(b"the third")
    with pytest.raises(BadPackage, match=r"v2 has no inventory that fits its checksum.*terp repair"):
        put(archive, files)
    assert (home / "v2/content/p.zarr.zip").read_bytes() == b"the second version"


def test_what_an_object_has_is_never_moved_out_of_it(archive: Archive, files: dict[str, Path]) -> None:
    home = put(archive, files).path
    held = archive.files(IDENTIFIER)["p.zarr.zip"]
    with pytest.raises(Damaged, match="has not the SHA-512"):  # as a table that was altered would have it
        put(archive, {"p.zarr.zip": held, "more": files["README.md"]}, digests={"p.zarr.zip": "0" * 128}, move=True)
    assert sha512(held) == sha512(files["p.zarr.zip"])
    assert not (home / "v2").exists()
    put(archive, {"q": held}, identifier="urn:another", move=True)
    assert_valid(archive, objects=2)


@pytest.mark.parametrize(("left", "said"), [(None, "is gone"), (b"cut", "is cut off")])
def test_what_an_object_has_lost_does_not_count_as_kept(
    left: bytes | None, said: str, archive: Archive, files: dict[str, Path]
) -> None:
    put(archive, files)
    held = archive.files(IDENTIFIER)["p.zarr.zip"]
    held.unlink()
    if left:
        held.write_bytes(left)
    for more in ({}, {"more": files["README.md"]}):
        with pytest.raises(BadPackage, match=rf"{said}, so p.zarr.zip is not kept there: mend .*terp repair"):
            put(archive, files | more, move=True)
    assert files["p.zarr.zip"].exists()


def test_staging_of_the_living_and_of_other_hosts_is_left_alone(archive: Archive, files: dict[str, Path]) -> None:
    staging = archive.root / "extensions/terp-staging"
    other = staging / "aa,another-host,boot,space,1,1,2026-01-01T00:00:00+00:00"
    other.mkdir(parents=True)
    (staging / "made by hand").mkdir()
    with archive._staging() as mine:
        put(archive, files)
        assert mine.exists()
    assert {path.name for path in staging.iterdir()} == {other.name, "made by hand"}


RACING = (
    SETTING
    + """
sys.stdin.readline()  # all start at once
print(put(sys.argv[2]).version)
"""
)


@pytest.mark.parametrize("texts", [["same", "same", "same"], ["one", "two", "three"]])
@pytest.mark.parametrize("old", [False, True])
def test_processes_that_ingest_one_identifier_at_once_make_one_valid_object(
    texts: list[str], old: bool, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "old.txt").write_text("old")
    if old:
        put(archive, {"old.txt": tmp_path / "old.txt"}, "urn:x:1")
    folders = [tmp_path / str(number) for number in range(len(texts))]
    started = []
    for folder, text in zip(folders, texts, strict=True):
        folder.mkdir()
        (folder / "archive").symlink_to(archive.root)
        command = [sys.executable, "-c", RACING, folder, text]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in started:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    versions = [process.communicate()[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * len(texts)
    expected = [f"v{number + 1 + old}" for number in range(len(set(texts)))]
    assert sorted(set(versions)) == expected
    assert (
        list(json.loads((archive.root / place("urn:x:1") / "inventory.json").read_bytes())["versions"])[-1]
        == expected[-1]
    )
    assert_valid(archive, objects=1)
