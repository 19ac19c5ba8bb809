"""How results are told: a table, the ratios of two commits, a plot."""

import statistics
from pathlib import Path
from typing import Any

BASE = "HAND"
WORDS = 120  # of an error, in letters; the JSON has more
Results = dict[str, Any]  # as __main__ writes them


def medians(candidate: Results) -> dict[str, float]:
    """Return the medians of the runs of a candidate, the largest of its peaks; empty if there are none."""
    if candidate["error"] or not candidate["runs"]:
        return {}
    found = {what: statistics.median(run[what] for run in candidate["runs"]) for what in ("wall", "cpu", "setup")}
    return found | {what: max(run[what] for run in candidate["runs"]) for what in ("pss", "largest")}


def table(results: Results) -> str:
    """Return a table of all rows."""
    return "\n".join(line for letter, row in results["rows"].items() for line in row_lines(letter, row, results["gib"]))


def row_lines(letter: str, row: Results, gib: float) -> list[str]:
    base = medians(row["candidates"].get(BASE, {"error": "not run"}))
    head = f"{'':40} {'wall s':>8} {'x':>6} {'CPU s':>8} {'x':>6} {'PSS MiB':>8} {'set-up s':>8}"
    lines = ["", f"{letter}  {row['title']} ({gib:g} GiB)", head]
    for name, candidate in row["candidates"].items():
        told = medians(candidate)
        if not told:
            lines.append(f"{name:40} FAILED: {(candidate['error'] or 'not run')[:WORDS]}")
            continue
        over = row["cap"] and told["largest"] > row["cap"]
        times = " ".join(f"{told[one]:8.2f} {ratio(told, base, one):>6}" for one in ("wall", "cpu"))
        memory = f"{told['pss'] / 2**20:8.0f} {told['setup']:8.1f}"
        lines.append(f"{name:40} {times} {memory}{'  over the cap' if over else ''}")
    return lines


def ratio(told: Results, base: Results, what: str) -> str:
    return f"{told[what] / base[what]:.2f}" if base and base[what] else "-"


def comparison(old: Results, new: Results) -> str:
    """Return new / old of each candidate that both have, also relative to HAND in the same run."""
    lines = [f"{new['machine']['commit']} / {old['machine']['commit']}: below 1 is less than before"]
    lines.append(f"{'':43} {'wall':>6} {'CPU':>6} {'PSS':>6} {'wall/HAND':>10} {'CPU/HAND':>9}")
    for letter, row in new["rows"].items():
        before, after = (
            {name: medians(one) for name, one in rows["candidates"].items()}
            for rows in (old["rows"].get(letter, {"candidates": {}}), row)
        )
        for name in after:
            lines.append(f"{letter}  {name:40} {compared(before, after, name)}")
    return "\n".join(lines)


def compared(before: dict[str, Results], after: dict[str, Results], name: str) -> str:
    then, now = before.get(name), after[name]
    if not then or not now:
        return "FAILED" if not now else "was not there, or failed"
    plain = " ".join(f"{now[what] / then[what]:6.2f}" for what in ("wall", "cpu", "pss"))
    if not (before.get(BASE) and after.get(BASE)):
        return plain
    base = {what: after[BASE][what] / before[BASE][what] for what in ("wall", "cpu")}
    return f"{plain} {now['wall'] / then['wall'] / base['wall']:10.2f} {now['cpu'] / then['cpu'] / base['cpu']:9.2f}"


def plot(results: Results, path: Path) -> None:
    """Draw wall and CPU seconds of each candidate, relative to HAND, one panel a row."""
    from matplotlib.figure import Figure

    rows = results["rows"]
    heights = [1 + len(row["candidates"]) for row in rows.values()]
    figure = Figure(figsize=(9, 0.5 + 0.35 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(rows), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, (letter, row) in zip(panels, rows.items(), strict=True):
        draw_row(axes, row)
        axes.set_title(f"{letter}: {row['title']}", loc="left", fontsize="medium")
    panels[0].legend(fontsize="small", loc="upper right")
    panels[-1].set_xlabel(f"times {BASE} in the same run; {results['gib']:g} GiB, {results['machine']['cpu']}")
    figure.savefig(path)


def draw_row(axes: Any, row: Results) -> None:
    told = {name: medians(one) for name, one in row["candidates"].items()}
    base = told.get(BASE) or {"wall": 1, "cpu": 1}
    for number, one in enumerate(told.values()):
        if not one:
            axes.text(1, number, " failed", va="center", fontsize="small")
            continue
        for what, shift, colour in (("wall", -0.2, "C0"), ("cpu", 0.2, "C1")):
            label = {"wall": "wall", "cpu": "CPU"}[what] if number == 0 else None
            axes.barh(number + shift, one[what] / base[what], height=0.38, color=colour, label=label)
    axes.set_yticks(range(len(told)), list(told))
    axes.set_ylim(len(told) - 0.5, -0.5)
    axes.set_xscale("log")
