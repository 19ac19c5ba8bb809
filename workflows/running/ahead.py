"""While a worker makes one region, its disk reads what the next needs.

Dask tells a plugin of each worker which tasks wait there. What their regions read is asked of the system, which reads
it into the page cache, while the worker computes; nothing of it is believed or kept here.
"""

import math
from contextlib import suppress
from functools import lru_cache
from queue import SimpleQueue
from threading import Thread
from typing import Any

from distributed.diagnostics.plugin import WorkerPlugin

from terp.storage.grid import Box
from terp.storage.sharded import ShardedArray
from terp.workflows.running.gather import Input, Opened, hull, opened
from terp.workflows.running.task import Task, execute_all, read_box

_WORTH = 1 << 20  # bytes below which a read takes no longer than to ask for it
_MOST = 1 << 29  # bytes for a worker that the page cache of a node has room for beside what workers hold
_CUT = ("map", "partial")  # kinds of tasks that read a part of what was made before


async def dask_setup(worker: Any) -> None:
    """Have a worker read ahead: as a preload of Dask's, which calls this when the worker starts."""
    await worker.plugin_add(ReadAhead())


class ReadAhead(WorkerPlugin):
    """Asks for what tasks read while they wait for their turn."""

    name = "terp-read-ahead"

    def setup(self, worker: Any) -> None:
        """Begin, on a worker."""
        self._tasks, self._waiting = worker.state.tasks, SimpleQueue[Any]()
        Thread(target=self._ask, name=self.name, daemon=True).start()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Hear that a task is in another state."""
        if finish == "ready":
            self._waiting.put(key)

    def teardown(self, worker: Any) -> None:
        """End."""
        self._waiting.put(None)

    def _ask(self) -> None:
        while (key := self._waiting.get()) is not None:
            waits = self._tasks.get(key)
            if waits is None or waits.state != "ready" or getattr(waits.run_spec, "func", None) is not execute_all:
                continue  # it was the worker's turn at once, or another's
            task, product, _attempts, places, *_more = waits.run_spec.args
            with suppress(Exception):  # whatever is wrong there, the read itself tells it
                ask(task, product, places)


def ask(task: Task, product: str, places: list[tuple[str, int]]) -> None:
    """Have the disk read what the regions of a task need, from the first on, where that is much for each."""
    if task.kind not in _CUT:
        return
    target = opened(product)
    if task.together > 1 and len(places) > 1:
        boxes = [hull(target.group(places[0][0]), places)]
    else:
        boxes = [read_box(task, target.group(path), index) for path, index in places]
    for array in (array for one in dict.fromkeys(task.inputs) for array in _arrays(one)):
        _ask_of(array, boxes)


def _ask_of(array: ShardedArray, boxes: list[Box]) -> None:
    left = _MOST
    for box in boxes:
        picks = [box.get(dim, slice(0, n)) for dim, n in zip(array.array.dims, array.shape, strict=True)]
        size = math.prod(pick.stop - pick.start for pick in picks) * array.dtype.itemsize
        if size < _WORTH:
            continue
        left -= size
        if left < 0:
            return
        array.ahead(picks)


@lru_cache(maxsize=64)
def _arrays(one: Input) -> list[ShardedArray]:
    """Return the large arrays of an input, opened apart from those that the worker reads, in another thread."""
    product = Opened(one.folder, one.values).product
    return [product.array(one.group, array.name) for array in product.group(one.group).arrays]
