"""`terp replay`: make a run again from its crate alone, and compare."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terp.cluster.processor import LEVELS
from terp.workflows.cli.compute import with_site

if TYPE_CHECKING:
    from terp.workflows.results.compare import Comparison
    from terp.workflows.results.replay import Replay


@click.command("replay")
@click.argument("run", default="last")
@click.option("--input", "inputs", multiple=True, type=click.Path(path_type=Path), help="Where inputs are now.")
@click.option("--environment", type=click.Choice(["recorded", "build", "here"]), default="recorded", show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Worker processes at most (default: one a core; the site's).")
@click.option("--scheduler", default="", metavar="ADDRESS", help="Use the workers of this Dask scheduler (tls://...).")
@click.option("--processor", type=click.Choice(LEVELS), help="Vector instructions (default: recorded ones).")
@with_site
@click.option("--room", type=click.Path(file_okay=False, exists=True, path_type=Path), help="Where its home is made.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="A file for the report.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="A new folder for what is made.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def replay_command(
    run: str,
    inputs: tuple[Path, ...],
    environment: str,
    workers: int | None,
    scheduler: str,
    processor: str | None,
    site: str | None,
    site_set: tuple[str, ...],
    room: Path | None,
    report: Path | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Make a run again from its crate alone, in a home of its own, and compare each result region by region.

    RUN is a run, an archived object, or a folder or ZIP with the files of a crate. Inputs are found by their digests:
    where they were, below --input, or among the samples. --room must be a folder that nodes of a --site see (default
    then: the present one). The report goes to replay-RUN.json; TERP_HOME is not changed. With --keep the packages are
    written there, and compared by the digests of those in the crate, which may be lost: `terp repair --from` puts
    them back.
    """
    from terp.storage.archive.ocfl import is_kept
    from terp.storage.files import disk, make_folders
    from terp.storage.home import Home
    from terp.workflows.errors import Differs, Usage
    from terp.workflows.results.replay import How, replay

    room = room or (Path.cwd() if site else None)
    beside = report.absolute().parent if report else Path.cwd()
    if any(is_kept(folder) for folder in (beside, room, keep and keep.absolute()) if folder):
        raise Usage("nothing but results may be in an archive: start this elsewhere, or name another place (--report)")
    if keep:
        if keep.is_dir() and any(keep.iterdir()):
            raise Usage(f"{keep} is not empty: name a new folder to keep what is made")
        with disk(keep):
            make_folders(keep)
    about = (inputs, environment, workers, site, site_set, scheduler, processor or "", room, as_json, keep)
    done = replay(Home.here(), run, How(*about))
    plain = json.dumps(done.to_json(), indent=1)
    place = report or Path(f"replay-{done.run}.json")
    with disk(place):
        place.write_text(f"{plain}\n")
    click.echo(plain if as_json else "\n".join([*_lines(done), f"report: {place}"]))
    if not done.same:
        other = ", ".join(one.name for one in done.results if one.verdict == "differs")
        raise Differs(f"{other} came out otherwise than archived: the lines above say where")


def _lines(done: "Replay") -> list[str]:
    lines = [f"replayed {done.run} from {done.crate} in {done.seconds} s"]
    lines.append(f"  terp {done.terp['name']}: {done.terp['found']}")
    lines += [f"  input {one['name']}: {one['found']}" for one in done.inputs]
    return lines + [f"  {_line(one)}" for one in done.results] + [f"note: {note}" for note in done.notes]


def _line(one: "Comparison") -> str:
    count = f"{one.regions:,} region{'' if one.regions == 1 else 's'}"
    if one.verdict == "identical":
        return f"{one.name}: identical ({count})"
    some = f"{one.other:,} of {count} with other values"
    if one.first is None:
        relative, absolute = one.tolerance
        return f"{one.name}: within {relative:g} relative, {absolute:g} absolute ({some}, at most {one.most:.2g} away)"
    first = one.first
    region = f" in region {first.region}" if first.region >= 0 else ""
    return f"{one.name}: differs{region}: {first.where} was {first.recorded}, is {first.replayed} ({some})"
