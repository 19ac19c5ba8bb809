"""A bag: BagIt 1.0 (RFC 8493) and the drafts 0.93 to 0.97 before it, complete and valid (section 3)."""

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from terp.storage.validate.findings import ASK_MAKER, LET_IN, RESTORE, TAKE_OUT, Findings, shown
from terp.storage.validate.reading import Reader, Tree, hex_length, look
from terp.storage.validate.tags import Declared, declaration, fetched, info, manifest, read_tag

_MANIFEST = re.compile(r"(tag)?manifest-([A-Za-z0-9/_-]+)\.txt")
_FETCH = "fetch.txt"
_OXUM = re.compile(r"([0-9]{1,20})\.([0-9]{1,20})")


@dataclass
class Manifest:
    """A manifest: its name, its algorithm, and what it lists."""

    name: str
    algorithm: str
    tags: bool
    digests: dict[str, str] = field(default_factory=dict)


def check_bag(home: Path, found: Findings, reader: Reader) -> None:
    """Validate the bag in a folder and read all that its manifests list."""
    tree = look(home)
    if "" in tree.unreadable:
        found.error("2", "", f"cannot be read: {tree.unreadable['']}", LET_IN)
        return
    _odd(tree, found)
    declared = declaration(home, found)
    manifests = [made for name in sorted(tree.files) if (made := _manifest(home, name, declared, found))]
    if not any(not one.tags for one in manifests):
        found.error("2.1.3", "", "has no manifest of its payload that can be used", RESTORE)
    if "data" not in tree.folders and "data" not in tree.unreadable:
        found.error("2.1.2", "data", "is missing: the folder of the payload", RESTORE)
    for one in manifests:
        _listed(one, tree, declared, found)
    _unlisted(manifests, tree, declared, found)
    _tags_listed(manifests, declared, found)
    _fetch(home, manifests, tree, declared, found)
    _info(home, tree, declared, found)
    _content(home, manifests, tree, found, reader)


def _odd(tree: Tree, found: Findings) -> None:
    for name in tree.links:
        found.error("5.1", name, "is a symbolic link, and is not followed", TAKE_OUT)
    for name in tree.special:
        found.error("2", name, "is neither a file nor a folder, and is not opened", TAKE_OUT)
    for name, why in tree.unreadable.items():
        found.error("3", name, f"cannot be read: {why}", LET_IN)


def _manifest(home: Path, name: str, declared: Declared, found: Findings) -> Manifest | None:
    match = _MANIFEST.fullmatch(name)
    if not match:
        return None
    algorithm = _algorithm(match[2])
    section = "2.2.1" if match[1] else "2.1.3"
    if not algorithm:
        found.warn("2.4", name, "is by an algorithm that is not known here, and is not looked at")
        return None
    made = Manifest(name, algorithm, bool(match[1]))
    text = read_tag(home, name, declared, found, section)
    for path, digest in manifest(text, name, algorithm, declared, found, section):
        if path not in made.digests:
            made.digests[path] = digest
        elif made.digests[path] != digest:
            found.error(section, name, f"lists {shown(path)} twice, with different digests", RESTORE)
        elif declared.version >= (1, 0):
            found.error(section, name, f"lists {shown(path)} twice", ASK_MAKER)
        else:
            found.warn(section, name, f"lists {shown(path)} twice")
    return made


def _algorithm(word: str) -> str:
    """Return an algorithm by the word in a manifest's name: md5, sha512, sha3-256, sha-256."""
    plain = word.lower()
    known = [plain, plain.replace("-", ""), plain.replace("sha3", "sha3-"), plain.replace("blake2b", "blake2b-")]
    return next((name for name in known if hex_length(name)), "")


def _listed(one: Manifest, tree: Tree, declared: Declared, found: Findings) -> None:
    """Everything that a manifest lists is there, and is what such a manifest may list."""
    section = "2.2.1" if one.tags else "2.1.3"
    folded = {_folded(name): name for name in tree.files}
    for path in list(one.digests):
        if _leads_out(path):
            found.error("5.1", one.name, f"lists {shown(path)}, which leads out of the bag", TAKE_OUT)
        elif not one.tags and not path.startswith("data/"):
            found.error(section, one.name, f"lists {shown(path)}, which is not in the bag's payload", TAKE_OUT)
        elif one.tags and path.startswith(("data/", "tagmanifest-")):
            found.error(section, one.name, f"lists {shown(path)}, which is no tag file to be listed", ASK_MAKER)
        elif path in tree.files:
            continue
        elif (alike := folded.get(_folded(path))) and declared.version < (1, 0):
            what = f"is listed in {one.name} as {shown(path)}: letters differ in case or normalization"
            found.warn("6.1", alike, what, "name it in the manifest as it is")
        else:
            found.error("3", path, f"is missing: {one.name} lists it", RESTORE)
        if path not in tree.files:
            del one.digests[path]


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _leads_out(path: str) -> bool:
    odd = path.startswith(("/", "~", "%", "\\")) or re.match(r"[A-Za-z]:", path)
    return bool(odd) or any(part in ("", ".", "..") for part in path.split("/"))


def _unlisted(manifests: list[Manifest], tree: Tree, declared: Declared, found: Findings) -> None:
    """Each payload file is in every manifest; before 1.0 in at least one."""
    payload = [one for one in manifests if not one.tags]
    for name in tree.files:
        if not name.startswith("data/") or not payload:
            continue
        silent = [one.name for one in payload if name not in one.digests]
        alike = {_folded(name)} & {_folded(path) for one in payload for path in one.digests} if silent else set()
        if len(silent) == len(payload):
            found.error("3", name, "is in no manifest", TAKE_OUT)
        elif silent and declared.version >= (1, 0) and not alike - {_folded(name)}:
            found.error("3", name, f"is not in {', '.join(silent)}", ASK_MAKER)


def _tags_listed(manifests: list[Manifest], declared: Declared, found: Findings) -> None:
    """Since 1.0 each tag manifest lists all payload manifests (section 2.2.1)."""
    payload = {one.name for one in manifests if not one.tags}
    for one in manifests:
        if one.tags and declared.version >= (1, 0):
            for name in sorted(payload - one.digests.keys()):
                found.error("2.2.1", one.name, f"does not list {name}", ASK_MAKER)


def _fetch(home: Path, manifests: list[Manifest], tree: Tree, declared: Declared, found: Findings) -> None:
    """What fetch.txt names is payload; a bag of which something was not fetched is not complete."""
    if _FETCH not in tree.files:
        return
    listed = {path for one in manifests if not one.tags for path in one.digests}
    for path in fetched(read_tag(home, _FETCH, declared, found, "2.2.3"), _FETCH, declared, found):
        if _leads_out(path) or not path.startswith("data/"):
            what = f"names {shown(path)}, which is not in the bag's payload; nothing is fetched"
            found.error("5.1" if _leads_out(path) else "2.2.3", _FETCH, what, TAKE_OUT)
        elif path not in tree.files:
            found.error("2.2.3", path, "was not fetched", "fetch it from where fetch.txt says, if you trust that place")
        elif path not in listed:
            found.error("2.2.3", _FETCH, f"names {shown(path)}, which is in no manifest", ASK_MAKER)


def _info(home: Path, tree: Tree, declared: Declared, found: Findings) -> None:
    name = "bag-info.txt" if declared.version >= (0, 96) else "package-info.txt"
    if name not in tree.files:
        return
    values = info(read_tag(home, name, declared, found, "2.2.2"), name, declared, found)
    oxum = values.get("payload-oxum", [])
    if len(oxum) > 1 and declared.version >= (1, 0):
        found.error("2.2.2", name, "has Payload-Oxum more than once", ASK_MAKER)
    sizes = [size for path, size in tree.files.items() if path.startswith("data/")]
    for said in oxum:
        match = _OXUM.fullmatch(said)
        if not match or (int(match[1]), int(match[2])) != (sum(sizes), len(sizes)):
            what = f"says Payload-Oxum {shown(said)}, where {sum(sizes)} bytes in {len(sizes)} files are"
            found.error("2.2.2", name, what, RESTORE)


def _content(home: Path, manifests: list[Manifest], tree: Tree, found: Findings, reader: Reader) -> None:
    wanted: dict[str, set[str]] = {}
    for one in manifests:
        for path in one.digests:
            wanted.setdefault(path, set()).add(one.algorithm)
    for path, digests in reader.digests(home, wanted, tree.files):
        if isinstance(digests, str):
            found.error("3", path, f"cannot be read: {digests}", LET_IN)
            continue
        for one in manifests:
            if path in one.digests and digests[one.algorithm] != one.digests[path]:
                found.error("3", path, f"is not what was stored: {one.name} has another digest", RESTORE)
