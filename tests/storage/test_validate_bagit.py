"""The validator of bags: agrees with the conformance suite, sees white space that others do not, fetches nothing."""

import ast
import hashlib
import inspect
import os
import random
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import bagit
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from validating import errors, flip, look, warnings

from terp.storage.validate import bag as bag_rules
from terp.storage.validate import tags as tag_rules
from terp.storage.validate import validate

SHARED = Path(__file__).resolve().parents[3] / "shared/vectors/bagit"
KINDS = ("valid", "warning", "invalid", "linux-only", "windows-only")
BAGS = sorted(str(path.relative_to(SHARED)) for kind in KINDS for path in SHARED.glob(f"v*/{kind}/*") if path.is_dir())
FOUND = {"valid": 27, "warning": 6, "invalid": 15, "linux-only": 6, "windows-only": 6}

# What the suite says otherwise, and why it is not followed. (Names that lead out of a bag on Windows only are refused
# everywhere: a bag travels.)
EXCEPTIONS = {
    "v0.97/warning/special-system-files": "it lists data/.DS_Store, which is not in the suite: a file that is lost",
}
# Where bagit, the Library of Congress's own, says otherwise than the suite on Linux.
THEIRS = {
    "v0.97/warning/duplicate-file-with-different-case": "data/HELLO.txt is there only where letters have no case",
    "v0.97/warning/same-filename-listed-twice-with-different-normalization": "it holds the name that is not there",
    "v1.0/invalid/bagit-with-invalid-whitespace": "it does not look at the white space",
}
WINDOWS = "-for-fetch"  # it looks at what is Windows' own in fetch.txt on Windows only

pytestmark = pytest.mark.filterwarnings("ignore:'count' is passed:DeprecationWarning")  # by bagit


@pytest.fixture
def suite(shared: Path) -> Path:
    return shared / "vectors/bagit"


@pytest.mark.usefixtures("shared")
def test_all_bags_of_the_suite_are_here() -> None:
    kinds = [Path(name).parts[1] for name in BAGS]
    assert {kind: kinds.count(kind) for kind in KINDS} == FOUND


@pytest.mark.parametrize("name", BAGS)
def test_a_bag_of_the_suite_is_what_its_folder_says(name: str, suite: Path) -> None:
    found = validate(suite / name).findings
    kind = Path(name).parts[1]
    if name in EXCEPTIONS:
        assert errors(found)
    elif kind == "valid":
        assert errors(found) == set()
    elif kind == "warning":
        assert (errors(found), bool(warnings(found))) == (set(), True)
    else:
        assert errors(found)
    assert all(one.rule.startswith("BagIt RFC 8493 ") and one.cure for one in found)


@pytest.mark.parametrize("name", BAGS)
def test_bagit_agrees_on_each_bag_but_for_declared_ones(name: str, suite: Path) -> None:
    ours = not validate(suite / name).errors
    try:
        bagit.Bag(str(suite / name)).validate()
        theirs = True
    except bagit.BagError:
        theirs = False
    on_windows = name.startswith("v0.97/windows-only") and name.endswith(WINDOWS)
    assert (ours != theirs) == (name in THEIRS or on_windows)


# our own


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """A bag that the Library of Congress's tool has made."""
    folder = tmp_path / "bag"
    (folder / "deep/er").mkdir(parents=True)
    for name in ("a.txt", "deep/b 1.bin", "deep/er/é.txt"):
        (folder / name).write_bytes(random.Random(name).randbytes(999))
    bagit.make_bag(str(folder), {"Contact-Name": "A. Keeper"}, checksums=["sha512", "sha256", "md5"])
    text = (folder / "bagit.txt").read_text().replace("0.97", "1.0")
    (folder / "bagit.txt").write_text(text)
    seal(folder)
    return folder


def seal(folder: Path) -> None:
    """Make the tag manifests anew."""
    for manifest in folder.glob("tagmanifest-*.txt"):
        names = [path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("tagmanifest")]
        algorithm = manifest.stem.partition("-")[2]
        lines = [f"{hashlib.new(algorithm, (folder / name).read_bytes()).hexdigest()} {name}\n" for name in names]
        manifest.write_text("".join(lines))


def test_a_sound_bag_has_no_finding_and_is_not_changed(bag: Path) -> None:
    before = look(bag)
    report = validate(bag)
    assert (report.kind, report.findings, report.files) == ("bag", (), 3 + 5)
    flip(bag / "data/a.txt", 9)
    before = look(bag)
    validate(bag)
    assert look(bag) == before


def test_any_flipped_bit_of_a_bag_is_found_in_the_file_where_it_is(bag: Path) -> None:
    rng = random.Random(6)
    files = [path for path in sorted(bag.rglob("*")) if path.is_file()]
    for number in range(30 * len(files)):
        path = files[number % len(files)]
        bit = rng.randrange(path.stat().st_size * 8)
        flip(path, bit)
        found = validate(bag)
        if "tagmanifest" not in path.name:  # of which nothing has a digest: a letter's case is nothing there
            assert str(path.relative_to(bag)) in {one.path for one in found.errors}, (path, bit)
        flip(path, bit)
    assert validate(bag).findings == ()


def replaced(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(bag: Path) -> None:
        text = (bag / name).read_bytes().decode()
        assert old in text
        (bag / name).write_bytes(text.replace(old, new, 1).encode())

    return change


def listed(path: str) -> Callable[[Path], object]:
    """List a file in all payload manifests, with digests of some length."""

    def change(bag: Path) -> None:
        for manifest in bag.glob("manifest-*.txt"):
            length = len(manifest.read_text().partition(" ")[0])
            manifest.write_text(f"{manifest.read_text()}{'0' * length}  {path}\n")

    return change


FAULTS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "space before a colon": (replaced("bagit.txt", "Version:", "Version :"), {"2.1.1"}),
    "two spaces": (replaced("bagit.txt", "Version: ", "Version:  "), {"2.1.1"}),
    "no space": (replaced("bagit.txt", "Version: ", "Version:"), {"2.1.1"}),
    "a third line": (replaced("bagit.txt", "UTF-8\n", "UTF-8\nMore: 1\n"), {"2.1.1"}),
    "a later version": (replaced("bagit.txt", "1.0", "2.0"), {"2.1.1"}),
    "an encoding that is none": (replaced("bagit.txt", "UTF-8", "zip"), {"2.1.1"}),
    "an encoding that is no letters": (replaced("bagit.txt", "UTF-8", "unicode_escape"), {"2.1.1"}),
    "a label with a space": (replaced("bag-info.txt", "Contact-Name:", "Contact-Name :"), {"2.2.2"}),
    "a label without one": (replaced("bag-info.txt", "Contact-Name: ", "Contact-Name:"), {"2.2.2"}),
    "no label": (replaced("bag-info.txt", "Contact-Name: A. Keeper", "A. Keeper"), {"2.2.2"}),
    "another oxum": (replaced("bag-info.txt", "Payload-Oxum: ", "Payload-Oxum: 1"), {"2.2.2"}),
    "an oxum of no number": (replaced("bag-info.txt", "Payload-Oxum: ", "Payload-Oxum: x"), {"2.2.2"}),
    "a line of no digest": (lambda at: (at / "manifest-md5.txt").write_text("x data/a.txt\n"), {"2.1.3", "3"}),
    "not in UTF-8": (lambda at: (at / "bag-info.txt").write_bytes(b"\xff: \xff\n"), {"2.2.2"}),
    "a manifest that lists not all": (
        lambda at: (at / "manifest-md5.txt").write_text((at / "manifest-md5.txt").read_text().partition("\n")[2]),
        {"3"},
    ),
    "a file too many": (lambda at: (at / "data/more").touch(), {"3", "2.2.2"}),
    "a file too few": (lambda at: (at / "data/a.txt").unlink(), {"3", "2.2.2"}),
    "no payload": (lambda at: shutil.rmtree(at / "data"), {"2.1.2", "3", "2.2.2"}),
    "no manifest": (lambda at: [path.unlink() for path in at.glob("manifest-*")], {"2.1.3"}),
    "a name that leads out": (listed("data/../../../etc/passwd"), {"5.1"}),
    "an absolute name": (listed("/etc/passwd"), {"5.1"}),
    "a home": (listed("~root/x"), {"5.1"}),
    "a drive": (listed("C:\\x"), {"5.1"}),
    "a file beside the payload": (listed("bagit.txt"), {"2.1.3"}),
    "a fetch beside the payload": (
        lambda at: (at / "fetch.txt").write_text("https://example.org/x - bag-info.txt\n"),
        {"2.2.3"},
    ),
    "a link": (lambda at: (at / "data/l").symlink_to("/etc/passwd"), {"5.1"}),
    "a folder that is a link": (lambda at: (at / "data/l").symlink_to("/etc"), {"5.1"}),
    "a pipe": (lambda at: os.mkfifo(at / "data/p"), {"2"}),
    "a pipe for a manifest": (
        lambda at: [(at / "manifest-md5.txt").unlink(), os.mkfifo(at / "manifest-md5.txt")],
        {"2", "3"},
    ),
    "what was not fetched": (
        lambda at: [(at / "fetch.txt").write_text("https://example.org/x - data/x\n"), listed("data/x")(at)],
        {"2.2.3", "3"},
    ),
    "a fetch that leads out": (
        lambda at: (at / "fetch.txt").write_text("https://example.org/x - ../../x\n"),
        {"5.1"},
    ),
    "a fetch of no line": (lambda at: (at / "fetch.txt").write_text("x\n"), {"2.2.3"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_bag_is_found(fault: str, bag: Path) -> None:
    harm, wanted = FAULTS[fault]
    harm(bag)
    seal(bag) if (bag / "manifest-md5.txt").is_file() else None
    assert wanted <= errors(validate(bag).findings)


@pytest.mark.parametrize("line", [f"{'0' * 32}  data/a.txt", "x bagit.txt"])
def test_what_is_wrong_with_a_tag_manifest_is_found_under_its_own_section(line: str, bag: Path) -> None:
    (bag / "tagmanifest-md5.txt").write_text(f"{line}\n")
    assert "2.2.1" in errors(validate(bag).findings)
    assert "2.1.3" not in errors(validate(bag).findings)


# RFC 8493, its sections that ask something of a bag or of who reads it
SECTIONS = {
    "2": "Structure",
    "2.1.1": "Bag Declaration: bagit.txt",
    "2.1.2": "Payload Directory: data/",
    "2.1.3": "Payload Manifest",
    "2.2.1": "Tag Manifest",
    "2.2.2": "Bag Metadata: bag-info.txt",
    "2.2.3": "Fetch File: fetch.txt",
    "2.2.4": "Other Tag Files",
    "2.3": "Text Tag File Format",
    "2.4": "Bag Checksum Algorithms",
    "3": "Complete and Valid Bags",
    "5.1": "Special Directory Characters",
    "5.2": "Control of URLs in fetch.txt",
    "5.3": "File Sizes in fetch.txt",
    "5.4": "Attacks on Payload File Content",
    "6.1": "Interoperability",
}


def test_each_number_of_a_finding_is_that_of_a_section_of_the_rfc() -> None:
    texts = [inspect.getsource(module) for module in (bag_rules, tag_rules)]
    words = [node.value for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    used = {one for one in words if isinstance(one, str) and re.fullmatch(r"[0-9](\.[0-9]+)*", one)}
    assert used <= SECTIONS.keys()
    assert {"2.1.1", "2.1.2", "2.1.3", "2.2.1", "2.2.2", "2.2.3", "2.3", "2.4", "3", "5.1", "6.1"} <= used


def test_a_manifest_of_a_gigabyte_is_refused_at_once(bag: Path) -> None:
    for manifest in bag.glob("tagmanifest-*"):
        manifest.unlink()  # else it would be read to the end, for its digest
    os.truncate(bag / "manifest-md5.txt", 1 << 30)
    assert any("1,073,741,824 bytes" in one.message for one in validate(bag).errors)


def test_line_ends_and_percent_signs_in_names_are_read_as_the_rfc_writes_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a\nb%0A%25.txt").write_bytes(b"x")
    digest = hashlib.sha512(b"x").hexdigest()
    (tmp_path / "bagit.txt").write_text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    (tmp_path / "manifest-sha512.txt").write_text(f"{digest}  data/a%0Ab%250A%2525.txt\n")
    assert validate(tmp_path).findings == ()
