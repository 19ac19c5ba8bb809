"""`terp site`: which computing centres terp knows, and what it knows of one."""

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from terp.cluster.site import Setting

_TABLES = ("partitions.", "file_systems.")  # long, so they come last


@click.group("site", invoke_without_command=True)
@click.pass_context
def site_command(context: click.Context) -> None:
    """List the computing centres that terp knows."""
    if context.invoked_subcommand:
        return
    from terp.cluster.errors import BadSite
    from terp.cluster.site import load_site, sites

    rows = [("SITE", "DESCRIBED IN", "ABOUT")]
    for name, place in sorted(sites().items()):
        try:
            rows.append((name, place, load_site(name).about))
        except BadSite as error:
            rows.append((name, place, f"cannot be used: {str(error).splitlines()[0]}"))
    click.echo("\n".join(_columns(rows)))


@site_command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--site-set", multiple=True, metavar="KEY=VALUE", help="A key of the site, for once.")
def show_command(name: str, as_json: bool, site_set: tuple[str, ...]) -> None:
    """Show what is known of the site NAME, and where each value comes from."""
    from terp.cluster.site import resolve
    from terp.cluster.site_layers import overrides_of

    resolved = resolve(name, overrides_of(site_set))
    if as_json:
        click.echo(
            json.dumps({one.key: {"value": one.value, "from": one.origin} for one in resolved.settings}, indent=1)
        )
        return
    shown = sorted(resolved.settings, key=lambda one: one.key.startswith(_TABLES))
    rows = [_row(one) for one in shown if one.key not in ("name", "about")]
    click.echo(f"{name}: {resolved.site.about}")
    click.echo("\n".join(_columns([("KEY", "VALUE", "FROM"), *rows])))


def _row(one: "Setting") -> tuple[str, str, str]:
    return one.key, _text(one.value), one.origin


def _text(value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{row[0]:{first}}  {row[1]:{second}}  {row[2]}".rstrip() for row in rows]
