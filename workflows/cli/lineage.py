"""`terp why` and `terp impact`: what a value was made of, and what was made of an input."""

import json
from collections.abc import Iterator
from typing import Any

import click

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
_DIGITS = 16  # of a digest that are shown
_NAMES = 8  # pieces of code that are named


@click.command("why")
@click.argument("reference")
@click.argument("result", default="")
@click.option("--variable", default="", help="A variable, where the result has several groups.")
@click.option("--at", multiple=True, metavar="DIM=LABEL", help="Where the value is; again for each dimension.")
@_json
def why_command(reference: str, result: str, variable: str, at: tuple[str, ...], as_json: bool) -> None:
    """Tell how a value was made and of what, down to the files of its sources.

    REFERENCE is a product, run or archived object; RESULT one of its results. A LABEL is one of the coordinate (a part
    of a date, the nearest number), or a number from 0 where there is none. Without a label for a dimension, all of it
    is asked about.
    """
    from terp.storage.home import Home
    from terp.workflows.results.why import why

    told = why(Home.here(), reference, result, variable, dict(map(_pair, at)))
    click.echo(json.dumps(told, indent=1) if as_json else "\n".join(_why(told)))


def _pair(text: str) -> tuple[str, str]:
    from terp.workflows.errors import Usage

    dim, equals, label = text.partition("=")
    if not (dim and equals and label):
        raise Usage(f"--at takes DIM=LABEL, as in --at time=2010-01, not {text!r}")
    return dim, label


def _why(told: dict[str, Any]) -> Iterator[str]:
    from terp.storage.meter import size, span

    where = ", ".join(f"{dim} {one['text']}" for dim, one in told["at"].items())
    several = told["asked"] > 1
    which = f"{told['asked']:,} regions, the first" if several else "region"
    yield f"{where or 'this'} is in {which} {told['region']:,} of {told['regions']:,} of {told['product']}"
    yield f"  {'they hold' if several else 'it holds'} {_box(told['box'])}"
    if several:
        yield "  of the first:"
    for one in told["shards"]:
        yield f"  {one['key']}: {size(one['bytes'])}, BLAKE3 {one['blake3'][:_DIGITS]}"
    made = told["made"]
    if made:
        again = f", after it was begun {made['generation']} times before" if made["generation"] else ""
        yield f"  made in {span(made['seconds'])} by {made['worker']}, {made['when'] or 'nobody noted when'}{again}"
    yield from _stage(told["stage"])
    if told["runs"]:
        yield f"  in {', '.join(told['runs'])}"
    for step in told["from"]:
        yield from _step(step)


def _stage(stage: dict[str, Any]) -> Iterator[str]:
    names = ", ".join(list(stage["code"])[:_NAMES])
    more = f" and {len(stage['code']) - _NAMES} more" if len(stage["code"]) > _NAMES else ""
    yield f"  by the stage {stage['name']}: {names}{more} (BLAKE3 {stage['code_blake3'][:_DIGITS]})"
    for kind in ("parameters", "libraries"):
        if stage[kind]:
            yield f"  {kind}: {', '.join(f'{name} {value}' for name, value in stage[kind].items())}"


def _step(step: dict[str, Any]) -> Iterator[str]:
    group = f" {step['group']}" if step["group"] else ""
    if "product" not in step:
        yield f"of the source {step['path'] or 'that'}{group}: {_box(step['box'])}"
        yield f"  for {step['by']}, in {step['files']:,} of {step['of']:,} files"
        for name, digest in step["sha256"].items():
            yield f"  {name or 'the file'}, SHA-256 {digest}"
    elif step["lost"]:
        yield f"of {step['product']}{group}: {_box(step['box'])}"
        yield f"  for {step['by']}; it was removed, and what it was made of is not known here"
    else:
        yield f"of {step['product']}{group}: {_box(step['box'])}"
        more = ", ..." if step["shards"] > len(step["first"]) else ""
        yield f"  for {step['by']}, in {step['shards']:,} of {step['of']:,} shards: {', '.join(step['first'])}{more}"


def _box(box: dict[str, list[int]]) -> str:
    return ", ".join(f"{dim} {start:,} to {stop - 1:,}" for dim, (start, stop) in box.items()) or "all there is"


@click.command("impact")
@click.argument("source", metavar="INPUT")
@_json
def impact_command(source: str, as_json: bool) -> None:
    """Tell what was made of INPUT: a file, folder or URL, a SHA-256, or a product.

    Over all runs and archived objects: products, also those that were removed since, runs and archived objects. A file
    that was changed since it was read is told by digest.
    """
    from terp.storage.home import Home
    from terp.workflows.results.impact import impact

    told = impact(Home.here(), source)
    click.echo(json.dumps(told, indent=1) if as_json else "\n".join(_impact(told)))


def _impact(told: dict[str, Any]) -> Iterator[str]:
    for version in told["versions"]:
        yield from _version(version)
    for one in told["products"]:
        yield f"product {one['product']}, made of {_of(one)}"
    for one in told["gone"]:
        yield f"gone: product {one['product']}, which was made of {_of(one)}"
    for run in told["runs"]:
        yield f"run {run['run']}, {run['state']}"
    for one in told["archived"]:
        yield f"archived {one['identifier']} {one['version']}, by {one['run'] or 'others'}"
    for damage in told["damaged"]:
        yield f"note: {damage}"


def _of(made: dict[str, Any]) -> str:
    return (
        ", ".join([*made["inputs"], *(f"SHA-256 {digest}" for digest in made["sha256"][:_NAMES])])
        or "what nobody tells"
    )


def _version(version: dict[str, Any]) -> Iterator[str]:
    read = f"read by {', '.join(version['runs'])}" if version["runs"] else "which no run has read"
    state = "as it is now" if version["now"] else "as it was"
    for name, digest in list(version["sha256"].items())[:_NAMES]:
        known = name != digest
        yield f"{name} {state}: SHA-256 {digest}, {read}" if known else f"SHA-256 {digest}"
