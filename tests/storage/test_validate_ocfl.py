"""The validator of OCFL: agrees with all official fixtures, locates a flipped bit, and is harmed by nothing."""

import hashlib
import json
import logging
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ocfl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from ocfl.validator import Validator

sys.path.insert(0, str(Path(__file__).parent))
import validating
from validating import errors, flip, look, warnings

from terp.storage import validate as validate_rules
from terp.storage.archive import Archive
from terp.storage.errors import BadInput
from terp.storage.validate import Finding, validate, validate_object

SHARED = Path(__file__).resolve().parents[3] / "shared/vectors/ocfl"
FIXTURES = sorted(str(path.relative_to(SHARED)) for path in SHARED.glob("1.[01]/*-objects/*"))
FOUND = {"good": 22, "bad": 107, "warn": 27}  # of 1.0 and 1.1

# Where ocfl-py, which stops early or blames another rule, has a code that we do not have, for OCFL 1.0 and 1.1 alike.
# Of whether an object is valid both say the same, of all.
THEIRS = {
    "E001_invalid_version_format": {"E009", "E042"},  # a version "1" is no version at all to us: E046, and none: E008
    "E010_missing_versions": {"E046"},  # a folder that is gone is a gap: E010, as the fixture says
    "E010_skipped_versions": {"E040", "E046", "E064"},  # it goes on with version 1 as the newest, before the gap
    "E011_E013_invalid_padded_head_version": {"E040", "E046", "E064", "E066"},  # likewise, up to v09
    "E019_inconsistent_content_dir": {"E020"},  # one rule in two codes: the fixture says E019
    "E025_wrong_digest_algorithm": {"E046"},  # it reads no versions then
    "E040_wrong_version_in_version_dir": {"E066"},  # a wrong head says nothing of the states, which are the same
    "E049_E050_E054_bad_version_block_values": {"E107"},  # no rule of 1.0
    "E100_E099_fixity_invalid_content_paths": {"E057"},  # it says of paths of fixity only that they are not listed
}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
def fixture(shared: Path) -> Path:
    return shared / "vectors/ocfl"


@pytest.mark.usefixtures("shared")
def test_all_official_fixtures_are_here() -> None:
    kinds = [Path(name).parts[1].removesuffix("-objects") for name in FIXTURES]
    assert {kind: kinds.count(kind) for kind in FOUND} == FOUND


@pytest.mark.parametrize("name", FIXTURES)
def test_an_official_fixture_is_what_its_name_says(name: str, fixture: Path) -> None:
    found = validate_object(fixture / name)
    wanted = set(re.findall(r"[EW]\d{3}", name))
    if "/good-" in name:
        assert found == ()
    elif "/warn-" in name:
        assert (errors(found), warnings(found) & wanted) == (set(), wanted)
    else:
        assert wanted <= errors(found)
    assert all(one.rule.startswith("OCFL ") and one.message and one.cure for one in found)


@pytest.mark.parametrize("name", FIXTURES)
def test_ocfl_py_agrees_on_each_fixture_but_for_declared_codes(name: str, fixture: Path) -> None:
    theirs = Validator()
    sound = theirs.validate_object(str(fixture / name))
    said = set(re.findall(r"^\[?([EW]\d{3})", "\n".join(map(str, theirs.log.messages)), re.MULTILINE))
    ours = validate_object(fixture / name)
    assert sound == (not errors(ours))
    assert said - errors(ours) - warnings(ours) <= THEIRS.get(Path(name).name, set())


# our own


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with one object of two versions, a package among its files."""
    return validating.archived(tmp_path_factory.mktemp("made"))


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return validating.writable(Path(shutil.copytree(made, tmp_path / "root")))


def home(root: Path) -> Path:
    (folder,) = root.glob("*/*/*/urn*")
    return folder


def test_what_we_make_is_valid_to_us_and_to_ocfl_py(root: Path) -> None:
    report = validate(root)
    assert (report.kind, report.objects, report.findings) == ("OCFL storage root", 1, ())
    content = [path for path in root.rglob("content/**/*") if path.is_file()]
    assert (report.files, report.bytes) == (len(content), sum(path.stat().st_size for path in content))
    theirs = ocfl.StorageRoot(root=str(root))
    assert theirs.validate(log_warnings=True)
    assert [str(one) for one in theirs.log.messages] == []


def test_validating_changes_nothing(root: Path) -> None:
    before = look(root)
    for broken in (False, True):
        if broken:
            flip(home(root) / "v1/content/winds.zarr.zip", 80_000)
            before = look(root)
        validate(root)
        validate(home(root))
        assert look(root) == before


def test_what_can_only_be_read_is_validated(root: Path) -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs a mount of its own, as root may have with unshare(1)")
    script = "mount --bind -o ro $0 $0 && mount -o remount,bind,ro $0 && touch $0/x; exec $1 verify $0"
    words = ["unshare", "-m", "bash", "-c", script, str(root), str(Path(sys.executable).with_name("terp"))]
    done = subprocess.run(words, capture_output=True, text=True)
    assert "Read-only" in done.stderr
    assert (done.returncode, "no rule is broken" in done.stdout) == (0, True), done.stdout + done.stderr


def places(found: Iterable[Finding]) -> set[str]:
    return {one.path for one in found if one.level == "error"}


def test_any_flipped_bit_of_our_objects_is_found_in_the_file_where_it_is(root: Path) -> None:
    rng, object_, archive = random.Random(5), home(root), Archive(root)
    files = [path for path in sorted(object_.rglob("*")) if path.is_file()]
    for number in range(40 * len(files)):
        path = files[number % len(files)]
        bit = rng.randrange(path.stat().st_size * 8)
        flip(path, bit)
        name = str(path.relative_to(object_))
        assert {one.path for one in archive.verify(validating.IDENTIFIER)} == {name}, (name, bit)
        flip(path, bit)
    assert archive.verify(validating.IDENTIFIER) == []


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("wind/c/2/1/0", "region 5 of array wind"),
        ("gust/c/0/1/0", "region 2 of array gust"),
        ("wet/rain/rain/c/0/1", "region 1 of array wet/rain/rain"),
        ("wet/rain/time/zarr.json", "CRC-32"),
    ],
)
def test_damage_in_a_package_is_located_to_its_member_array_and_region(root: Path, member: str, words: str) -> None:
    content = home(root) / "v1/content"
    rows = json.loads((content / "winds.zarr.zip.members.json").read_bytes())["members"]
    (row,) = (row for row in rows if row["name"] == member)
    flip(content / "winds.zarr.zip", (row["offset"] + row["size"] // 2) * 8)
    found = validate_object(home(root))
    assert [(one.rule, one.path, one.member) for one in found] == [
        ("OCFL E092", "v1/content/winds.zarr.zip", ""),
        ("terp P7", "v1/content/winds.zarr.zip", member),
    ]
    assert words in found[1].message


def test_content_is_read_though_the_inventory_is_lost(root: Path) -> None:
    (home(root) / "inventory.json").write_bytes(b"\0" * 1000)
    flip(home(root) / "v2/content/README.md", 1)
    assert places(validate_object(home(root))) == {"inventory.json", "v2/content/README.md"}


LOSSES: dict[str, tuple[Callable[[Path], object], str]] = {
    "content": (lambda at: (at / "v1/content/README.md").unlink(), "E092"),
    "cut": (lambda at: os.truncate(at / "v1/content/winds.zarr.zip", 9999), "E092"),
    "version": (lambda at: shutil.rmtree(at / "v1"), "E010"),
    "inventory": (lambda at: (at / "inventory.json").unlink(), "E063"),
    "sidecar": (lambda at: (at / "v1/inventory.json.sha512").unlink(), "E058"),
    "declaration": (lambda at: (at / "0=ocfl_object_1.1").unlink(), "E003"),
    "added": (lambda at: (at / "v1/content/more").touch(), "E023"),
    "folder": (lambda at: (at / "v1/content/empty").mkdir(), "E024"),
    "stray": (lambda at: (at / "stray").touch(), "E001"),
    "in a version": (lambda at: (at / "v1/stray").touch(), "E015"),
    "torn version": (lambda at: (at / "v3").mkdir(), "E046"),
    "link": (lambda at: (at / "v1/content/l").symlink_to("README.md"), "E090"),
    "link out": (lambda at: (at / "v1/content/l").symlink_to("/etc/passwd"), "E090"),
    "folder out": (lambda at: (at / "v1/content/l").symlink_to("/etc"), "E090"),
    "hard link": (lambda at: os.link(at / "v1/content/README.md", at / "v1/content/m"), "E090"),
    "pipe": (lambda at: os.mkfifo(at / "v1/content/pipe"), "E089"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_added_or_no_plain_file_is_found(loss: str, root: Path) -> None:
    harm, code = LOSSES[loss]
    harm(home(root))
    assert code in errors(validate_object(home(root)))


def test_each_code_of_a_finding_is_one_of_the_standard() -> None:
    texts = [path.read_text() for path in Path(validate_rules.__file__).parent.glob("*.py")]
    used = {code for text in texts for code in re.findall(r'"([EW][0-9]{3})"', text)}
    known = {f"E{number:03}" for number in range(1, 113)} | {f"W{number:03}" for number in range(1, 17)}
    assert used <= known
    theirs = json.loads((Path(ocfl.__file__).parent / "data/validation-errors.json").read_text())
    assert {code for code in used if code.startswith("W")} - {one[:4] for one in theirs} == {"W016"}


def test_a_pipe_in_the_place_of_a_file_is_not_opened(root: Path) -> None:
    for name in ("inventory.json", "v1/content/README.md", "v1/inventory.json.sha512", "0=ocfl_object_1.1"):
        (home(root) / name).unlink()
        os.mkfifo(home(root) / name)
    assert {"E089", "E092", "E063", "E003"} <= errors(validate_object(home(root)))


def test_sockets_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home(root))  # the name of a socket has to be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("v1/s")
        assert "v1/s" in places(validate_object(home(root)))


# storage roots


def objects_at(root: Path) -> list[str]:
    return [str(mark.parent.relative_to(root)) for mark in root.rglob("0=ocfl_object_1.1")]


def copied(root: Path) -> None:
    (first,) = objects_at(root)
    shutil.copytree(root / first, root / "000/000/000/copy")


def moved(root: Path) -> None:
    (first,) = objects_at(root)
    (root / first).rename((root / first).with_name("elsewhere"))


ROOTS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "two objects with one identifier": (copied, {"E037", "E083"}),
    "an object that is not where its identifier says": (moved, {"E083"}),
    "a file in no object": (lambda at: (at / "000").touch(), set()),  # at the top it is nobody's business
    "a file in a folder": (lambda at: [(at / "abc").mkdir(), (at / "abc/f").touch()], {"E072"}),
    "a file beside folders": (lambda at: (next(at.glob("???/*/")) / "f").touch(), {"E084"}),
    "an empty folder": (lambda at: (at / "abc/def").mkdir(parents=True), {"E073"}),
    "a link": (lambda at: (at / "abc").symlink_to("/etc"), {"E090"}),
    "a pipe": (lambda at: os.mkfifo(at / "pipe"), {"E089"}),
    "a pipe for the layout": (
        lambda at: [(at / "ocfl_layout.json").unlink(), os.mkfifo(at / "ocfl_layout.json")],
        {"E070", "E089"},
    ),
    "extensions elsewhere": (
        lambda at: [shutil.rmtree(at / "extensions"), (at / "extensions").symlink_to("/etc")],
        {"E090"},
    ),
    "a link among extensions": (lambda at: (at / "extensions/0001-digest-algorithms").symlink_to("/etc"), {"E090"}),
    "no declaration": (lambda at: (at / "0=ocfl_1.1").unlink(), {"E069"}),
    "two declarations": (lambda at: (at / "0=ocfl_1.0").write_text("ocfl_1.0\n"), {"E076", "E081"}),
    "an altered declaration": (lambda at: (at / "0=ocfl_1.1").write_text("ocfl_1.1"), {"E080"}),
    "an older root": (lambda at: (at / "0=ocfl_1.1").rename(at / "0=ocfl_1.0"), {"E080", "E081"}),
    "no sound layout": (lambda at: (at / "ocfl_layout.json").write_text("{}"), {"E070"}),
    "an unknown layout": (
        lambda at: (at / "ocfl_layout.json").write_text('{"extension": "x", "description": ""}'),
        {"E071"},
    ),
    "bad parameters": (
        lambda at: next(at.glob("extensions/*/config.json")).write_text('{"tupleSize": -4}'),
        {"E071"},
    ),
    "a file among extensions": (lambda at: (at / "extensions/f").touch(), {"E112"}),
}


@pytest.mark.parametrize(
    "said",
    ['{"tupleSize": 1e99}', '{"numberOfTuples": 99999999999999999999}', '{"digestAlgorithm": "shake_128"}', "[]", "\0"],
)
def test_parameters_that_no_layout_has_are_told_and_harm_nothing(said: str, root: Path) -> None:
    next(root.glob("extensions/*/config.json")).write_text(said)
    assert errors(validate(root).findings) <= {"E071"}


@pytest.mark.parametrize("fault", ROOTS)
def test_what_is_wrong_with_a_storage_root_is_found(fault: str, root: Path) -> None:
    harm, wanted = ROOTS[fault]
    harm(root)
    assert errors(validate(root).findings) == wanted


def test_objects_nested_as_deep_as_the_disk_allows_are_looked_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    for _ in range(600):
        os.mkdir("a" * 20)
        os.chdir("a" * 20)
    os.chdir(root)
    assert errors(validate(root).findings) == {"E072"}  # its name is too long to be read further
    shutil.rmtree(root / ("a" * 20))


@pytest.mark.parametrize("name", ["0002-flat-direct-storage-layout", "0004-hashed-n-tuple-storage-layout"])
def test_other_layouts_are_known(name: str, tmp_path: Path, made: Path) -> None:
    root = tmp_path / "other"
    root.mkdir()
    (root / "0=ocfl_1.1").write_text("ocfl_1.1\n")
    (root / "ocfl_layout.json").write_text(json.dumps({"extension": name, "description": "d"}))
    digest = hashlib.sha256(validating.IDENTIFIER.encode()).hexdigest()
    tuples = "/".join([digest[:3], digest[3:6], digest[6:9], digest])
    shutil.copytree(home(made), root / (validating.IDENTIFIER if name.startswith("0002") else tuples))
    assert validate(root).findings == ()


# inventories by strangers


def written(folder: Path, inventory: bytes) -> Path:
    """An object of one file whose inventory is as it is given, its checksum right."""
    (folder / "v1/content").mkdir(parents=True)
    (folder / "v1/content/file").write_bytes(b"file")
    (folder / "0=ocfl_object_1.1").write_text("ocfl_object_1.1\n")
    for place in (folder, folder / "v1"):
        (place / "inventory.json").write_bytes(inventory)
        digest = hashlib.sha512(inventory).hexdigest()
        (place / "inventory.json.sha512").write_text(f"{digest}  inventory.json\n")
    return folder


DIGEST = hashlib.sha512(b"file").hexdigest()


def plain() -> dict[str, Any]:
    return {
        "id": "urn:x:1",
        "type": "https://ocfl.io/1.1/spec/#inventory",
        "digestAlgorithm": "sha512",
        "head": "v1",
        "manifest": {DIGEST: ["v1/content/file"]},
        "versions": {
            "v1": {
                "created": "2026-11-28T12:00:00Z",
                "message": "m",
                "user": {"name": "n", "address": "mailto:n@example.org"},
                "state": {DIGEST: ["file"]},
            }
        },
        "fixity": {"md5": {hashlib.md5(b"file").hexdigest(): ["v1/content/file"]}},
    }


TEXTS = {
    "nothing": (b"", "not JSON"),
    "a list": (b"[]", "not a JSON object"),
    "nested too deeply": (b"[" * 200_000, "nested too deeply"),
    "nested objects": (b'{"a":' * 200_000, "nested too deeply"),
    "a key twice": (b'{"id": "a", "id": "b"}', "'id' is there twice"),
    "not a number": (b'{"id": NaN}', "NaN is no number"),
    "endless": (b'{"id": -Infinity}', "-Infinity is no number"),
    "too long a number": (b'{"id": ' + b"9" * 5000 + b"}", "not JSON"),
    "not in UTF-8": (b'{"id": "\xff"}', "not in UTF-8"),
    "in UTF-16": ('{"id": "a"}'.encode("utf-16"), "not in UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "byte order mark"),
    "cut off": (json.dumps(plain()).encode()[:-9], "not JSON"),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_is_no_inventory_is_told_in_words(text: str, tmp_path: Path) -> None:
    data, words = TEXTS[text]
    found = validate_object(written(tmp_path / "o", data))
    assert any(one.rule == "OCFL E033" and one.path == "inventory.json" and words in one.message for one in found)


def test_a_sound_inventory_by_a_stranger_is_sound(tmp_path: Path) -> None:
    assert validate_object(written(tmp_path / "o", json.dumps(plain()).encode())) == ()


def test_an_inventory_of_a_gigabyte_is_refused_at_once(tmp_path: Path) -> None:
    folder = written(tmp_path / "o", json.dumps(plain()).encode())
    with open(folder / "inventory.json", "r+b") as file:
        file.truncate(1 << 30)
    found = validate_object(folder)
    assert any("1,073,741,824 bytes" in one.message for one in found)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/etc/passwd", "E100"),
        ("../../etc/passwd", "E099"),
        ("v1/content/../../../../etc/passwd", "E099"),
        ("v1/content//file", "E099"),
        ("v1/other/file", "E042"),
        ("v1/content/\0", "E092"),
        ("v1/content/\ud800", "E092"),
    ],
)
def test_a_content_path_that_leads_elsewhere_is_never_opened(path: str, code: str, tmp_path: Path) -> None:
    said = plain()
    said["manifest"][DIGEST].append(path)
    said["fixity"] = {}
    assert code in errors(validate_object(written(tmp_path / "o", json.dumps(said).encode())))


def test_names_of_strangers_cannot_move_a_cursor(tmp_path: Path) -> None:
    said = plain()
    said["id"], said["manifest"][DIGEST] = "urn:\x1b[2J\x9b\u2028", ["v1/content/\x1b]0;x\x07"]
    folder = written(tmp_path / "o", json.dumps(said).encode())
    Path(os.fsdecode(bytes(folder / "v1/content/\x1b[31m") + b"\xff")).touch()
    assert all(str(one).isprintable() for one in validate_object(folder))


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def spots(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [spot for key in keys for spot in [(*before, key), *spots(value[key], (*before, key))]]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spot=some.sampled_from(spots(plain())), value=JSON)
def test_whatever_an_inventory_holds_is_judged_and_never_a_traceback(
    spot: tuple[Any, ...], value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    said = plain()
    inner: Any = said
    for key in spot[:-1]:
        inner = inner[key]
    if inner[spot[-1]] == value:
        return
    inner[spot[-1]] = value
    folder = written(tmp_path_factory.mktemp("o") / "o", json.dumps(said).encode())
    theirs = Validator()
    try:
        sound = theirs.validate_object(str(folder))
    except Exception:  # noqa: BLE001 (it is not made for all of these)
        sound = None
    found = validate_object(folder)
    assert sound is None or not (sound is False and not errors(found)), found


def test_what_is_none_of_these_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for path, words in ((tmp_path, "is no OCFL"), (tmp_path / "gone", "no such file"), (tmp_path / "thesis.tex", "no")):
        with pytest.raises(BadInput, match=words):
            validate(path)


NOBODY = """
import os, sys
from pathlib import Path
from terp.storage.validate import validate
if os.geteuid() == 0:
    os.setuid(65534)
for one in validate(Path(sys.argv[1])).findings:
    print(one.path, one.message)
"""


def test_a_file_or_folder_that_may_not_be_read_is_named_and_the_rest_is_read(root: Path) -> None:
    for folder in (root, *root.parents):
        if not folder.stat().st_mode & 0o005:
            os.chmod(folder, 0o755)
    (home(root) / "v1/content/winds.zarr.zip").chmod(0)
    (home(root) / "v2/content").chmod(0)
    flip(home(root) / "v1/content/README.md", 3)
    done = subprocess.run([sys.executable, "-c", NOBODY, home(root)], capture_output=True, text=True)
    (home(root) / "v2/content").chmod(0o755)
    for words in ("winds.zarr.zip cannot be read: permission denied", "v2/content cannot", "README.md is not what"):
        assert words in done.stdout, done.stderr


def test_terp_verify_takes_a_path_and_ends_with_65_where_a_rule_is_broken(root: Path) -> None:
    terp = str(Path(sys.executable).with_name("terp"))
    flip(home(root) / "v2/content/README.md", 3)
    done = subprocess.run([terp, "verify", home(root)], capture_output=True, text=True)
    assert done.returncode == 65
    for words in ("error    OCFL E092  v2/content/README.md", "its SHA-512 is another", "cure: restore it from a copy"):
        assert words in done.stdout
    done = subprocess.run([terp, "verify", "--json", root], capture_output=True, text=True)
    (one,) = json.loads(done.stdout)["findings"]
    assert one["rule"] == "OCFL E092"
    assert one["path"].endswith("/v2/content/README.md")
    assert "Traceback" not in done.stderr
