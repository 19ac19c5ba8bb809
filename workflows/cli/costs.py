"""What a run's jobs cost and used, as a short table."""

from collections.abc import Mapping
from typing import Any

_HEAD = ("", "jobs", "core hours", "SBU", "memory", "CPU", "energy")


def cost_lines(cluster: Mapping[str, Any]) -> list[str]:
    """Return the lines that tell what jobs cost, from what a run's record has of them; [] where it has nothing."""
    costs = cluster.get("accounting", {})
    if "total" not in costs:
        return [f"  what the jobs cost is not known: {costs['trouble']}"] if costs else []
    total = costs["total"]
    rows = [_HEAD, *(_row(name, one) for name, one in costs["stages"].items()), _row("total", total)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = [f"  jobs at {cluster.get('site', 'a site')}, by {costs['source']}:"]
    for name, *cells in rows:
        beside = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join(["   ", name.ljust(widths[0]), *beside]))
    return [*lines, *_advice(total)]


def _row(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    memory, cpu, energy = one["memory"], one["cpu_efficiency"], one["energy"]
    return (
        name,
        f"{one['jobs']:,}",
        f"{one['core_hours']:,.4g}",
        f"{one['sbu']:,.4g}",
        _size(memory["used"]) if memory else "-",
        f"{cpu:.0%}" if cpu is not None else "-",
        f"{energy['joules'] / 3600:,.3g} Wh" if energy else "-",
    )


def _size(count: int) -> str:
    from terp.storage.meter import size

    return size(count)


def _advice(total: Mapping[str, Any]) -> list[str]:
    """Return what may be asked for the next time, and how the energy is known."""
    lines, memory, again = [], total["memory"], total["starts"] - total["jobs"]
    if again:
        lines.append(f"  {again} of {total['starts']} starts were of jobs that were put back into the queue")
    if memory and "enough" not in memory:
        lines.append(f"  jobs ran out of the {_size(memory['asked'])} that they asked for")
    elif memory and memory["enough"] < memory["asked"]:
        cure = f'memory_per_core = "{memory["memory_per_core"]}"'
        lines.append(f"  jobs asked for {_size(memory['asked'])}; {_size(memory['enough'])} would do: {cure}")
    elif memory:
        lines.append(f"  jobs asked for {_size(memory['asked'])}, of which hardly any was to spare")
    return [*lines, *([f"  energy is {total['energy']['how']}"] if total["energy"] else [])]
