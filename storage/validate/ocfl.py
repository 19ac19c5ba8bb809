"""An OCFL object, 1.0 or 1.1, held against its inventories: what is there, what should be, and every byte of it.

Codes are those of https://ocfl.io/1.1/spec/validation-codes.html.
"""

from pathlib import Path

from terp.storage.validate.content import check_content, check_listed
from terp.storage.validate.findings import LET_IN, RESTORE, TAKE_OUT, Findings, shown
from terp.storage.validate.history import compare
from terp.storage.validate.inventory import VERSION, number, sequence
from terp.storage.validate.kept import NAME, SIDECARS, Object, algorithm_of, read_inventories
from terp.storage.validate.reading import Reader, Tree, look, read_text
from terp.storage.validate.strict import BadText

_MARK = "0=ocfl_object_"
_CUT_SHORT = "if an ingest was cut short, ingest again to finish or drop it, else take it out of there"
REGISTERED = {
    *("0000-example-extension", "initial", "0001-digest-algorithms", "0002-flat-direct-storage-layout"),
    *("0003-hash-and-id-n-tuple-storage-layout", "0004-hashed-n-tuple-storage-layout", "0005-mutable-head"),
    *("0006-flat-omit-prefix-storage-layout", "0007-n-tuple-omit-prefix-storage-layout", "0008-schema-registry"),
    *("0009-digest-algorithms", "0010-differential-n-tuple-omit-prefix-storage-layout"),
    *("0011-direct-clean-path-layout", "0012-hash-and-no-prefix-id-n-tuple-storage-layout"),
}


def check_object(home: Path, found: Findings, reader: Reader) -> Object:
    """Validate the object in a folder and read all of it."""
    one = Object(home, found, look(home))
    if "" in one.tree.unreadable:
        found.error("E092", "", f"cannot be read: {one.tree.unreadable['']}", LET_IN)
        return one
    one.top = {name for name in [*one.tree.folders, *one.tree.unreadable] if "/" not in name}
    _odd(one)
    _declaration(one)
    read_inventories(one)
    _top(one)
    versions = sorted(filter(VERSION.fullmatch, one.top), key=number)
    _versions(one, versions)
    if one.believed:
        compare([kept.said for kept in one.believed if kept.said], found)
        check_listed(one, versions)
        check_content(one, reader)
    return one


def _odd(one: Object) -> None:
    """Name what is neither a plain file nor a folder, or cannot be looked into."""
    for name in one.tree.links:
        one.found.error("E090", name, "is a symbolic link, and is not followed", TAKE_OUT)
    for first, second in one.tree.same:
        one.found.error(
            "E090", second, f"is a hard link: the same file as {shown(first)}", "give each a file of its own"
        )
    for name in one.tree.special:
        one.found.error("E089", name, "is neither a file nor a folder, and is not opened", TAKE_OUT)
    for name, why in one.tree.unreadable.items():
        one.found.error("E092", name, f"cannot be read: {why}", LET_IN)


def _declaration(one: Object) -> None:
    """OCFL section 3.2: one file that says which version of OCFL the object follows."""
    names = [name for name in one.tree.files if name.startswith("0=")]
    sound = {f"{_MARK}1.0", f"{_MARK}1.1"}
    if not names:
        one.found.error("E003", f"{_MARK}1.1", "is missing: it says that this folder is an OCFL object", RESTORE)
    elif len(names) > 1:
        what = f"is one of {len(names)} declarations: an object has one"
        one.found.error("E003", names[1], what, TAKE_OUT)
    for name in names:
        if name not in sound:
            one.found.error("E006", name, "declares no OCFL object of version 1.0 or 1.1", RESTORE)
            continue
        one.declared = one.declared or name.removeprefix(_MARK)
        try:
            if read_text(one.home / name) != f"{name[2:]}\n".encode():
                one.found.error("E007", name, "is altered: it holds what its name says, and a line end", RESTORE)
        except BadText as bad:
            one.found.error("E007", name, str(bad), RESTORE)


# folders


def _top(one: Object) -> None:
    """OCFL section 3.1: nothing but declaration, inventory, checksum, versions, logs and extensions."""
    sidecars = {f"{NAME}.{algorithm_of(one.kept[''])}"} if "" in one.kept else set()
    for name in one.tree.files:
        if "/" not in name and not name.startswith("0=") and name != NAME and name not in sidecars:
            one.found.error("E001", name, "is in no inventory: an object has no such file", TAKE_OUT)
    for name in sorted(one.top):
        if not VERSION.fullmatch(name) and name not in ("logs", "extensions"):
            one.found.error("E001", name, "is in no inventory: an object has no such folder", TAKE_OUT)
    extensions(one.tree, one.found, "E067")


def extensions(tree: Tree, found: Findings, rule: str, unregistered: str = "W013") -> None:
    """Check the folder of extensions of an object or a storage root."""
    for name in tree.files:
        if name.startswith("extensions/") and name.count("/") == 1:
            found.error(rule, name, "is a file where only folders of extensions may be", TAKE_OUT)
    for name in sorted(tree.folders):
        if name.startswith("extensions/") and name.count("/") == 1 and name[11:] not in REGISTERED:
            found.warn(unregistered, name, "is of no registered extension", "see https://ocfl.github.io/extensions/")


def _versions(one: Object, there: list[str]) -> None:
    """OCFL section 3.3: the folders of versions are those of the inventory, and hold their content and no more."""
    if there and not one.believed:
        sequence(there, "", one.found)
    said = one.believed[0].said if one.believed else None
    listed = set(said.versions) if said else set(there)
    for name in sorted(set(there) - listed, key=number):
        one.found.error("E046", name, "is in no inventory", _CUT_SHORT)
    for name in sorted(listed - set(there), key=number):
        one.found.error("E010", name, "is missing", RESTORE)
    for name in there:
        _version(one, name, said.content if said else "content")


def _version(one: Object, version: str, content: str) -> None:
    allowed = {NAME, *(f"{NAME}.{algorithm}" for algorithm in SIDECARS)} if version in one.kept else set()
    below = f"{version}/"
    for name in one.tree.files:
        if name.startswith(below) and name.count("/") == 1 and name[len(below) :] not in allowed:
            one.found.error("E015", name, "is in no inventory: a version holds its content and its inventory", TAKE_OUT)
    for name, count in one.tree.folders.items():
        if not name.startswith(below):
            continue
        inner = name[len(below) :]
        if "/" not in inner and inner != content:
            one.found.warn("W002", name, "is a folder other than that of the content", TAKE_OUT)
        elif inner == content and not count:
            one.found.warn("W003", name, "is empty: a version without content has no such folder", TAKE_OUT)
        elif not count and inner.startswith(f"{content}/"):
            one.found.error("E024", name, "is an empty folder within the content", TAKE_OUT)
