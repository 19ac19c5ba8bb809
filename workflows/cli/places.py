"""`terp places`, `copy` and `uncopy`: where copies of what is archived are."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from terp.storage.archive.copies import Sent, Standing
    from terp.storage.errors import StorageError
    from terp.storage.home import Home
    from terp.storage.places import About

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
_take_over = click.option("--take-over", is_flag=True, help="Whoever works on that place is known to be gone.")


def _home() -> "Home":
    from terp.storage.home import Home

    return Home.here()


@click.command("places")
@click.option("--check", is_flag=True, help="Ask each whether it answers.")
@click.option("--lost", metavar="NAME", help="Declare that this place is gone for good, with all copies in it.")
@click.option("--by", default="", help="Who declares it (default: as runs name you).")
@click.option("--reason", default="", help="Why it is known to be gone, in a sentence.")
@click.option("--even-last", is_flag=True, help="Though of some objects nothing sound is known then.")
@_take_over
@_json
def places_command(
    check: bool, lost: str | None, by: str, reason: str, even_last: bool, take_over: bool, as_json: bool
) -> None:
    """List the places of copies that custody/places.toml names, or declare one lost (--lost, --reason).

    What went to a place that was declared lost is not counted any more, and noted so with each object: `terp copy`
    makes other copies. That is refused while the place answers, and, without --even-last, where nothing sound of an
    object is known elsewhere.
    """
    from terp.storage.errors import PlaceTrouble

    home = _home()
    if lost is not None:
        _lose(home, lost, by, reason, even_last, take_over, as_json)
        return
    rows = list(_rows(home, check))
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif not rows:
        click.echo(f"no places of copies yet: name them in {home.custody}/places.toml")
    else:
        click.echo("\n".join(map(_place_text, rows)))
    if any(row.get("trouble") for row in rows):
        raise PlaceTrouble("not all places answer: the lines above say why")


def _lose(home: "Home", name: str, by: str, reason: str, even_last: bool, take_over: bool, as_json: bool) -> None:
    from terp.workflows.errors import Usage
    from terp.workflows.results.copies import lose
    from terp.workflows.running.who import who

    if not reason.strip():
        raise Usage("say how it is known that the place is gone: --reason")
    gone = lose(home, name, by or who().name, reason, even_last, take_over)
    count = f"{len(gone):,} {'object' if len(gone) == 1 else 'objects'}"
    said = f"{name} is lost, with what it had of {count}: `terp copy --status` says which copies are wanted now"
    click.echo(json.dumps({"lost": name, "objects": gone}, indent=1) if as_json else said)


def _rows(home: "Home", check: bool) -> Iterator[dict[str, Any]]:
    """Yield what is known of each place, also of those that copies are known in and nobody names any more."""
    from terp.storage.archive.lost import strangers
    from terp.storage.places import Places

    for about in Places.load(home.custody).place:
        row = {"name": about.name, "kind": about.kind, "where": about.where, "audit_every": about.audit_every}
        row |= {"cost": about.cost, **_counted(home, about.name)}
        yield row | (_asked(home, about) if check else {})
    for name in strangers(home):
        yield {"name": name, "kind": "", "where": "", "audit_every": "", "cost": "", **_counted(home, name)}


def _counted(home: "Home", name: str) -> dict[str, Any]:
    from terp.storage.archive.known import Known
    from terp.storage.archive.lost import declared

    copies = list(Known(home.custody).at(name))
    lost = [asdict(one) for one in declared(home.custody, name)]
    return {"copies": len(copies), "bytes": sum(copy.size for copy in copies), "lost": lost}


def _asked(home: "Home", about: "About") -> dict[str, Any]:
    """Return why a place does not answer, if so, and what it has again that was declared lost."""
    from terp.storage.archive.copies import open_place
    from terp.storage.archive.lost import returned
    from terp.storage.errors import StorageError

    try:
        place = open_place(home, about.name)[1]
        next(iter(place.list()), None)
        return {"trouble": "", "again": returned(home, place)}
    except StorageError as error:
        return {"trouble": str(error), "again": []}


def _place_text(row: dict[str, Any]) -> str:
    from terp.storage.meter import size

    copies = f"{row['copies']:,} {'copy' if row['copies'] == 1 else 'copies'}, {size(row['bytes'])}"
    if not row["kind"]:
        text = f"{row['name']}  {copies}, and it is not in places.toml: name it there, or declare it lost (--lost)"
    else:
        text = f"{row['name']}  {row['kind']}  {row['where']}  {copies}, to be read every {row['audit_every']}"
        text += f", {row['cost']}" if row["cost"] else ""
        text += f": {row['trouble'] or 'answers'}" if "trouble" in row else ""
    lines = [f"  declared lost on {one['when'][:10]} by {one['by']}: {one['reason']}" for one in row["lost"]]
    if again := row.get("again"):
        lines.append(f"  has {', '.join(again)} again, which was declared lost: `terp audit --place {row['name']}`")
    return "\n".join([text, *lines])


@click.command("copy")
@click.argument("references", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that is archived.")
@click.option("--to", "place", help="The place, by its name in custody/places.toml.")
@click.option("--status", is_flag=True, help="Copy nothing; say which copies there are and which are missing.")
@_take_over
@_json
def copy_command(
    references: Sequence[str], all_: bool, place: str | None, status: bool, take_over: bool, as_json: bool
) -> None:
    """Copy archived objects to a place; the same command goes on where one was cut short.

    REFERENCES are archived objects, or runs whose results are archived.
    """
    from terp.storage.archive import Archive
    from terp.storage.archive.copies import copy_to, standing
    from terp.workflows.cli.terminal import Terminal
    from terp.workflows.errors import Usage

    home = _home()
    if bool(references) == (all_ or (status and not references)):
        raise Usage("name what to copy, or say --all, not both")
    chosen = [_archived(home, one) for one in references] or list(Archive(home.archive).list())
    if status:
        stand = [standing(home, one) for one in chosen]
        click.echo(json.dumps([asdict(one) for one in stand], indent=1) if as_json else _standing_text(stand))
        return
    if not place:
        raise Usage("say where to: --to PLACE; `terp places` lists them")
    done, refused = copy_to(home, place, chosen, Terminal(as_json).say, take_over)
    if as_json:
        plain = {"copied": [asdict(one) for one in done], "refused": [str(one) for one in refused]}
        click.echo(json.dumps(plain, indent=1))
    elif done:
        click.echo("\n".join(map(_sent_text, done)))
    _raise(refused)


def _archived(home: "Home", reference: str) -> str:
    """Return the identifier of an archived object."""
    from terp.workflows.errors import Usage
    from terp.workflows.results.show import find

    found = find(home, reference)
    identifier = found.identifier or (found.run.archived or {}).get("identifier", "") if found.run else found.identifier
    if not identifier:
        raise Usage(f"{reference} is not archived: `terp ls` lists what is")
    return str(identifier)


def _sent_text(one: "Sent") -> str:
    from terp.storage.meter import size

    if one.state == "waiting":
        return f"{one.identifier} waits for {one.place}: {one.why}"
    if not one.files:
        return f"{one.identifier} is in {one.place} already"
    return (
        f"{one.identifier} is in {one.place}: {one.files:,} {'file' if one.files == 1 else 'files'}, {size(one.bytes)}"
    )


def _standing_text(stand: "Sequence[Standing]") -> str:
    lines = []
    for one in stand:
        there = ", ".join(f"{place} ({kind}, {state})" for place, kind, state in one.copies) or "no copies"
        wanted = f"{one.wanted} wanted, {one.allowed} allowed beside the archive"
        lines += [f"{one.identifier}  {there}; {wanted}", *(f"  {wrong}" for wrong in one.wrong)]
    return "\n".join(lines) or "nothing is archived yet"


def _raise(refused: "Sequence[StorageError]") -> None:
    """Tell of all that was refused, and fail as the first of it does."""
    if not refused:
        return
    raise type(refused[0])("\n".join(str(one) for one in refused))


@click.command("uncopy")
@click.argument("reference")
@click.option("--from", "place", required=True, help="The place, by its name in custody/places.toml.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_take_over
def uncopy_command(reference: str, place: str, yes: bool, take_over: bool) -> None:
    """Remove all that a place has of an archived object, and prove that nothing is left; the archive is not touched.

    The object is read elsewhere first, in the archive or in another copy: the last that is sound is not removed.
    """
    from terp.storage.archive import tombstone
    from terp.storage.archive.copies import standing
    from terp.storage.archive.known import Known
    from terp.storage.meter import size
    from terp.workflows.cli.terminal import Terminal
    from terp.workflows.results.copies import remove

    home = _home()
    stone = tombstone.find(home.custody, reference)
    known = stone or Known(home.custody).of(reference)  # it may be in the archive no more
    identifier = reference if known else _archived(home, reference)
    stand = standing(home, identifier) if not stone else None
    left = sum(state == "whole" and name != place for name, _, state in stand.copies) if stand else 0
    if stand and left < stand.wanted:
        click.echo(f"{stand.wanted} copies are wanted beside the archive, and {left} would be left", err=True)
    if not yes:
        click.confirm(f"remove the copy of {identifier} in {place}?", abort=True)
    gone = remove(home, place, identifier, Terminal().say, take_over)
    click.echo(f"{identifier} is not in {place} any more: {size(gone)} removed")
