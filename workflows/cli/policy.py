"""`terp policy`: the decision under which results are archived."""

from pathlib import Path

import click


@click.group("policy")
def policy_command() -> None:
    """Decide what may and must happen with what is archived: nothing is archived without."""


@policy_command.command("new")
def new() -> None:
    """Print a policy to fill in."""
    from terp.storage.archive.policy import template

    click.echo(template(), nl=False)


@policy_command.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check(file: Path | None) -> None:
    """Say what FILE decides, or all that is missing in it (default: the one that holds here)."""
    from terp.storage.archive.policy import Policy
    from terp.storage.errors import BadPolicy
    from terp.storage.home import Home
    from terp.workflows.running.decided import SETTING, demand, policy_file

    path = policy_file(Home.here(), file)
    if path is None:
        raise BadPolicy(f"there is no policy here: name a file, set {SETTING}, or put policy.toml into the home")
    policy = Policy.load(path)
    demand(policy, str(path))
    for name, value in policy.facts().items():
        click.echo(f"{name}: {value}")
