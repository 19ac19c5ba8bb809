"""Places of copies, each the real thing: whole files or none, no stranger trusted, nothing outside touched."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from holdings import archived, complaints, contents, copied, places, said
from lies import fails, lying
from services import Gateway, Ssh, free_port, make_key, radosgw, sshd

from terp.storage.archive.copies import copies_of, copy_to, open_place, remove_copy
from terp.storage.archive.ocfl import place as where
from terp.storage.errors import BadPackage, BadPlaces, Damaged, DiskTrouble, PlaceTrouble
from terp.storage.home import Home
from terp.storage.places import Folder, Place, Places, Stored
from terp.storage.places.place import PART
from terp.storage.places.s3 import Bucket
from terp.storage.places.sftp import Sftp
from terp.storage.places.ssh import Login

KINDS = ("folder", "sftp", "s3")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    with sshd(tmp_path_factory.mktemp("sshd")) as one:
        yield one


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    import boto3

    with radosgw(tmp_path_factory.mktemp("ceph")) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", one.access)
        patch.setenv("AWS_SECRET_ACCESS_KEY", one.secret)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3", endpoint_url=one.url).create_bucket(Bucket="copies")
        yield one


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def at_ssh(server: Ssh, root: Path) -> Iterator[Sftp]:
    login = Login("127.0.0.1", server.port, server.user, server.key, server.known_hosts)
    place = Sftp("far", login, str(root))
    yield place
    place.close()


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, root: Path) -> Place:
    if request.param == "folder":
        return Folder("near", root)
    if request.param == "sftp":
        return request.getfixturevalue("at_ssh")  # type: ignore[no-any-return]
    return bucket(request.getfixturevalue("store"), request.node.name)


def bucket(store: Gateway, test: str) -> Bucket:
    return Bucket("store", "copies", "".join(c if c.isalnum() else "-" for c in test), store.url)


def content(place: Place, name: str) -> bytes:
    return b"".join(place.read(name))


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """More than a block, and no whole number of them."""
    path = tmp_path / "big"
    path.write_bytes(os.urandom(9_000_001))
    return path


def sha512(path: Path) -> str:
    import hashlib

    return hashlib.sha512(path.read_bytes()).hexdigest()


# what any place does


def test_what_is_put_is_listed_and_read_back_in_whole_and_in_part(place: Place, big: Path) -> None:
    told: list[int] = []
    place.put("a/b c/é%.zip", big, sha512(big), told.append)
    place.write("a/none", b"")
    place.write("ab", b"small")
    assert sum(told) == 9_000_001
    assert list(place.list("a/")) == [Stored("a/b c/é%.zip", 9_000_001), Stored("a/none", 0)]
    assert [one.name for one in place.list()] == ["a/b c/é%.zip", "a/none", "ab"]
    assert [one.name for one in place.list("a")] == ["a/b c/é%.zip", "a/none", "ab"]
    assert list(place.list("nothing/here/")) == []
    data = big.read_bytes()
    assert content(place, "a/b c/é%.zip") == data
    assert b"".join(place.read("a/b c/é%.zip", 4_194_303, 3)) == data[4_194_303:4_194_306]
    assert b"".join(place.read("a/b c/é%.zip", 8_999_999)) == data[-2:]
    assert b"".join(place.read("a/b c/é%.zip", 9_000_001, 5)) == b""
    assert content(place, "a/none") == b""


def test_what_stands_there_is_replaced_and_what_is_deleted_is_gone(place: Place) -> None:
    place.write("a/b/c", b"one")
    place.write("a/b/c", b"other")
    assert content(place, "a/b/c") == b"other"
    place.delete("a/b/c")
    place.delete("a/b/c")
    assert list(place.list()) == []
    with pytest.raises(FileNotFoundError):
        content(place, "a/b/c")


def test_what_is_not_what_it_was_is_never_put(place: Place, big: Path) -> None:
    with pytest.raises(Damaged, match="big is not what was stored"):
        place.put("a/big", big, "0" * 128)
    with pytest.raises(DiskTrouble, match="gone"):
        place.put("a/gone", big.with_name("gone"), "0" * 128)
    assert list(place.list()) == []


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "", "a//b", "a/./b", "a\\b", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(place: Place, name: str, tmp_path: Path) -> None:
    for act in (lambda: place.write(name, b""), lambda: place.delete(name), lambda: content(place, name)):
        with pytest.raises(BadPackage, match="leads elsewhere"):
            act()
    assert not (tmp_path / "x").exists()
    with pytest.raises(BadPackage, match="leads elsewhere"):
        list(place.list("../place"))


# folders, here and at the end of SSH


@pytest.fixture(params=("folder", "sftp"))
def tree(request: pytest.FixtureRequest, root: Path) -> Place:
    return Folder("near", root) if request.param == "folder" else request.getfixturevalue("at_ssh")


def test_a_place_that_is_not_there_is_not_made(tree: Place, root: Path) -> None:
    root.rmdir()
    for act in (lambda: tree.write("a", b""), lambda: list(tree.list()), lambda: tree.delete("a")):
        with pytest.raises(PlaceTrouble, match=r"mount it|has no folder"):
            act()
    assert not root.exists()


def test_links_are_listed_as_no_files_and_never_followed(tree: Place, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    os.mkfifo(root / "pipe")
    assert list(tree.list()) == [Stored(name, -1) for name in ("file", "folder", "pipe")]
    for act in (
        lambda: content(tree, "file"),
        lambda: content(tree, "pipe"),
        lambda: content(tree, "folder/secret"),
        lambda: tree.write("folder/new", b""),
        lambda: tree.delete("folder/secret"),
    ):
        with pytest.raises((BadPackage, PlaceTrouble), match="link"):
            act()
    assert [path.name for path in outside.iterdir()] == ["secret"]
    tree.delete("file")
    assert (outside / "secret").exists()


def test_an_interrupted_put_leaves_what_a_sweep_removes(tree: Place, root: Path) -> None:
    tree.write("a/b", b"whole")
    (root / "a" / f"{PART}123").write_bytes(b"half")
    tree.sweep("a/")
    assert [one.name for one in tree.list()] == ["a/b"]


def test_a_full_disk_leaves_nothing_and_is_told_in_words(root: Path, big: Path) -> None:
    with (
        lying("write", fails(errno.ENOSPC, lambda n: n == 1)),
        pytest.raises(PlaceTrouble, match="it is full: free space there"),
    ):
        Folder("near", root).put("a/big", big, sha512(big))
    assert list(Folder("near", root).list()) == []


def test_a_place_that_is_read_only_says_so(root: Path) -> None:
    with lying("open", fails(errno.EROFS, lambda _: True)), pytest.raises(PlaceTrouble, match="mount it for writing"):
        Folder("near", root).write("b", b"")


def test_a_file_where_a_folder_should_be_is_said(tree: Place) -> None:
    tree.write("a", b"")
    with pytest.raises((PlaceTrouble, BadPackage), match="folder"):
        tree.write("a/b", b"")


# SSH


def other(server: Ssh, root: Path, **differs: object) -> Sftp:
    about = {"host": "127.0.0.1", "port": server.port, "user": server.user}
    about |= {"key": server.key, "known_hosts": server.known_hosts}
    return Sftp("far", Login(**(about | differs)), str(root))  # type: ignore[arg-type]


def test_a_server_whose_key_is_not_known_is_refused_in_words(server: Ssh, root: Path, tmp_path: Path) -> None:
    empty = tmp_path / "known"
    empty.touch()
    with pytest.raises(PlaceTrouble, match=r"is not known: .* has no key of it; it shows ssh-ed25519 SHA256:"):
        list(other(server, root, known_hosts=empty).list())
    assert empty.read_text() == ""


def test_a_server_with_another_key_is_refused_in_words(server: Ssh, root: Path, tmp_path: Path) -> None:
    false = make_key(tmp_path / "false").with_suffix(".pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {false}")
    with pytest.raises(PlaceTrouble, match=r"shows another key than the one in .* nothing was sent"):
        list(other(server, root, known_hosts=tmp_path / "known").list())


def test_a_wrong_key_a_missing_one_and_no_server_are_told_apart(server: Ssh, root: Path, tmp_path: Path) -> None:
    with pytest.raises(PlaceTrouble, match="does not let in the key"):
        list(other(server, root, key=make_key(tmp_path / "wrong")).list())
    with pytest.raises(PlaceTrouble, match=r"nokey is not there; correct places\.toml"):
        list(other(server, root, key=tmp_path / "nokey").list())
    with pytest.raises(PlaceTrouble, match="does not answer"):
        list(other(server, root, port=free_port()).list())


def test_a_connection_that_is_lost_is_made_anew_and_the_work_goes_on(server: Ssh, at_ssh: Sftp, big: Path) -> None:
    lost: list[int] = []

    def lose(count: int) -> None:
        if not lost:
            lost.append(count)
            server.hang_up()

    at_ssh.put("a/big", big, sha512(big), lose)
    assert lost
    at_ssh.sweep()
    assert list(at_ssh.list()) == [Stored("a/big", 9_000_001)]
    blocks = at_ssh.read("a/big")
    first = next(blocks)
    server.hang_up()
    assert first + b"".join(blocks) == big.read_bytes()


def test_a_server_that_cannot_sync_is_read_back(at_ssh: Sftp, big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import paramiko

    true, asked = paramiko.SFTPClient._request, []

    def request(self: object, kind: int, *words: object) -> object:
        if words[0] == "fsync@openssh.com":
            asked.append(words)
            raise OSError("Operation unsupported")
        return true(self, kind, *words)

    monkeypatch.setattr(paramiko.SFTPClient, "_request", request)
    at_ssh.put("big", big)
    assert len(asked) == 1
    with monkeypatch.context() as patch:
        patch.setattr("terp.storage.places.sftp._part", lambda *_, **about: bytes(about["size"]))
        with pytest.raises(PlaceTrouble, match="did not keep what was sent"):
            at_ssh.put("other", big)
    assert [one.name for one in at_ssh.list()] == ["big"]


@pytest.mark.parametrize("name", ["..", "../../etc/x", "a/b", "a\\b"])
def test_a_hostile_listing_is_refused(at_ssh: Sftp, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import paramiko

    said = paramiko.SFTPAttributes()
    said.filename, said.st_mode, said.st_size = name, 0o100644, 1
    monkeypatch.setattr(paramiko.SFTPClient, "listdir_attr", lambda *_: [said])
    with pytest.raises(PlaceTrouble, match="which leads elsewhere"):
        list(at_ssh.list())


def test_folders_without_end_are_not_walked_for_ever(at_ssh: Sftp, monkeypatch: pytest.MonkeyPatch) -> None:
    import paramiko

    said = paramiko.SFTPAttributes()
    said.filename, said.st_mode = "deeper", 0o040755
    monkeypatch.setattr(paramiko.SFTPClient, "listdir_attr", lambda *_: [said])
    with pytest.raises(PlaceTrouble, match="folders without end"):
        list(at_ssh.list())


# S3: Ceph's gateway


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("terp.storage.places.s3._PART", 5 << 20)


@pytest.mark.usefixtures("small_parts")
def test_a_large_file_goes_in_parts_and_a_broken_one_leaves_nothing(
    store: Gateway, big: Path, request: pytest.FixtureRequest
) -> None:
    place = bucket(store, request.node.name)
    place.put("a/big", big, sha512(big))
    assert content(place, "a/big") == big.read_bytes()
    with pytest.raises(Damaged):
        place.put("a/other", big, "0" * 128)
    uploads = place._client.list_multipart_uploads(Bucket="copies", Prefix=place.prefix)
    assert "Uploads" not in uploads
    place._client.create_multipart_upload(Bucket="copies", Key=f"{place.prefix}a/killed")
    assert place._client.list_multipart_uploads(Bucket="copies", Prefix=place.prefix)["Uploads"]
    place.sweep()
    assert "Uploads" not in place._client.list_multipart_uploads(Bucket="copies", Prefix=place.prefix)
    assert list(place.list()) == [Stored("a/big", 9_000_001)]


def test_the_store_refuses_what_did_not_come_as_it_was_sent(
    store: Gateway, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = bucket(store, request.node.name)
    monkeypatch.setattr("terp.storage.places.s3._md5", lambda _: "1B2M2Y8AsgTpgAmY7PhCfg==")
    with pytest.raises(PlaceTrouble, match="what came there was not what was sent"):
        place.write("a", b"abc")
    assert list(place.list()) == []


def test_in_a_bucket_that_keeps_versions_what_is_deleted_is_gone_with_all_of_them(store: Gateway) -> None:
    place = Bucket("store", "versions", "", store.url)
    place._client.create_bucket(Bucket="versions")
    place._client.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    for data in (b"one", b"two"):
        place.write("a/b", data)
    place.write("a/bc", b"stays")
    place.delete("a/b")
    left = place._client.list_object_versions(Bucket="versions")
    assert [one["Key"] for one in left["Versions"]] == ["a/bc"]
    assert not left.get("DeleteMarkers")


def test_what_somebody_else_deleted_in_a_bucket_that_keeps_versions_goes_too(store: Gateway) -> None:
    place = Bucket("store", "trash", "", store.url)
    place._client.create_bucket(Bucket="trash")
    place._client.put_bucket_versioning(Bucket="trash", VersioningConfiguration={"Status": "Enabled"})
    for name in ("object/a", "object/b", "other"):
        place.write(name, b"of somebody")
    for name in ("object/a", "other"):
        place._client.delete_object(Bucket="trash", Key=name)  # its older version stays
    place.clear("object/")
    left = place._client.list_object_versions(Bucket="trash")
    assert {one["Key"] for one in [*left["Versions"], *left["DeleteMarkers"]]} == {"other"}


def test_a_hostile_key_in_a_bucket_is_refused(store: Gateway, request: pytest.FixtureRequest) -> None:
    place = bucket(store, request.node.name)
    place._client.put_object(Bucket="copies", Key=f"{place.prefix}a/../../x", Body=b"")
    with pytest.raises(PlaceTrouble, match="which leads elsewhere"):
        list(place.list())


def test_a_wrong_bucket_wrong_secret_and_no_store_are_told_apart(
    store: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PlaceTrouble, match="there is no such bucket"):
        list(Bucket("store", "unknown", "", store.url).list())
    with pytest.raises(PlaceTrouble, match="does not answer"):
        list(Bucket("store", "copies", "", f"http://127.0.0.1:{free_port()}").list())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    with pytest.raises(PlaceTrouble, match="your secret key is not the one it knows"):
        list(Bucket("store", "copies", "", store.url).list())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(PlaceTrouble, match="wants to know who you are"):
        list(Bucket("store", "copies", "", store.url).list())


# copies in them


@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_copies_elsewhere_are_ocfl_roots_too_and_go_to_the_last_byte(
    kind: str, tmp_path: Path, root: Path, request: pytest.FixtureRequest
) -> None:
    at = Home(tmp_path / "home")
    if kind == "sftp":
        ssh: Ssh = request.getfixturevalue("server")
        about = {"host": "127.0.0.1", "port": ssh.port, "user": ssh.user, "path": str(root)}
        about |= {"key": str(ssh.key), "known_hosts": str(ssh.known_hosts)}
    else:
        about = {"bucket": "copies", "endpoint": request.getfixturevalue("store").url, "prefix": "terp/copies"}
    places(at, said(name="far", kind=kind, audit_every="P30D", **about))
    one, two = archived(at, "one"), archived(at, "two", size=9)
    assert copy_to(at, "far", [one, two])[1] == []
    assert [sent.files for sent in copy_to(at, "far", [one, two])[0]] == [0, 0]
    place = open_place(at, "far")[1]
    got = tmp_path / "got"
    for stored in place.list():
        (got / stored.name).parent.mkdir(parents=True, exist_ok=True)
        (got / stored.name).write_bytes(content(place, stored.name))
    assert complaints(got, objects=2) == []
    assert copied(got).keys() == contents(at.archive).keys()
    remove_copy(at, "far", one)
    assert list(place.list(where(one).as_posix())) == []
    assert copies_of(at, two) == [("far", "whole")]


# the file that names them

GOOD = """
[[place]]
name = "disk-two"
kind = "folder"
path = "/mnt/two"
audit_every = "P30D"

[[place]]
name = "elsewhere"
kind = "sftp"
host = "sftp.example.org"
user = "terp"
path = "/data/terp"
key = "~/.ssh/terp"
known_hosts = "~/.ssh/known_hosts"
audit_every = "P90D"
cost = "EUR 10 a TB a month"

[[place]]
name = "bucket"
kind = "s3"
bucket = "copies"
endpoint = "https://s3.example.org"
prefix = "terp"
audit_every = "P90D"

[[place]]
name = "tape"
kind = "tape"
path = "/archive/terp"
audit_every = "P1Y"
"""


def test_places_are_read_and_opened_by_name() -> None:
    found = Places.parse(GOOD.encode())
    assert [(one.name, one.kind, one.open().kind) for one in found.place] == [
        (name, kind, kind)
        for name, kind in (("disk-two", "folder"), ("elsewhere", "sftp"), ("bucket", "s3"), ("tape", "tape"))
    ]
    assert found.about("tape").audit_every == "P1Y"
    with pytest.raises(BadPlaces, match=r"no place 'nowhere'.*known are disk-two, elsewhere, bucket, tape"):
        found.about("nowhere")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'host = "sftp.example.org"',
            'hots = "x"',
            r"elsewhere: host is missing\n.*hots is not known: known are",
        ),
        ('kind = "tape"', 'kind = "tap"', r"place tape has no kind that is known: known are folder, sftp, s3, tape"),
        ('kind = "tape"\n', "", "has no kind that is known"),
        ('path = "/mnt/two"', 'path = "two"', "place disk-two: path must be a whole path"),
        ("https://s3", "http://s3", "endpoint must be an https://"),
        ('prefix = "terp"', 'prefix = "../terp"', "place bucket: prefix"),
        ('"P90D"', '"often"', "audit_every must be a term"),
        ('name = "bucket"', 'name = "Bucket/../x"', "name"),
        ('name = "tape"', 'name = "bucket"', "two places of the name bucket"),
        ('"/archive/terp"', '"/mnt/two"', "the places disk-two and tape are one"),
        ('"/archive/terp"', '"/mnt/../mnt/two/tape"', "the places disk-two and tape are one, or one is in the other"),
        ("[[place]]", "[place", "is no TOML"),
        ("[[place]]", "[[places]]", "places is not known: known are place"),
    ],
)
def test_what_is_wrong_with_the_file_is_named(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(BadPlaces, match=said):
        Places.parse(GOOD.replace(old, new, 1).encode())


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").touch(mode=0o644)
    about = Places.parse(GOOD.replace("~/.ssh/terp", str(tmp_path / "key")).encode()).about("elsewhere")
    with pytest.raises(BadPlaces, match=r"can be read by others: chmod 600"):
        about.open()
