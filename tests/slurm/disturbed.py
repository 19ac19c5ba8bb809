"""A run at the testbed that something befalls: started as a user starts it, and watched by what it writes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import runs

ROOT = Path(__file__).resolve().parents[2]
FLOWS = ROOT / "tests/faults/flows.py"
TERP = str(Path(sys.executable).with_name("terp"))
PACE = 0.2  # seconds that a region of the slow stage takes at least
REGIONS = 216

PLAIN = {"patience": "12", "poll": "1"}  # of the testbed's own: the tests are to be quick


class Disturbed:
    """`terp run` of a slow flow in its own home, with workers in jobs, while a test does its worst."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home, self.environment = home, {**os.environ, **environment, "TERP_HOME": str(home)}
        self.process: subprocess.Popen[str] | None = None
        self.began = 0.0

    def command(self, *words: str, flow: str = "departures", site: Mapping[str, str] | None = None) -> list[str]:
        """The command line of a run, with keys of the site."""
        keys = {**PLAIN, **(site or {})}
        asked = [word for name, value in keys.items() for word in ("--site-set", f"{name}={value}")]
        pace = ["--set", f"seconds={PACE}"] if flow == "departures" and "--set" not in words else []
        return [TERP, "run", f"{FLOWS}:{flow}", *pace, "--no-archive", "--site", "testbed", *asked, *words]

    def start(self, *words: str, flow: str = "departures", site: Mapping[str, str] | None = None) -> "Disturbed":
        """Start it."""
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            self.command(*words, flow=flow, site=site),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def end(self, seconds: float = 150) -> tuple[int, str]:
        """Wait for its end: exit code, and all that it said."""
        assert self.process is not None
        try:
            said, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            said, _ = self.process.communicate()
            raise AssertionError(f"it has not ended in {seconds} s; it said:\n{said}\n{self.last_words()}") from None
        return self.process.returncode, said

    def kill(self) -> None:
        """Kill the controller, as the kernel would."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def terp(self, *words: str) -> str:
        """Another command of terp's; it must go well."""
        done = subprocess.run([TERP, *words], env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def recorded(self) -> int:
        """How many regions of the slow stage were ever recorded, over all controllers."""
        return runs.recorded(self.home)

    def until_recorded(self, regions: int, seconds: float = 60) -> None:
        """Wait until so many regions are recorded."""
        self.until(lambda: self.recorded() >= regions, f"{regions} regions", seconds)

    def until(self, what: Callable[[], object], name: str, seconds: float = 60) -> None:
        """Wait until something is so; a run that has ended before never will."""
        end = time.monotonic() + seconds
        while not what():
            ended = self.process is not None and self.process.poll() is not None
            assert not ended, f"it ended before {name}: {self.process.communicate()[0] if self.process else ''}"
            assert time.monotonic() < end, f"no {name} in {seconds} s: {self.last_words()}"
            time.sleep(0.05)

    def facts(self) -> dict[str, object]:
        """What the controller wrote of its jobs last."""
        for path in sorted(self.home.glob("runs/*/cluster.json"), key=lambda one: one.stat().st_mtime, reverse=True):
            with suppress(ValueError):
                found: dict[str, object] = json.loads(path.read_bytes())
                return found
        return {}

    def jobs(self) -> list[dict[str, str]]:
        """The jobs of the newest run, as its controller saw them last."""
        found = self.facts().get("jobs", [])
        assert isinstance(found, list)
        return found

    def running(self) -> list[str]:
        """Ids of the jobs whose workers are at work."""
        return [one["id"] for one in self.jobs() if one["state"] == "RUNNING" and one["workers"]]

    def node(self) -> str:
        """A node that works for it."""
        return next(one["nodes"] for one in self.jobs() if one["state"] == "RUNNING" and one["workers"])

    def run_id(self) -> str:
        """The id of the newest run."""
        return max(self.home.glob("runs/*"), key=lambda one: one.stat().st_mtime).name

    def left(self, bed: Any) -> list[str]:
        """Jobs and processes of this home's runs that are there."""
        names = {f"terp-{one.name}" for one in self.home.glob("runs/*")}
        jobs = [f"job {job.number} {job.state}" for job in bed.jobs() if job.name.removesuffix("-controller") in names]
        return jobs + [line for line in bed.processes().values() if str(self.home) in line]

    def until_quiet(self, bed: Any, seconds: float = 60) -> None:
        """Wait until nothing of it is left, as SLURM takes a moment to tidy up after jobs."""
        end = time.monotonic() + seconds
        while left := self.left(bed):
            assert time.monotonic() < end, left
            time.sleep(0.1)

    def last_words(self) -> str:
        """What its jobs left in their logs."""
        return "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in self.home.glob("runs/*/jobs/*.log"))

    def key_files(self) -> list[Path]:
        """The files of keys that there are."""
        return [path for path in (self.home / "keys").rglob("*") if path.is_file()]


def remarks(said: str) -> list[str]:
    """The notes in what a run said."""
    return re.findall(r"note: (.*)", said)
