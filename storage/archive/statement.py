"""Statement of a destruction (verklaring van vernietiging; Archiefbesluit 1995, article 8), in Dutch and English.

custody/tombstones/SLUG.json                 all of it, with the signatures and the digests of all files
custody/tombstones/SLUG.md                   the same for people
custody/tombstones/SLUG.md.sig               the archive's own signature of that, where it has a key
custody/tombstones/SLUG.specification.json   what the people signed, byte for byte
custody/tombstones/SLUG.1.sig, .2.sig        their signatures, for ssh-keygen
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from terp.storage.canonical import canonical
from terp.storage.files import replace
from terp.storage.signature import SigningKey

HOW_NL = (
    "De bestanden zijn verwijderd uit elke plaats die hieronder staat. Blokken van de opslag zijn niet overschreven; "
    "momentopnamen en reservekopieën van het bestandssysteem zelf vallen buiten het bereik van terp."
)
HOW_EN = (
    "The files were removed from each place below. Blocks of storage were not overwritten; snapshots and backups that "
    "the file system itself makes are out of reach of terp."
)


def publish_statement(stone: Path, plain: Mapping[str, Any]) -> None:
    """Write the statement beside the tombstone: for people, what was signed, and the signatures."""
    *before, (suffix, text) = parts(plain, stone.stem).items()
    for name, data in before:
        replace(stone.with_suffix(name), data)
    key = SigningKey.here()
    if key:
        replace(stone.with_suffix(".md.sig"), key.sign(text))
    replace(stone.with_suffix(suffix), text)


def parts(plain: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """Return what follows from a tombstone and is written beside it, by the ends of their names; the statement last."""
    found = {".specification.json": canonical(plain["specification"])}
    found |= {f".{number}.sig": one["signature"].encode() for number, one in enumerate(plain["signatures"], 1)}
    return found | {".md": statement(plain, name).encode()}


def statement(plain: Mapping[str, Any], name: str) -> str:
    """Return the statement as Markdown; `name` is how the files beside it begin."""
    return f"{_dutch(plain, name)}\n---\n\n{_english(plain, name)}"


def _dutch(plain: Mapping[str, Any], name: str) -> str:
    what, ground = plain["specification"], plain["specification"]["ground"]
    chosen, term = ground["selectielijst"], ground["bewaartermijn"]
    lines = [
        "# Verklaring van vernietiging",
        "",
        "(Archiefbesluit 1995, artikel 8)",
        "",
        f"- Archiefbescheiden: {what['title']}, `{plain['identifier']}`",
        f"- Archiefvormer: {what['archiefvormer']}",
        f"- Datering: {_versions(what)}",
        f"- Omvang: {_total(what)[0]:,} bestanden, {_total(what)[1]:,} bytes",
        f"- Grond: waardering {ground['waardering']}, {chosen['naam']}, categorie {chosen['categorie']}",
        f"- Selectielijst: vastgesteld op {chosen['vastgesteld']}, geldig tot {chosen['geldigTot']}",
        f"- Bewaartermijn: {term['looptijd']} ({term['trigger']}), van {ground['start']} tot {ground['end']}",
        f"- Vernietigd: begonnen op {plain['since']}, voltooid op {plain['destroyed']}",
        f"- Uitgevoerd door: {plain['by']}",
        f"- Wijze: {HOW_NL}",
        f"- Nagegaan: daarna gezocht naar pad, naam, omvang en SHA-512 in {_looked(plain, 'en')}; niets gevonden",
        "",
        "## Specificatie",
        "",
        *_table(what, ("Plaats", "Bestanden", "Bytes")),
        "",
        *_list("Hieruit is gemaakt en niet vernietigd", what["derived"]),
        *_list("Dezelfde bestanden berusten, onder een eigen besluit, in", what["also_held"]),
        *_list("Eerder uitgegeven, en buiten bereik", what["exported"]),
        "## Ondertekend",
        "",
        *(f"- {one['person']} ({one['fingerprint']})" for one in plain["signatures"]),
        "",
        "Ondertekend is de specificatie, byte voor byte. Na te gaan met OpenSSH:",
        "",
        *_how_to_check(plain, name),
    ]
    return "\n".join(lines) + "\n"


def _english(plain: Mapping[str, Any], name: str) -> str:
    what, ground = plain["specification"], plain["specification"]["ground"]
    chosen, term = ground["selectielijst"], ground["bewaartermijn"]
    lines = [
        "# Statement of destruction",
        "",
        "(Archiefbesluit 1995, article 8)",
        "",
        f"- Records: {what['title']}, `{plain['identifier']}`",
        f"- Made in the task of: {what['archiefvormer']}",
        f"- Dates: {_versions(what)}",
        f"- Extent: {_total(what)[0]:,} files, {_total(what)[1]:,} bytes",
        f"- Ground: waardering {ground['waardering']}, {chosen['naam']}, category {chosen['categorie']}",
        f"- Selection list: of {chosen['vastgesteld']}, in force until {chosen['geldigTot']}",
        f"- Kept for: {term['looptijd']} ({term['trigger']}), from {ground['start']} to {ground['end']}",
        f"- Destroyed: begun on {plain['since']}, ended on {plain['destroyed']}",
        f"- Done by: {plain['by']}",
        f"- How: {HOW_EN}",
        f"- Looked for: afterwards by path, name, size and SHA-512 in {_looked(plain, 'and')}; nothing was found",
        "",
        "## Specification",
        "",
        *_table(what, ("Place", "Files", "Bytes")),
        "",
        *_list("Made of it and not destroyed", what["derived"]),
        *_list("The same files rest, under a decision of its own, in", what["also_held"]),
        *_list("Exported before, and out of reach", what["exported"]),
        "## Signed",
        "",
        *(f"- {one['person']} ({one['fingerprint']})" for one in plain["signatures"]),
        "",
        f"The specification was signed, byte for byte; `{name}.json` has the SHA-512 of every file. To check it:",
        "",
        *_how_to_check(plain, name),
    ]
    return "\n".join(lines) + "\n"


def _versions(what: Mapping[str, Any]) -> str:
    return ", ".join(f"{version} {created}" for version, created in what["versions"].items())


def _total(what: Mapping[str, Any]) -> tuple[int, int]:
    return sum(one["files"] for one in what["parts"]), sum(one["bytes"] for one in what["parts"])


def _looked(plain: Mapping[str, Any], word: str) -> str:
    proof = plain["proof"]
    counted = [f"TERP_HOME ({proof['home']:,})", *(f"{name} ({count:,})" for name, count in proof["places"].items())]
    return f" {word} ".join(filter(None, (", ".join(counted[:-1]), counted[-1])))


def _table(what: Mapping[str, Any], heads: tuple[str, str, str]) -> list[str]:
    rows = [f"| {one['where']} | {one['files']:,} | {one['bytes']:,} |" for one in what["parts"]]
    return [f"| {' | '.join(heads)} |", "|---|---|---|", *rows]


def _list(head: str, names: list[str]) -> list[str]:
    return [f"{head}:", "", *(f"- {name}" for name in names), ""] if names else []


def _how_to_check(plain: Mapping[str, Any], name: str) -> list[str]:
    lines = ["```text"]
    for number, one in enumerate(plain["signatures"], 1):
        lines += [
            f"echo '{number} {one['key']}' > signer",
            f"ssh-keygen -Y verify -f signer -I {number} -n file -s {name}.{number}.sig < {name}.specification.json",
        ]
    return [*lines, "```"]
