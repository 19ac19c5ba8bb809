"""`terp diff`: in what two results differ."""

import json

import click


@click.command("diff")
@click.argument("a")
@click.argument("b")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def diff_command(context: click.Context, a: str, b: str, as_json: bool) -> None:
    """Say in what the values of A and B differ, and exit with 1 if they do; what is equal is not read.

    A and B are runs, products or archived objects, as `terp show` takes them, or one of their results: `last/NAME`.
    """
    from terp.storage.home import Home
    from terp.workflows.results.diff import diff, plain, told

    found = diff(Home.here(), a, b)
    if as_json:
        click.echo(json.dumps({name: plain(one) for name, one in found.items()}, indent=1))
    else:
        click.echo("\n".join(line for name, one in found.items() for line in told(name, one)))
    if any(found.values()):
        context.exit(1)
