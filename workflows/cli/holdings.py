"""`terp ls`, `show`, `open`, `verify`, `archive` and `rm`: what was made."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terp.storage.home import Home
    from terp.storage.product import StoredProduct

_PAGE = 50  # lines that a person is shown
_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


def _home() -> "Home":
    from terp.storage.home import Home

    return Home.here()


@click.command("ls")
@click.option("--products", is_flag=True, help="List working products instead of what is archived.")
@click.option("--where", default="", metavar="QUERY", help="Only what is found: words, and conditions as field:value.")
@click.option("--limit", type=click.IntRange(min=1), help=f"Only the first so many; {_PAGE} unless it is JSON.")
@click.option("--all", "every", is_flag=True, help="All that is found, however many.")
@click.option("--fresh", is_flag=True, help="Look at all of the archive first, however large it is.")
@_json
def ls_command(products: bool, where: str, limit: int | None, every: bool, fresh: bool, as_json: bool) -> None:
    """List what is archived, or search it.

    A QUERY is words, phrases in quotation marks, beginnings (temp*) and conditions, all of which have to hold; with -
    before it one must not:

    \b
    --where 'variable:surface_temperature person:Jansen time:1990..2000'
    --where 'bbox:3,50,7,54 openness:open -flow:imaging size:1GB..'
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    home = _home()
    most = limit if limit or every or as_json else _PAGE
    rows = iter(_products(home)) if products else _archived(home, where, most, fresh)
    if as_json:
        _stream(rows)
        return
    row: dict[str, Any] | None = None
    for row in rows:
        click.echo(_product_text(row) if products else _archived_text(row))
    if row is None:
        click.echo("nothing is found" if where else f"nothing yet in {home.root}: try `terp run climatology`")


def _stream(rows: "Iterator[dict[str, Any]]") -> None:
    """Print a list as JSON, a row at a time."""
    start = "["
    for row in rows:
        click.echo(start + json.dumps([row], indent=1)[1:-2], nl=False)
        start = ","
    click.echo("[]" if start == "[" else "\n]")


def _products(home: "Home") -> list[dict[str, Any]]:
    from terp.workflows.results import show

    return show.products(home)


def _archived(home: "Home", where: str, limit: int | None, fresh: bool) -> "Iterator[dict[str, Any]]":
    from terp.workflows.results.catalogue import listed

    return listed(home, where, limit, fresh, lambda text: click.echo(text, err=True))


def _product_text(row: dict[str, Any]) -> str:
    from terp.storage.meter import size

    if row["damage"]:
        return f"{row['product']}  damaged: {row['damage']}"
    state = f"sealed, {size(row['bytes'])}" if row["sealed"] else f"{row['done']:,}/{row['regions']:,} regions"
    return f"{row['product']}  {state}"


def _archived_text(row: dict[str, Any]) -> str:
    from terp.storage.meter import size

    if row["destroyed"]:
        return f"{row['identifier']}  {row['destroyed']}"
    damage = f"  damaged: {row['damage']}" if row["damage"] else ""
    return f"{row['identifier']}  {', '.join(row['results'])}  {size(row['bytes'])}  {row['run']}{damage}"


@click.command("show")
@click.argument("reference", default="last")
@_json
def show_command(reference: str, as_json: bool) -> None:
    """Show what is known of REFERENCE: a run (an id, a beginning of it, `last`), a product or an archived object."""
    from terp.storage.archive import tombstone
    from terp.workflows.results import catalogue

    home = _home()
    named = catalogue.is_name(reference)
    plain = catalogue.shown(home, reference) if named else _made(home, reference)
    plain |= _kept(home, plain["identifier"]) if named else {}
    click.echo(json.dumps(plain, indent=1) if as_json else _lines(plain))
    if named:
        tombstone.demand_none(home.custody, plain["identifier"])


def _kept(home: "Home", identifier: str) -> dict[str, Any]:
    """Return by what an object is held, which is not in the object itself."""
    from terp.storage.archive.custody import Events
    from terp.storage.archive.hold import holds

    return {"holds": [str(one) for one in holds(Events(home.custody).of(identifier))]}


def _made(home: "Home", reference: str) -> dict[str, Any]:
    from terp.workflows.results import show

    found = show.find(home, reference)
    if found.product:
        return {**show.product_row(found.product), **_cut_of(found.product)}
    assert found.run is not None
    return asdict(found.run) | show.pictures_of(home, found.run)


def _cut_of(product: "StoredProduct") -> dict[str, Any]:
    arrays = {
        f"{g.path}/{a.name}".strip("/"): f"{a.dtype} {a.dims} {a.shape}" for g in product.groups for a in g.arrays
    }
    ingredients = product.frozen["ingredients"]
    return {"arrays": arrays, "parameters": ingredients.get("parameters", {}), "inputs": ingredients.get("inputs", [])}


def _lines(plain: dict[str, Any], indent: str = "") -> str:
    """Return nested values as indented lines; what is empty is left out."""
    lines = []
    for name, value in plain.items():
        if name in ("holder", "environment", "code", "machines", "software", "parts") or value in ("", [], {}, None):
            continue
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", _lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                lines.append(f"{indent}{name}: {', '.join(f'{k} {v}' for k, v in item.items() if v and k != 'parts')}")
        else:
            lines.append(f"{indent}{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return "\n".join(lines)


@click.command("open")
@click.argument("reference", default="last")
@click.argument("name", default="")
@click.option("--group", default="", help="A group within the result.")
@_json
def open_command(reference: str, name: str, group: str, as_json: bool) -> None:
    """Open a result with xarray, out of the archive where it is there, and show it.

    REFERENCE is a run, product or archived object; NAME one of its results.
    """
    from terp.workflows import api

    data = api.open(reference, name, group)
    if as_json:
        click.echo(json.dumps(data.to_dict(data=False), indent=1, default=str))
        return
    click.echo(str(data))
    words = ", ".join(repr(word) for word in (reference, name, group) if word)
    click.echo(f"\nin Python: import terp.workflows.api as terp; data = terp.open({words})")


@click.command("verify")
@click.argument("reference", default="last")
@_json
def verify_command(reference: str, as_json: bool) -> None:
    """Read all of a run's results, a product or an archived object, and say what is not as it was recorded.

    REFERENCE may also be a path: of an OCFL storage root, an OCFL object, a bag or a terp package, whoever made it.
    Then each finding names the rule that is broken, the place and the cure. Nothing is changed there.
    """
    from terp.storage.errors import Damaged
    from terp.workflows.results.verify import is_path, verify

    if is_path(reference):
        _verify_path(reference, as_json)
        return
    home = _home()
    checked, damage = verify(home, reference)
    if as_json:
        click.echo(json.dumps({"checked": checked, "damage": damage}, indent=1))
    else:
        click.echo("\n".join([f"checked {one}" for one in checked] + [f"damaged: {one}" for one in damage]))
    if damage:
        raise Damaged("not all is as it was recorded: the lines above say what, and the way out")
    if not as_json:
        click.echo("all is as it was recorded")


def _verify_path(path: str, as_json: bool) -> None:
    from pathlib import Path

    from terp.storage.errors import Damaged
    from terp.storage.validate import validate
    from terp.workflows.results.verify import counted, told

    report = validate(Path(path))
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else "\n".join(told(report)))
    if report.errors:
        raise Damaged(f"{counted(len(report.errors), 'error')} found: the lines above say where, and the cure")
    if not as_json:
        click.echo("no rule is broken" + ("; the warnings above are advice" if report.findings else ""))


@click.command("archive")
@click.argument("run", default="last")
@click.option("--policy", type=click.Path(path_type=Path), help="The decision under which to archive (`terp policy`).")
@click.option("--as-version-of", default="", metavar="URN", help="Make them the next version of an archived object.")
@click.option("--band-size", default=0, metavar="BYTES", help="Pack results into ZIPs of so many bytes at most.")
@click.option("--second-form", type=click.Choice(["netcdf4"]), help="Add the same in this form, proven to be the same.")
@_json
def archive_command(
    run: str, policy: Path | None, as_version_of: str, band_size: int, second_form: str | None, as_json: bool
) -> None:
    """Archive the results of a finished run that were not archived yet, or under another decision than before.

    A version stores only what its object does not have: bands that are the same are in it once.
    """
    from terp.workflows.cli.terminal import Terminal
    from terp.workflows.planning.load import load_flow
    from terp.workflows.prefect import server as prefect_server
    from terp.workflows.results.deposit import redeposit
    from terp.workflows.results.payload import Packing
    from terp.workflows.running.record import load_run

    home = _home()
    record = load_run(home, run)
    prefect_server.prepare(home.root)
    record.archived = redeposit(
        home,
        record,
        load_flow(record.target),
        Terminal(as_json),
        policy=policy,
        version_of=as_version_of,
        packing=Packing(band_size, second_form or ""),
    )
    record.save(home)
    archived = record.archived
    click.echo(json.dumps(archived, indent=1) if as_json else f"{archived['identifier']} {archived['version']}")


@click.command("rm")
@click.argument("reference")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm_command(reference: str, yes: bool) -> None:
    """Remove a working product, or a run's record and the products that only it needs. The archive is never touched."""
    from terp.workflows.results.remove import remove, what_goes

    home = _home()
    going = what_goes(home, reference)
    click.echo("\n".join(str(folder) for folder in going))
    if not yes:
        click.confirm("remove these?", abort=True)
    remove(going)
