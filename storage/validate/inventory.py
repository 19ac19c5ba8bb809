"""What an OCFL inventory says, held against OCFL 1.0 and 1.1 section 3.5; what is malformed is left out of it.

Nothing here touches a file: names in an inventory are compared with names that were seen, never opened.
"""

import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from terp.storage.validate.findings import ASK_MAKER, RESTORE, Findings, shown
from terp.storage.validate.listing import FIXITY_RULES, MANIFEST_RULES, STATE_RULES, digests_of, paths_of
from terp.storage.validate.reading import hex_length
from terp.storage.validate.strict import conflicts, is_text

TYPE = re.compile(r"https://ocfl\.io/(1\.[01])/spec/#inventory")
VERSION = re.compile(r"v0*([1-9][0-9]{0,8})")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.+", re.DOTALL)
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_KEYS = {"id", "type", "digestAlgorithm", "head", "contentDirectory", "manifest", "versions", "fixity"}


@dataclass
class Version:
    """One version: which digest each logical path has, and what is told of it."""

    state: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class Inventory:
    """The sound parts of an inventory; digests are in lower case."""

    where: str
    specification: str = "1.1"
    id: str = ""
    algorithm: str = ""
    head: str = ""
    content: str = "content"
    content_said: bool = False
    manifest: dict[str, str] = field(default_factory=dict)  # content path to digest
    fixity: list[tuple[str, str, str]] = field(default_factory=list)  # content path, algorithm, digest
    versions: dict[str, Version] = field(default_factory=dict)  # in order
    keys: set[str] = field(default_factory=set)  # digests of the manifest exactly as written


def inventory(said: object, where: str, declared: str, found: Findings) -> Inventory:
    """Read a parsed inventory; `declared` is the version of OCFL that the object declares, "" for a prior inventory."""
    made = Inventory(where, declared or "1.1")
    if not isinstance(said, dict):
        found.error("E033", where, "is not a JSON object", RESTORE)
        return made
    _type(said, made, declared, found)
    _plain(said, made, found)
    for key in sorted(said.keys() - _KEYS):
        found.error("E102", where, f"has the key {shown(key)}, which OCFL does not know", ASK_MAKER)
    _versions(said, made, found)
    _manifest(said, made, found)
    for name in made.versions:
        _version(said["versions"][name], name, made, found)
    _unused(made, found)
    _fixity(said, made, found)
    return made


def _type(said: dict[str, Any], made: Inventory, declared: str, found: Findings) -> None:
    if "type" not in said:
        found.error("E036", made.where, "does not say its type", ASK_MAKER)
        return
    match = TYPE.fullmatch(said["type"]) if isinstance(said["type"], str) else None
    if match and declared in ("", match[1]):
        made.specification = match[1]
    else:
        wanted = f"OCFL {declared}, as the object declares" if declared else "OCFL 1.0 or 1.1"
        found.error("E038", made.where, f"is not of the type of an inventory of {wanted}", ASK_MAKER)


def _plain(said: dict[str, Any], made: Inventory, found: Findings) -> None:
    """Read what is a text: id, digestAlgorithm, head and contentDirectory."""
    for key in ("id", "digestAlgorithm", "head"):
        if key not in said:
            found.error("E036", made.where, f"does not say its {key}", ASK_MAKER)
    _identifier(said, made, found)
    algorithm = said.get("digestAlgorithm", "sha512")
    if algorithm in ("sha512", "sha256"):
        made.algorithm = algorithm
    else:
        found.error("E025", made.where, "has a digestAlgorithm that is neither sha512 nor sha256", ASK_MAKER)
    if algorithm == "sha256":
        found.warn("W004", made.where, "uses sha256, where sha512 is advised")
    if is_text(said.get("head")):
        made.head = said["head"]
    _content_directory(said, made, found)


def _identifier(said: dict[str, Any], made: Inventory, found: Findings) -> None:
    if "id" not in said:
        return
    if not is_text(said["id"]) or not said["id"]:
        found.error("E037", made.where, "has an id that is no text", ASK_MAKER)
        return
    made.id = said["id"]
    if not _URI.fullmatch(made.id):
        found.warn("W005", made.where, f"has the id {shown(made.id)}, which is no URI")


def _content_directory(said: dict[str, Any], made: Inventory, found: Findings) -> None:
    if "contentDirectory" not in said:
        return
    name = said["contentDirectory"]
    if not is_text(name) or not name or "/" in name:
        found.error("E017", made.where, "has a contentDirectory that is not the name of a folder", ASK_MAKER)
    elif name in (".", ".."):
        found.error("E018", made.where, f"has the contentDirectory {name}, which leads elsewhere", ASK_MAKER)
    else:
        made.content, made.content_said = name, True


# versions


def _versions(said: dict[str, Any], made: Inventory, found: Findings) -> None:
    blocks = said.get("versions")
    if not isinstance(blocks, dict):
        rule, what = ("E044", "has versions that are no JSON object") if "versions" in said else ("E041", "")
        found.error(rule, made.where, what or "has no versions", ASK_MAKER)
        return
    for name in sorted(blocks):
        if not VERSION.fullmatch(name):
            found.error("E046", made.where, f"has a version {shown(name)}: they are called v1, v2, ...", ASK_MAKER)
    names = sorted(filter(VERSION.fullmatch, blocks), key=number)
    if not names:
        found.error("E008", made.where, "has no version", ASK_MAKER)
        return
    made.versions = {name: Version() for name in names}
    sequence(names, made.where, found)
    if "head" in said and said["head"] != names[-1]:
        found.error("E040", made.where, f"has a head that is not {names[-1]}, its newest version", ASK_MAKER)


def number(name: str) -> int:
    """Return the number in the name of a version."""
    return int(name[1:])


def sequence(names: list[str], where: str, found: Findings) -> None:
    """Check that versions, in order, are 1, 2, 3, ... and named alike."""
    numbers = [number(name) for name in names]
    if numbers[0] != 1:
        found.error("E009", where, f"begins with {names[0]}, where the first version is 1")
    elif numbers != list(range(1, len(names) + 1)):
        missing = min(set(range(1, len(names) + 1)) - set(numbers), default=numbers[-1])
        found.error("E010", where, f"lacks version {missing} of those up to {names[-1]}")
    padded, length = names[0].startswith("v0"), len(names[0])
    if padded:
        found.warn("W001", where, f"has versions padded with zeros, as {names[0]}")
    for name in names:
        alike = len(name) == length and name.startswith("v0") if padded else not name.startswith("v0")
        if not alike:
            found.error("E013", where, f"has the version {name}, which is not named as {names[0]} is", ASK_MAKER)
            found.error("E011" if padded and len(name) == length else "E012", where, f"has {name}", ASK_MAKER)


def _version(block: object, name: str, made: Inventory, found: Findings) -> None:
    if not isinstance(block, dict):
        found.error("E047", made.where, f"has a {name} that is no JSON object", ASK_MAKER)
        return
    for key in sorted(block.keys() - {"created", "state", "message", "user"}):
        found.error("E102", made.where, f"has the key {shown(key)} in {name}, which OCFL does not know", ASK_MAKER)
    made.versions[name].about = {key: block.get(key) for key in ("created", "message", "user")}
    _created(block, name, made.where, found)
    _told(block, name, made.where, found)
    if "state" not in block:
        found.error("E048", made.where, f"does not say the state of {name}", ASK_MAKER)
    else:
        _state(block["state"], name, made, found)


def _created(block: dict[str, Any], name: str, where: str, found: Findings) -> None:
    if "created" not in block:
        found.error("E048", where, f"does not say when {name} was created", ASK_MAKER)
        return
    match = _MOMENT.fullmatch(block["created"]) if isinstance(block["created"], str) else None
    try:
        if match:
            date(int(match[1]), int(match[2]), int(match[3]))
            return
    except ValueError:
        pass
    found.error("E049", where, f"does not say when {name} was created as RFC 3339 has it, with a time zone", ASK_MAKER)


def _told(block: dict[str, Any], name: str, where: str, found: Findings) -> None:
    if absent := [key for key in ("message", "user") if key not in block]:
        found.warn("W007", where, f"has no {' and no '.join(absent)} for {name}")
    if not isinstance(block.get("message", ""), str):
        found.error("E094", where, f"has a message for {name} that is no text", ASK_MAKER)
    if "user" not in block:
        return
    user = block["user"]
    if not isinstance(user, dict) or not isinstance(user.get("name"), str) or not user["name"]:
        found.error("E054", where, f"has a user for {name} without a name", ASK_MAKER)
    elif "address" not in user:
        found.warn("W008", where, f"has no address of the user of {name}")
    elif not isinstance(user["address"], str):
        found.error("E054", where, f"has an address for the user of {name} that is no text", ASK_MAKER)
    elif not _URI.fullmatch(user["address"]):
        found.warn("W009", where, f"has an address for the user of {name} that is no URI")


def _state(state: object, name: str, made: Inventory, found: Findings) -> None:
    if not isinstance(state, dict):
        found.error("E050", made.where, f"has a state of {name} that is no JSON object", ASK_MAKER)
        return
    paths: list[tuple[str, str]] = []
    for digest, listed in state.items():
        if digest not in made.keys:
            what = f"has {_first(listed)} in {name}, which is stored nowhere: its digest is not in the manifest"
            found.error("E050", made.where, what, RESTORE)
        paths += [(path, digest.lower()) for path in paths_of(listed, STATE_RULES, f"{name}: ", made.where, found)]
    made.versions[name].state = dict(paths)
    for path in conflicts(path for path, _ in paths):
        what = f"has {shown(path)} in {name} twice, or as a file and as a folder"
        found.error("E095", made.where, what, ASK_MAKER)


def _first(listed: object) -> str:
    return shown(str(listed[0])) if isinstance(listed, list) and listed else "a digest"


# manifest and fixity


def _manifest(said: dict[str, Any], made: Inventory, found: Findings) -> None:
    block = said.get("manifest")
    if not isinstance(block, dict):
        rule = "E106" if "manifest" in said and made.specification != "1.0" else "E041"
        found.error(rule, made.where, "has no manifest", ASK_MAKER)
        return
    made.keys, paths = set(block), []
    digests_of(block, made.algorithm, "E096", made.where, found)
    for digest, listed in block.items():
        for path in paths_of(listed, MANIFEST_RULES, "manifest: ", made.where, found):
            paths.append(path)
            if _is_placed(path, made, found):
                made.manifest[path] = digest.lower()
    for path in conflicts(paths):
        found.error("E101", made.where, f"has {shown(path)} twice, or as a file and as a folder", ASK_MAKER)


def _is_placed(path: str, made: Inventory, found: Findings) -> bool:
    version, _, rest = path.partition("/")
    if (version in made.versions or not made.versions) and rest.startswith(f"{made.content}/"):
        return True
    what = f"has {shown(path)}, which is in the folder {shown(made.content)} of no version"
    found.error("E042", made.where, what, ASK_MAKER)
    return False


def _unused(made: Inventory, found: Findings) -> None:
    """OCFL 1.1 wants every digest of the manifest in some state; 1.0 has no such rule."""
    if made.specification == "1.0":
        return
    used = {digest for version in made.versions.values() for digest in version.state.values()}
    for digest in sorted({key.lower() for key in made.keys} - used):
        paths = [path for path, known in made.manifest.items() if known == digest]
        found.error("E107", made.where, f"has {_first(paths)} in its manifest, which is in no version", ASK_MAKER)


def _fixity(said: dict[str, Any], made: Inventory, found: Findings) -> None:
    blocks = said.get("fixity", {})
    if not isinstance(blocks, dict):
        rule = "E057" if made.specification == "1.0" else "E111"
        found.error(rule, made.where, "has a fixity that is no JSON object", ASK_MAKER)
        return
    for algorithm, block in blocks.items():
        if not hex_length(algorithm):
            found.error("E056", made.where, f"has fixity by {shown(algorithm)}, which OCFL does not know", ASK_MAKER)
        elif not isinstance(block, dict):
            found.error("E057", made.where, f"has a fixity for {algorithm} that is no JSON object", ASK_MAKER)
        else:
            digests_of(block, algorithm, "E097", made.where, found)
            for digest, listed in block.items():
                for path in paths_of(listed, FIXITY_RULES, "fixity: ", made.where, found):
                    made.fixity.append((path, algorithm, digest.lower()))
                    if path not in made.manifest:
                        what = f"has fixity of {shown(path)}, which is not in its manifest"
                        found.error("E057", made.where, what, ASK_MAKER)
