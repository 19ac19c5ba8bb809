"""Check what was made by reading all of it; what is damaged of a product is given up, so that a run makes it again."""

import os
from collections.abc import Iterator

from terp.storage.errors import BadProduct, Busy, DiskTrouble
from terp.storage.filling import Filling
from terp.storage.home import Home
from terp.storage.meter import size
from terp.storage.product import StoredProduct
from terp.storage.validate import Report
from terp.storage.validate.findings import shown
from terp.workflows.results.evidence import damage_of_evidence, damage_of_journal, signed_by
from terp.workflows.results.show import damage_of_object, find

_SHOWN = 200  # findings that a person may want to read at once


def is_path(reference: str) -> bool:
    """Say whether a reference is a place in the file system: nothing else has a slash, but a name may be there."""
    return "/" in reference or (reference != ".." and os.path.lexists(reference))


def counted(number: int, word: str) -> str:
    """Return a number of things in words."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def told(report: Report) -> Iterator[str]:
    """Yield the lines of a report, the worst first."""
    read = f"{counted(report.objects, 'object')}, {counted(report.files, 'file')}, {size(report.bytes)} read"
    yield f"checked the {report.kind} {shown(str(report.path))}: {read}"
    found = sorted(report.findings, key=lambda one: one.level)
    width = max((len(one.rule) for one in found), default=0)
    for one in found[:_SHOWN]:
        yield f"{one.level:7}  {one.rule:{width}}  {one.place or '.'}"
        yield f"         {'':{width}}  {one.message}"
        yield f"         {'':{width}}  cure: {one.cure}"
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN:,} more: --json tells them all"


def verify(home: Home, reference: str) -> tuple[list[str], list[str]]:
    """Return what was checked and what is wrong with it, as sentences."""
    found = find(home, reference)
    if found.identifier:
        return _object(home, found.identifier)
    if found.product:
        return [found.product.key], damage_of(found.product)
    assert found.run is not None
    checked, damage = [], []
    keys = dict.fromkeys(stage.key for stage in found.run.stages)
    for key in (key for key in keys if home.product(key).exists()):  # the archive holds what was removed on purpose
        checked.append(key)
        damage += _known(home, key)
    if found.run.archived:
        names, wrong = _object(home, found.run.archived["identifier"])
        checked, damage = [*checked, *names], [*damage, *wrong]
    if found.run.journal:
        checked.append(f"the journal of {found.run.id}")
    return checked, [*damage, *damage_of_journal(home, found.run)]


def _object(home: Home, identifier: str) -> tuple[list[str], list[str]]:
    """Return an archived object as what was checked, with who signed it, and what is wrong with it."""
    by = signed_by(home, identifier)
    damage = damage_of_object(home, identifier) + damage_of_evidence(home, identifier)
    return [f"{identifier}, signed by the key {by}" if by else identifier], damage


def _known(home: Home, key: str) -> list[str]:
    try:
        return damage_of(StoredProduct(home.product(key)))
    except BadProduct as error:
        return [str(error)]


def damage_of(product: StoredProduct) -> list[str]:
    """Read all of a product and say what is damaged of it: from now on that counts as not done."""
    damage = [str(one) for one in product.verify()]
    if damage:
        try:
            with Filling(product) as filling:
                filling.read_all()
        except (Busy, DiskTrouble) as trouble:
            return [*damage, str(trouble)]
    done, total = product.progress()
    if damage or not product.seal:
        damage.append(f"{product.name} has {done:,} of {total:,} regions: run the same command again to make the rest")
    return damage
