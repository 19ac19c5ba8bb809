"""Who is told what happens in a run."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from terp.storage.scrub import without_secrets
from terp.workflows.planning.plan import Plan
from terp.workflows.running.clock import now
from terp.workflows.running.progress import Progress

log = logging.getLogger("terp")


class Reporter(Protocol):
    """Whoever is told what happens."""

    def plan(self, plan: Plan) -> None:
        """Show what a run will do."""

    def say(self, text: str) -> None:
        """Tell something that happened."""

    def warn(self, text: str) -> None:
        """Tell something that the user should look at."""

    def progress(self, progress: Progress) -> None:
        """Show how far a stage is."""


class LogReporter:
    """Tell what happens to Python's logging, for whoever listens there."""

    def say(self, text: str) -> None:
        """Tell something that happened."""
        log.info(text)

    def warn(self, text: str) -> None:
        """Tell something that the user should look at."""
        log.warning(text)

    def plan(self, plan: Plan) -> None:
        """Show what a run will do."""
        log.info("%s: %d regions to be made", plan.flow, plan.tasks)

    def progress(self, progress: Progress) -> None:
        """Show how far a stage is."""
        log.debug("%s: %d of %d regions", progress.name, progress.before + progress.done, progress.total)


class Logged:
    """Tells another reporter, and writes it to the run's log too; warnings also to `warnings`, each once.

    Words are told without secrets: they may be of whatever a stage or a server said.
    """

    def __init__(self, other: Reporter, path: Path, warnings: list[str]) -> None:
        self.other, self.path, self.warnings = other, path, warnings

    def _write(self, text: str) -> None:
        with suppress(OSError), self.path.open("a") as file:  # a log that cannot be written stops no run
            file.write(f"{now()} {text}\n")

    def plan(self, plan: Plan) -> None:
        """Log and pass on what a run will do."""
        self._write(f"{plan.flow} {without_secrets(plan.parameters)}: {plan.tasks:,} regions to be made")
        self.other.plan(plan)

    def say(self, text: str) -> None:
        """Log and pass on something that happened."""
        text = without_secrets(text)
        self._write(text)
        self.other.say(text)

    def warn(self, text: str) -> None:
        """Log and pass on something to be looked at."""
        text = without_secrets(text)
        self._write(f"note: {text}")
        if text not in self.warnings:
            self.warnings.append(text)
        self.other.warn(text)

    def progress(self, progress: Progress) -> None:
        """Log the end of a stage; pass all on."""
        if progress.before + progress.done == progress.total:
            self._write(f"{progress.name}: {progress.total:,} regions, {progress.done:,} made now")
        self.other.progress(progress)
