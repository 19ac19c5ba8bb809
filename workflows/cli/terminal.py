"""What a person sees of a run: a live line a stage on a terminal, plain lines elsewhere."""

import re
import sys
import time
from typing import TYPE_CHECKING

import click

from terp.storage.meter import span

if TYPE_CHECKING:
    from terp.workflows.planning.plan import Plan
    from terp.workflows.running.progress import Progress

_PLAIN_EVERY = 10.0  # seconds between plain lines of one stage
_LIVE_EVERY = 0.1
_LONG = 60.0  # seconds without a region after which it is said
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType[float]):
    """A time as people write it, in seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds; fails with words for what is no time."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value))
        if not found:
            self.fail(f'write a time as in "30m" or "6h", not {str(value)!r}', param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class Terminal:
    """Tells a person, on standard error; standard output is for what was asked for."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty()
        self._last = 0.0
        self._open = False

    def say(self, text: str) -> None:
        """Tell something that happened."""
        if not self.quiet:
            self._line(text)

    def warn(self, text: str) -> None:
        """Tell something that the user should look at."""
        self._line(click.style("note: ", fg="yellow") + text)

    def plan(self, plan: "Plan") -> None:
        """Show what a run will do, in one line, and why of what was made otherwise before."""
        from terp.workflows.planning.explain import NEVER  # late: xarray is behind it

        regions = sum(one.step.regions for one in plan.steps)
        stages = f"{len(plan.steps)} stages, {regions:,} regions, {plan.tasks:,} to be made"
        self.say(f"{plan.flow}: {stages}")
        for one in plan.steps:
            if one.missing and one.why != NEVER:
                self.say(f"{one.step.name}: {one.why}")
        if plan.ends:
            self.say(f"the plan ends here: {plan.ends}")

    def progress(self, progress: "Progress") -> None:
        """Show how far a stage is."""
        done = progress.before + progress.done
        ended = done == progress.total
        if self.quiet or (not ended and time.monotonic() - self._last < (_LIVE_EVERY if self.live else _PLAIN_EVERY)):
            return
        self._last = time.monotonic()
        text = self._progress_text(progress, done)
        if self.live:
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)
            self._open = True
        elif not ended or progress.done:
            self._line(text)
        if ended:
            self._close()

    def _progress_text(self, progress: "Progress", done: int) -> str:
        left = progress.total - done
        bar = "█" * (20 * done // max(progress.total, 1))
        text = f"{progress.name}: {done:,}/{progress.total:,} regions"
        if self.live:
            text = f"{progress.name} {bar:░<20} {done:,}/{progress.total:,} regions"
        if progress.done:
            text += f", {progress.rate:,.1f}/s"
        if progress.done and left:
            text += f", {span(left / progress.rate)} to go"
        waiting = time.monotonic() - progress.landed
        if progress.waiting:
            text += f"; {progress.waiting}"
        elif left and waiting > _LONG:
            text += f"; none came back for {span(waiting)}"
        return text

    def _line(self, text: str) -> None:
        self._close()
        click.echo(text, err=True)

    def _close(self) -> None:
        if self._open:
            click.echo("", err=True)
            self._open = False
