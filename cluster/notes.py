"""What the supervisor of a run's jobs writes for others: `cluster.json` in the run's folder, and the site's metrics."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from terp.cluster import metrics

_SHOWN = 12  # lines of a job's log that are told
_READ = 16384  # bytes at its end that these may have


class Notes:
    """Writes what is known of the jobs of a run; `before` is what an earlier start of its controller wrote last."""

    def __init__(self, folder: Path, run: str, collected: str, tell: Callable[[str], None]) -> None:
        self.folder, self.run, self.tell = folder, run, tell
        self.before = self.read("cluster.json")
        self.start = int(self.before.get("start", 0)) + 1  # which start of the controller this is
        self._metrics = Path(collected) if collected else None

    def read(self, name: str) -> dict[str, Any]:
        """Return what a JSON file in the run's folder holds; {} where there is none, or it is damaged."""
        with suppress(OSError, ValueError):
            found = json.loads((self.folder / name).read_bytes())
            return found if isinstance(found, dict) else {}
        return {}

    def last_words(self, name: str) -> str:
        """Return the last lines of a job's log."""
        path = self.folder / "jobs" / name
        with suppress(OSError):
            with path.open("rb") as file:  # a job may say more than there is memory for
                file.seek(max(os.fstat(file.fileno()).st_size - _READ, 0))
                lines = file.read(_READ).decode(errors="replace").splitlines()[-_SHOWN:]
            if lines:
                return "\n".join([f"{path} ends with:", *(f"  {line}" for line in lines)])
        return f"It left no words in {path}"

    def core_hours(self, seconds: dict[str, float]) -> float:
        """Return the core hours of a run: those of earlier starts, and the core seconds of these jobs, by id."""
        earlier = float(self.before.get("core_hours", 0.0))
        counted = {str(one["id"]): float(one["core_hours"]) for one in self.before.get("jobs", ())}
        return earlier + sum(spent / 3600 - counted.get(one, 0.0) for one, spent in seconds.items())

    def write(self, facts: dict[str, Any]) -> None:
        """Write what is known now, whole at any time; what only informs must not stop the run.

        Nothing, where a later start of the controller writes by now.
        """
        if self._replaced():
            return
        path = self.folder / "cluster.json"
        fresh = path.with_name(f".cluster.{os.getpid()}")
        with suppress(OSError):
            fresh.write_text(json.dumps({**facts, "start": self.start}))
            fresh.replace(path)
        if self._metrics is None:
            return
        try:
            metrics.write(self._metrics, self.run, facts)
        except OSError as error:
            self.tell(f"there will be no metrics for the site's Prometheus: {self._metrics}: {error.strerror}")
            self._metrics = None

    def end(self, facts: dict[str, Any]) -> None:
        """Write what is known in the end, and remove the metrics."""
        self.write(facts)
        if self._metrics is not None and not self._replaced():
            metrics.remove(self._metrics, self.run)
            self._metrics = None

    def _replaced(self) -> bool:
        return int(self.read("cluster.json").get("start", 0)) > self.start
