"""Where tasks land: what workers have made is fetched as it comes, and waits here for the controller.

It is fetched in the thread of Dask's client, many at a time: one after the other, each would be waited for as long as a
message to its worker and back takes.
"""

import asyncio
from queue import Empty, SimpleQueue
from typing import Any

from terp.storage.writing import Written

_AT_ONCE = 64  # tasks: workers are fed again before they have nothing left
Landed = tuple[Any, list[Written] | None]  # the future of a task, and what it has made; None where it has failed


class Landing:
    """The tasks that are expected of a `distributed.Client`; what is not taken in time costs nothing."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._landed = SimpleQueue[tuple[Any, list[Any] | BaseException]]()

    def expect(self, future: Any) -> None:
        """Have a task land here when it is done, has failed or was cancelled."""
        self._client.loop.add_callback(self._bring, future)

    async def _bring(self, future: Any) -> None:
        made: list[Any] | BaseException = []
        try:
            made = await self._client.gather([future], errors="skip", asynchronous=True)
        except asyncio.CancelledError:  # as its client is closed
            pass
        except Exception as error:  # noqa: BLE001 (raised where it is heard)
            made = error
        self._landed.put((future, made))

    def take(self, seconds: float) -> list[Landed]:
        """Return what has landed, as soon as there is any; nothing after so many seconds."""
        found = list[Landed]()
        try:
            found.append(_opened(*self._landed.get(timeout=seconds)))
            while len(found) < _AT_ONCE:
                found.append(_opened(*self._landed.get_nowait()))
        except Empty:
            pass
        return found


def _opened(future: Any, made: list[Any] | BaseException) -> Landed:
    if isinstance(made, BaseException):
        raise made
    return future, made[0] if made else None
