"""`terp plan` and `terp run`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terp.cluster.processor import LEVELS

if TYPE_CHECKING:
    from terp.cluster.site import Site
    from terp.workflows.api import Run
    from terp.workflows.planning.plan import Plan
    from terp.workflows.running.record import RunRecord

_flow = [
    click.argument("flow"),
    click.argument("inputs", nargs=-1),
    click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter (JSON or text)."),
]


def _with_flow(function: Any) -> Any:
    for decorate in reversed(_flow):
        function = decorate(function)
    return function


_site = [
    click.option("--site", metavar="NAME", help="Have the workers in SLURM jobs of this site (`terp site`)."),
    click.option("--site-set", multiple=True, metavar="KEY=VALUE", help="A key of the site, for once."),
]


def with_site(function: Any) -> Any:
    """Give a command the options that name a site."""
    for decorate in reversed(_site):
        function = decorate(function)
    return function


def the_site(name: str | None, given: tuple[str, ...]) -> "Site | None":
    """Return the site of a command line, with keys for once; None where none is named."""
    from terp.cluster.site import load_site
    from terp.cluster.site_layers import overrides_of
    from terp.workflows.errors import Usage

    if not name:
        if given:
            raise Usage("--site-set changes a site: name it with --site")
        return None
    return load_site(name, overrides_of(given))


def _settings(given: tuple[str, ...]) -> dict[str, Any]:
    from terp.workflows.planning.load import setting

    return dict(setting(text) for text in given)


@click.command("plan")
@_with_flow
@with_site
@click.option("--why", is_flag=True, help="Show all that differs in the code of what is made again.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan_command(
    flow: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    site: str | None,
    site_set: tuple[str, ...],
    why: bool,
    as_json: bool,
) -> None:
    """Show all that a run would do, and do none of it; with --site, the batch script of its workers too.

    FLOW is climatology, imaging or your own path/to/file.py:flow; INPUTS are its first parameters.
    """
    from terp.workflows.api import plan
    from terp.workflows.cli.terminal import Terminal
    from terp.workflows.running.at_site import at_site

    place = the_site(site, site_set)
    made = plan(flow, *inputs, reporter=Terminal(as_json), **_settings(settings))
    there = at_site(made, place) if place else None
    if as_json:
        click.echo(json.dumps({**made.to_json(), **({"site": there.to_json()} if there else {})}, indent=1))
    else:
        click.echo(plan_text(made, 0 if why else _DIFF) + (f"\n\n{there.text()}" if there else ""))


_DIFF = 8  # lines of a diff that a plan shows


def plan_text(plan: "Plan", diff: int = _DIFF) -> str:
    """Return a plan as a table for people, with so many lines of each diff of code at most (0: all)."""
    from terp.storage.meter import size, span
    from terp.workflows.planning.reasons import crowded

    rows = [("stage", "regions", "to make", "bytes", "files", "memory", "time", "why")]
    for one in plan.steps:
        times = f" (at most {one.step.at_most} times)" if one.step.at_most > 1 else ""
        rows.append(
            (
                one.step.name + times,
                f"{one.step.regions:,}",
                f"{one.missing:,}",
                size(one.step.nbytes),
                f"{one.step.shards:,}",
                size(one.step.memory) + (", measured" if one.step.need.measured else ""),
                span(one.seconds) if one.missing else "-",
                one.why,
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i in (0, 7) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines += _diffs(plan, diff)
    plain = plan.to_json()
    lines += ["", f"{plan.flow}: {plan.tasks:,} tasks, {size(plain['bytes'])} in {plain['files']:,} shards"]
    lines += [
        f"a worker needs about {size(plain['worker_memory'])}; one worker about {span(plain['seconds_estimate'])}"
    ]
    lines += ["memory and time are estimates, where nothing was measured; bytes are before compression"]
    lines += [f"{one.step.name}: {'; '.join(plan.reasons(one.step).values())}" for one in plan.steps if one.missing]
    lines += [f"note: {doubt}" for one in plan.steps for doubt in one.step.doubts]
    lines += [f"note: {crowd}" for one in plan.steps if one.missing for crowd in crowded(one.step)]
    if plan.ends:
        lines.append(f"the plan ends here: {plan.ends}")
    return "\n".join(lines)


def _diffs(plan: "Plan", most: int) -> list[str]:
    """Return how code differs, once for all steps of which that is so."""
    steps: dict[tuple[str, ...], list[str]] = {}
    for one in plan.steps:
        if one.reason.diff:
            steps.setdefault(tuple(one.reason.diff), []).append(one.step.name)
    lines = []
    for diff, names in steps.items():
        lines += ["", f"the code of {', '.join(names)}:"]
        lines += [f"    {line}".rstrip() for line in diff[: most or None]]
        if most and len(diff) > most:
            lines.append(f"    ... {len(diff) - most:,} lines more: terp plan --why")
    return lines


@click.command("run")
@_with_flow
@with_site
@click.option("--workers", type=click.IntRange(1), help="Worker processes at most (default: one a core; the site's).")
@click.option("--min-workers", type=click.IntRange(1), help="Workers that are kept while there is little to do.")
@click.option("--core-hours", type=click.FloatRange(0, min_open=True), help="Stop when jobs have cost so much.")
@click.option("--scheduler", default="", metavar="ADDRESS", help="Use the workers of this Dask scheduler (tls://...).")
@click.option("--processor", type=click.Choice(LEVELS), help="Vector instructions (default: x86-64-v3).")
@click.option("--submit", is_flag=True, help="Have the controller be a job too, and leave: with --site.")
@click.option("--as-run", default="", hidden=True)
@click.option("--policy", type=click.Path(path_type=Path), help="The decision under which to archive (`terp policy`).")
@click.option("--no-archive", is_flag=True, help="Leave the archiving to a later `terp archive`.")
@click.option("--take-over", is_flag=True, help="Another controller holds the work and is known to be gone.")
@click.option("--quiet", is_flag=True, help="Tell only what should be looked at.")
@click.option("--json", "as_json", is_flag=True, help="Print the record of the run as JSON.")
def run_command(
    flow: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    site: str | None,
    site_set: tuple[str, ...],
    workers: int | None,
    min_workers: int | None,
    core_hours: float | None,
    scheduler: str,
    processor: str | None,
    submit: bool,
    as_run: str,
    policy: Path | None,
    no_archive: bool,
    take_over: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a flow; the same command again goes on where this one ended.

    FLOW is climatology, imaging or your own path/to/file.py:flow; INPUTS are its first parameters.
    """
    from terp.workflows import api
    from terp.workflows.cli.terminal import Terminal
    from terp.workflows.running.where import Where

    place, values = the_site(site, site_set), _settings(settings)
    where = Where(place, scheduler, workers, min_workers, core_hours, processor or "")
    if submit:
        options: dict[str, Any] = {
            "--site": site,
            "--site-set": site_set,
            "--workers": workers,
            "--min-workers": min_workers,
        }
        options |= {
            "--processor": processor,
            "--core-hours": core_hours,
            "--no-archive": no_archive,
            "--take-over": take_over,
        }
        _told_submitted(api.submit(flow, inputs, values, _needed(place), options, policy), as_json)
        return
    done = api.run(
        flow,
        *inputs,
        where=where,
        archive=not no_archive,
        policy=policy,
        take_over=take_over,
        reporter=Terminal(quiet or as_json),
        as_run=as_run,
        **values,
    )
    click.echo(json.dumps(asdict(done.record), indent=1) if as_json else run_text(done))


def _needed(site: "Site | None") -> "Site":
    from terp.workflows.errors import Usage

    if site is None:
        raise Usage("--submit makes a job of the controller: say at which site, with --site")
    return site


def _told_submitted(record: "RunRecord", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"run": record.id, "job": record.job}))
        return
    click.echo(f"run {record.id} is submitted as job {record.job}; it goes on by itself until it is done")
    click.echo(f"look at it: terp status {record.id}; stop it: terp cancel {record.id}")


def run_text(run: "Run") -> str:
    """Return what came of a run, for people."""
    from terp.workflows.cli.costs import cost_lines

    record = run.record
    lines = [f"run {record.id}"]
    lines += [f"  {name}: {key}" for name, key in record.results.items()]
    lines += [f"  {what}: {value}" for what, value in record.archived.get("facts", {}).items()]
    lines += cost_lines(record.cluster)
    if record.archived:
        lines.append(f"  archived as {record.archived['identifier']} {record.archived['version']}")
        lines.append(f"  in {record.archived['path']}")
        lines.append(f"look at it: terp show {record.id}; open it: terp open {record.id}")
    else:
        lines.append(f"archive it: terp archive {record.id}")
    return "\n".join(lines)
