"""`terp plan` and `terp run`."""

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from terp.workflows.api import Run
    from terp.workflows.planning.plan import Plan

_flow = [
    click.argument("flow"),
    click.argument("inputs", nargs=-1),
    click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter (JSON or text)."),
]


def _with_flow(function: Any) -> Any:
    for decorate in reversed(_flow):
        function = decorate(function)
    return function


def _settings(given: tuple[str, ...]) -> dict[str, Any]:
    from terp.workflows.planning.load import setting

    return dict(setting(text) for text in given)


@click.command("plan")
@_with_flow
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan_command(flow: str, inputs: tuple[str, ...], settings: tuple[str, ...], as_json: bool) -> None:
    """Show all that a run would do, and do none of it.

    FLOW is climatology, imaging or your own path/to/file.py:flow; INPUTS are its first parameters.
    """
    from terp.workflows.api import plan

    made = plan(flow, *inputs, **_settings(settings))
    click.echo(json.dumps(made.to_json(), indent=1) if as_json else plan_text(made))


def plan_text(plan: "Plan") -> str:
    """Return a plan as a table for people."""
    from terp.workflows.cli.terminal import size, span

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
                size(one.step.memory),
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
    plain = plan.to_json()
    lines += ["", f"{plan.flow}: {plan.tasks:,} tasks, {size(plain['bytes'])} in {plain['files']:,} shards"]
    lines += [
        f"a worker needs about {size(plain['worker_memory'])}; one worker about {span(plain['seconds_estimate'])}"
    ]
    lines += ["memory and time are estimates until a region was made; bytes are before compression"]
    lines += [f"note: {doubt}" for one in plan.steps for doubt in one.step.doubts]
    if plan.ends:
        lines.append(f"the plan ends here: {plan.ends}")
    return "\n".join(lines)


@click.command("run")
@_with_flow
@click.option("--workers", type=click.IntRange(1), help="Worker processes (default: one a core).")
@click.option("--no-archive", is_flag=True, help="Leave the archiving to a later `terp archive`.")
@click.option("--take-over", is_flag=True, help="Another controller holds the work and is known to be gone.")
@click.option("--quiet", is_flag=True, help="Tell only what should be looked at.")
@click.option("--json", "as_json", is_flag=True, help="Print the record of the run as JSON.")
def run_command(
    flow: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    workers: int | None,
    no_archive: bool,
    take_over: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a flow; the same command again goes on where this one ended.

    FLOW is climatology, imaging or your own path/to/file.py:flow; INPUTS are its first parameters.
    """
    from terp.workflows.api import run
    from terp.workflows.cli.terminal import Terminal

    done = run(
        flow,
        *inputs,
        workers=workers,
        archive=not no_archive,
        take_over=take_over,
        reporter=Terminal(quiet or as_json),
        **_settings(settings),
    )
    click.echo(json.dumps(vars(done.record), default=vars, indent=1) if as_json else run_text(done))


def run_text(run: "Run") -> str:
    """Return what came of a run, for people."""
    record = run.record
    lines = [f"run {record.id}"]
    lines += [f"  {name}: {key}" for name, key in record.results.items()]
    lines += [f"  {what}: {value}" for what, value in record.archived.get("facts", {}).items()]
    if record.archived:
        lines.append(f"  archived as {record.archived['identifier']} {record.archived['version']}")
        lines.append(f"  in {record.archived['path']}")
        lines.append(f"look at it: terp show {record.id}; open it: terp open {record.id}")
    else:
        lines.append(f"archive it: terp archive {record.id}")
    return "\n".join(lines)
