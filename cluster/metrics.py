"""What a run is at, as a text file for the site's Prometheus: node_exporter's textfile collector reads it.

No port is opened. The run's id is all that is told of whose it is.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_MODE = 0o644  # the collector is another user

type _Sample = tuple[Mapping[str, str], float]


def file_of(folder: Path, run: str) -> Path:
    """Return where the metrics of a run are."""
    return folder / f"terp-{run}.prom"


def write(folder: Path, run: str, facts: Mapping[str, Any]) -> None:
    """Put the metrics of a run there, whole at any time; `facts` are those of `Supervisor.jobs`. Raises OSError."""
    path = file_of(folder, run)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")  # the collector reads what ends in .prom
    try:
        fresh.write_text(exposition(run, facts))
        fresh.chmod(_MODE)
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def remove(folder: Path, run: str) -> None:
    """Remove the metrics of a run that is over; where there are none, or they may not be removed, nothing happens."""
    with suppress(OSError):
        file_of(folder, run).unlink()


def exposition(run: str, facts: Mapping[str, Any]) -> str:
    """Return what is known of the jobs of a run in Prometheus' text format."""
    labels = {"run": run, "flow": run.rsplit("-", 3)[0], "site": str(facts["site"])}
    return "".join(_family(name, kind, about, samples) for name, kind, about, samples in _families(labels, facts))


def _families(labels: Mapping[str, str], facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[_Sample]]]:
    def by(label: str, values: Mapping[str, float]) -> list[_Sample]:
        return [({**labels, label: key}, value) for key, value in sorted(values.items())]

    there = [one for one in facts["jobs"] if not one["over"]]
    ended = [one for one in facts["jobs"] if one["over"]]
    left = {facts["stage"]: facts["regions"]["left"]} if facts["stage"] else {}
    yield (
        "terp_regions_done_total",
        "counter",
        "Regions recorded by this controller.",
        by("stage", facts["done_by_stage"]),
    )
    yield "terp_regions_left", "gauge", "Regions of the stage at work that are not recorded.", by("stage", left)
    yield "terp_workers", "gauge", "Workers that are there.", [(labels, facts["workers"])]
    yield "terp_workers_wanted", "gauge", "Workers that the work is worth.", [(labels, facts["wanted"])]
    yield "terp_jobs", "gauge", "Jobs of workers in the queue, by SLURM's state.", by("state", _states(there))
    yield (
        "terp_jobs_ended_total",
        "counter",
        "Jobs of workers that ended, by SLURM's state.",
        by("state", _states(ended)),
    )
    yield "terp_core_hours_total", "counter", "Core hours of the jobs of workers.", [(labels, facts["core_hours"])]
    yield "terp_sbu_total", "counter", "What these core hours are charged as.", [(labels, facts["sbu"])]
    yield "terp_slurm_calls_total", "counter", "Calls of SLURM's commands.", by("command", facts["calls"])


def _states(jobs: list[Mapping[str, Any]]) -> Mapping[str, float]:
    return Counter(str(one["state"]).lower() for one in jobs)


def _family(name: str, kind: str, about: str, samples: list[_Sample]) -> str:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{{{_labels(labels)}}} {float(value):.10g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
