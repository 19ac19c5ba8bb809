"""How results are told: a table, the ratios of two commits, a plot."""

import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.job import MEASURED, Column

BASE = "HAND"
WORDS = 120  # of an error, in letters; the JSON has more
GIGA = 1e9
Results = dict[str, Any]  # as __main__ writes them


def columns(row: Results) -> list[Column]:
    """Return what is told of a row's runs; results of long ago do not say."""
    return [Column(**one) for one in row.get("columns", map(asdict, MEASURED))]


def medians(row: Results, name: str) -> dict[str, float]:
    """Return the medians of the runs of a candidate, the largest of its peaks; empty if there are none."""
    candidate = row["candidates"].get(name, {"error": "not run"})
    if candidate["error"] or not candidate["runs"]:
        return {}
    runs = candidate["runs"]

    def told(one: Column) -> float:
        return float((max if one.peak else statistics.median)(run[one.key] for run in runs))

    largest = max(run.get("largest", 0) for run in runs)
    return {one.key: told(one) for one in columns(row) if one.key in runs[0]} | {"largest": largest}


def table(results: Results) -> str:
    """Return a table of all rows, below what it was measured on."""
    rows = [line for letter, row in results["rows"].items() for line in row_lines(letter, row, results)]
    return "\n".join([*about(results), *rows])


def about(results: Results) -> list[str]:
    """What the figures depend on; results of long ago have no bandwidths."""
    known, rates = results["machine"], results.get("bandwidth", {})
    facts = [known.get("when", ""), f"commit {known['commit']}", f"{known.get('cores', '?')} cores of {known['cpu']}"]
    lines = [", ".join(filter(None, facts)) + f", rounds: {results.get('rounds', '?')}"]
    gigas = ", ".join(f"{what} {rate / GIGA:.1f}" for what, rate in rates.items() if what != "files")
    return [*lines, f"GB/s: {gigas}; small files {rates['files']:,.0f} a second"] if rates else lines


def row_lines(letter: str, row: Results, results: Results) -> list[str]:
    base, shown = medians(row, BASE), columns(row)
    relative = BASE in row["candidates"]
    size = row.get("size", "" if "columns" in row else f"{results['gib']:g} GiB")
    head = " ".join(f"{one.heading:>8}" + (f" {'x':>6}" if one.relative and relative else "") for one in shown)
    lines = ["", f"{letter}  {row['title']}{size and f' ({size})'}", f"{'':40} {head}"]
    for name, candidate in row["candidates"].items():
        told = medians(row, name)
        if not told:
            lines.append(f"{name:40} FAILED: {(candidate['error'] or 'not run')[:WORDS]}")
            continue
        over = row.get("cap") and told["largest"] > row["cap"]
        values = " ".join(cell(one, told, base, relative) for one in shown)
        lines.append(f"{name:40} {values}{'  over the cap' if over else ''}")
    return lines + floor_lines(row, base, shown[0], relative)


def cell(one: Column, told: dict[str, float], base: dict[str, float], relative: bool) -> str:
    """A value, as wide as its heading, and how many times HAND's it is."""
    width = max(8, len(one.heading))
    value = f"{told[one.key] * one.scale:{width},.{one.digits}f}" if one.key in told else f"{'-':>{width}}"
    return f"{value} {ratio(told, base, one.key):>6}" if one.relative and relative else value


def floor_lines(row: Results, base: dict[str, float], first: Column, relative: bool) -> list[str]:
    """What the first column cannot be below."""
    if row.get("floor") is None:
        return []
    told = {first.key: row["floor"]}
    return [f"{'floor':40} {cell(first, told, base, relative)}"]


def ratio(told: dict[str, float], base: dict[str, float], what: str) -> str:
    return f"{told[what] / base[what]:.2f}" if base and base[what] else "-"


def comparison(old: Results, new: Results) -> str:
    """Return new / old of each candidate that both have, also relative to HAND in the same run."""
    lines = [f"{new['machine']['commit']} / {old['machine']['commit']}: below 1 is less than before"]
    head: list[str] = []
    for letter, row in new["rows"].items():
        shown = [one for one in columns(row) if one.compared]
        both = [one for one in shown if one.relative and BASE in row["candidates"]]
        words = [one.heading for one in shown] + [f"{one.heading}/{BASE}" for one in both]
        if words != head:
            lines.append(f"{'':44} {'  '.join(words)}")
            head = words
        before = old["rows"].get(letter, {"candidates": {}})
        for name in row["candidates"]:
            lines.append(f"{letter:3} {name:40} {compared(before, row, name, shown, both, words)}")
    return "\n".join(lines)


def compared(
    before: Results, after: Results, name: str, shown: list[Column], both: list[Column], words: list[str]
) -> str:
    then, now = medians(before, name), medians(after, name)
    if not then or not now:
        return "FAILED" if not now else "was not there, or failed"
    ratios = [over(now.get(one.key), then.get(one.key)) for one in shown]
    old, new = medians(before, BASE), medians(after, BASE)
    if old and new:
        ratios += [over(over(now[one.key], then[one.key]), over(new[one.key], old[one.key])) for one in both]
    return "  ".join(f"{value:{len(word)}.2f}" for value, word in zip(ratios, words, strict=False))


def over(above: float | None, below: float | None) -> float:
    """Return a ratio, NaN if there is none."""
    return above / below if above is not None and below else float("nan")


def plot(results: Results, path: Path) -> None:
    """Draw what is relative to HAND as times of it, with the floor, one panel a row; else the first column as it is."""
    from matplotlib.figure import Figure

    rows = results["rows"]
    heights = [1.6 + len(row["candidates"]) for row in rows.values()]
    figure = Figure(figsize=(9, 0.5 + 0.35 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    shared = None
    for axes, (letter, row) in zip(panels, rows.items(), strict=True):
        times = bool(medians(row, BASE))
        if times and shared:
            axes.sharex(shared)
        shared = axes if times and not shared else shared
        draw_row(axes, row)
        unit = f"times {BASE}" if times else columns(row)[0].heading
        axes.set_title(f"{letter}: {row['title']} ({unit})", loc="left", fontsize="medium")
        axes.legend(fontsize="x-small", loc="upper right")
    panels[-1].set_xlabel(f"{results['gib']:g} GiB, {results['machine']['cpu']}")
    figure.savefig(path)


def draw_row(axes: Any, row: Results) -> None:
    told, base = {name: medians(row, name) for name in row["candidates"]}, medians(row, BASE)
    first, *rest = columns(row)
    drawn = [first, *(one for one in rest if one.relative)][:2] if base else [first]
    scales = {one.key: 1 / base[one.key] if base and base[one.key] else one.scale for one in drawn}
    for place, one in enumerate(drawn):
        shift = (place - (len(drawn) - 1) / 2) * 0.4
        there = [(number, values[one.key] * scales[one.key]) for number, values in enumerate(told.values()) if values]
        if there:
            axes.barh(
                [at + shift for at, _ in there], [x for _, x in there], 0.38, color=f"C{place}", label=one.heading
            )
    for number, values in enumerate(told.values()):
        if not values:
            axes.text(0.01, number, "failed", va="center", fontsize="small", transform=axes.get_yaxis_transform())
    if row.get("floor") is not None:
        axes.axvline(row["floor"] * scales[first.key], color="k", linestyle=":", label="floor")
    axes.set_yticks(range(len(told)), list(told))
    axes.set_ylim(len(told) - 0.5, -0.5)
    axes.set_xscale("log")
