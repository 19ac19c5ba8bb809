"""The inventories of the versions of one OCFL object, held against the newest (OCFL section 3.5.3.1 and 3.8)."""

from collections.abc import Sequence

from terp.storage.validate.findings import ASK_MAKER, RESTORE, Findings, shown
from terp.storage.validate.inventory import Inventory


def compare(inventories: Sequence[Inventory], found: Findings) -> None:
    """Check that prior inventories say the same as the first of `inventories`, the newest; the others are in order."""
    newest, prior = inventories[0], inventories[1:]
    specification = "1.0"
    for one in [*prior, newest]:
        if one.specification < specification:
            what = f"is of OCFL {one.specification}, where an earlier version is of {specification}"
            found.error("E103", one.where, what, ASK_MAKER)
        specification = max(specification, one.specification)
    for one in prior:
        if one is not newest:
            _same_object(one, newest, found)
            _same_versions(one, newest, found)


def _same_object(one: Inventory, newest: Inventory, found: Findings) -> None:
    if one.id and newest.id and one.id != newest.id:
        what = f"is of another object, {shown(one.id)}, than {newest.where}"
        found.error("E037", one.where, what, RESTORE)
    if one.content != newest.content:
        what = f"has its content in {shown(one.content)}, and {newest.where} in {shown(newest.content)}"
        found.error("E019", one.where, what, ASK_MAKER)


def _same_versions(one: Inventory, newest: Inventory, found: Findings) -> None:
    before, after = _places(one), _places(newest)
    for name, was in one.versions.items():
        if name not in newest.versions:
            found.error("E066", one.where, f"has {name}, which {newest.where} does not have", RESTORE)
            continue
        now = newest.versions[name]
        if was.about != now.about:
            found.warn("W011", one.where, f"tells of {name} otherwise than {newest.where}: message, user or moment")
        for path in sorted(was.state.keys() | now.state.keys()):
            digests = was.state.get(path, ""), now.state.get(path, "")
            same = digests[0] == digests[1] or (all(digests) and one.algorithm != newest.algorithm)
            if not same or not before.get(digests[0], set()) <= after.get(digests[1], set()):
                what = f"has another {shown(path)} in {name} than {newest.where}"
                found.error("E066", one.where, what, RESTORE)


def _places(one: Inventory) -> dict[str, set[str]]:
    """Return the content paths of each digest."""
    places: dict[str, set[str]] = {}
    for path, digest in one.manifest.items():
        places.setdefault(digest, set()).add(path)
    return places
