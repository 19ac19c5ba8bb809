"""`make demo`: the main job on real data, opened again out of the archive, and what to try next."""

import os
import time
from contextlib import suppress
from pathlib import Path

import click
import numpy as np

DECISION = Path(__file__).with_name("demo.toml")


def main() -> None:
    """Run climatology on what satellites measured, archive it, and read the answer out of the archive."""
    from terp.storage.meter import span
    from terp.workflows import api
    from terp.workflows.cli.compute import plan_text
    from terp.workflows.cli.terminal import Terminal

    click.echo("terp: sea-surface temperature measured from satellites (OSTIA, 54 x 18 x 432), from plan to archive\n")
    started = time.monotonic()
    click.echo(plan_text(api.plan("climatology")) + "\n")
    decision = _decided()
    run = api.run("climatology", reporter=Terminal(), policy=decision)
    archived = run.record.archived
    click.echo(f"decided in {_near(decision)}: nothing is archived without a decision (terp policy)")
    index = run.open("index")
    series = index[next(iter(index.data_vars))].load()
    warm, cold = (series.isel(time=int(at(series.to_numpy()))) for at in (np.argmax, np.argmin))
    picture = next(Path(archived["path"]).rglob("picture.png"))
    click.echo(f"\nread out of the archive with xarray, {span(time.monotonic() - started)} after the start:")
    click.echo(f"  warmest month of the Nino-3.4 box: {str(warm.time.values)[:7]}  {float(warm):+.2f} K  (El Nino)")
    click.echo(f"  coldest month of the Nino-3.4 box: {str(cold.time.values)[:7]}  {float(cold):+.2f} K  (La Nina)")
    click.echo(f"\npicture: {_near(picture)}\narchive: {_near(Path(archived['path']))}\n\ntry next:")
    terp = f"TERP_HOME={_near(Path(os.environ['TERP_HOME']))} .venv/bin/terp" if "TERP_HOME" in os.environ else "terp"
    click.echo(f"  {terp} show last           what was made, from what, how")
    click.echo(f"  {terp} verify last         read every byte again and compare")
    click.echo(f"  {terp} run docs/examples/mine.py:departures ostia   a flow of your own (docs/write-a-flow.md)")


def _decided() -> Path:
    """Put the demonstration's decision into the home, unless it has one, and return where it is."""
    from terp.storage.archive.policy import POLICY
    from terp.storage.files import create_once
    from terp.storage.home import Home

    path = Home.here().open().root / POLICY
    with suppress(FileExistsError):
        create_once(path, DECISION.read_bytes())
    return path


def _near(path: Path) -> Path:
    """Return a path as seen from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    from terp.workflows.cli import guarded

    guarded(main)
