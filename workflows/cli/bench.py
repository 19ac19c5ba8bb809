"""`terp bench`: the headline benchmarks, here or on a node of a computing centre."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from terp.cluster.site import Site

_BESIDE = Path(__file__).resolve().parents[2]  # holds `benchmarks`, in a checkout and in a wheel


@click.command("bench", context_settings={"ignore_unknown_options": True})
@click.option("--site", metavar="NAME", help="On a node of this site, in a job like those of workers.")
@click.option("--site-set", multiple=True, metavar="KEY=VALUE", help="A key of the site, for once.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def bench_command(site: str | None, site_set: tuple[str, ...], options: tuple[str, ...]) -> int | None:
    """Measure whole jobs beside the loop by hand and other tools.

    OPTIONS are those of the benchmarks, as --rows a,c --gib 1 --rounds 3 --only HAND; --help after `--` tells them all.
    """
    from terp.workflows.cli.compute import the_site

    place = the_site(site, site_set)
    if place is None:
        words = [sys.executable, "-m", "benchmarks", *options]
        return subprocess.run(words, env=_environment(), check=False).returncode
    prepare = [sys.executable, "-m", "benchmarks", "--prepare", *options]  # a node may have no network
    if done := subprocess.run(prepare, env=_environment(), check=False).returncode:
        return done
    folder, job = submit(place, options)
    click.echo(f"job {job} runs the benchmarks on a node of {place.name}; it tells how far it is in {folder}/jobs")
    click.echo(f"the table, when it is done: terp bench --show {folder}/results.json")
    return None


def submit(site: "Site", options: tuple[str, ...]) -> tuple[Path, str]:
    """Have a job of a site run the benchmarks; return the folder of its results, and its id."""
    from datetime import UTC, datetime

    from terp.cluster.jobs import Slurm
    from terp.cluster.script import bench_script
    from terp.storage import files
    from terp.storage.home import Home

    name = f"terp-bench-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder = Home.here().open().root / "bench" / name
    place = site.local or str(folder)
    command = [sys.executable, "-m", "benchmarks", "--place", place, "--json", str(folder / "results.json"), *options]
    script = folder / "jobs" / "bench.sh"
    with files.disk(script):
        files.make_folders(script.parent)
        kept = {key: value for key, value in _environment().items() if key in ("PYTHONPATH", "TERP_AGENT")}
        script.write_text(bench_script(site, name, folder, command, kept))
    return folder, Slurm().submit(script)[0]


def _environment() -> dict[str, str]:
    """Return an environment in which `benchmarks` can be imported."""
    paths = [str(_BESIDE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
