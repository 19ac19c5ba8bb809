"""What regions have really taken of memory, as runs recorded it: better for a plan than what was tried before."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from terp.workflows.planning.step import Step
from terp.workflows.running.record import RunRecord, StageRecord

_MORE = 1.2  # times what was expected, beyond which people are told
_TELLING = 32 << 20  # bytes of blocks whose peak tells of others too: of less it is mostly the worker itself


class Peaks:
    """The most that workers held for regions in some runs, by the code of the stage and the size of blocks."""

    def __init__(self, runs: Iterable[RunRecord]) -> None:
        self._seen: dict[str, dict[int, int]] = defaultdict(dict)
        for stage in (stage for run in runs for stage in run.stages if stage.memory and stage.code):
            self._seen[stage.code][stage.blocks] = stage.memory

    def took(self, step: Step, noted: StageRecord, peak: int) -> str:
        """Note that a region of a step took so many bytes at the peak; return words where that is a surprise."""
        if peak <= noted.memory:
            return ""
        first, expected, much = not noted.memory, step.memory, step.need.blocks > step.need.itself
        noted.memory, noted.blocks, noted.code = peak, step.need.held, step.code
        self._seen[step.code][step.need.held] = peak
        if first and (peak > _MORE * expected or (much and peak < expected / _MORE)):
            return f"{step.name}: a worker needs {peak >> 20:,} MiB, measured; {expected >> 20:,} MiB were expected"
        return ""

    def revised(self, step: Step) -> Step:
        """Return a step with what regions that its code has made took, of blocks as near in size as there were.

        Blocks of another size are taken to need as many times themselves.
        """
        seen, held = self._seen.get(step.code, {}), step.need.held
        telling = [size for size in seen if size == held or size >= _TELLING]
        if not telling:
            return step
        nearest = min(telling, key=lambda size: abs(math.log(max(size, 1) / max(held, 1))))
        return replace(step, need=step.need.measured_on(nearest, seen[nearest]))
