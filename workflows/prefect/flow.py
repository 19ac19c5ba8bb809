"""Flows and stages recorded by Prefect, and not held up by it.

Prefect is told what runs and how it ended. It is not asked for anything that the work needs: if its server
goes away, at any moment, the flow goes on and ends all the same.
"""

import contextlib
import contextvars
import functools
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from terp.storage.scrub import without_secrets
from terp.workflows.errors import Usage
from terp.workflows.prefect.server import CURRENT, Connection

if TYPE_CHECKING:
    from prefect import Flow


_STANDS: contextvars.ContextVar[bool] = contextvars.ContextVar("stands", default=False)


@contextlib.contextmanager
def standing_for_the_flow() -> Iterator[None]:
    """Have the flow run that we are in stand for the flow that is run inside, which gets none of its own."""
    before = _STANDS.set(True)
    try:
        yield
    finally:
        _STANDS.reset(before)


def run_flow(flow: "Flow[Any, Any]", parameters: dict[str, Any], connection: Connection) -> Any:
    """Run a flow as a flow run of Prefect's; its value, or its exception, comes back as it is.

    Prefect is told that it ran and with what, but for secrets, not what it gave: its server may be anybody's. Without
    the server the flow begins, goes on and ends all the same.
    """
    if flow.isasync:
        raise Usage(f"the flow {flow.name!r} is async; write it as a plain function")
    values = flow.validate_parameters(parameters)
    if _STANDS.get():
        before = _STANDS.set(False)  # what the flow itself runs has flow runs of its own
        try:
            return flow.fn(**values)
        finally:
            _STANDS.reset(before)
    call = _Call(functools.partial(flow.fn, **values), connection)
    recorded = flow.with_options(validate_parameters=False)
    recorded.fn = functools.wraps(flow.fn)(functools.partial(_watched, call))
    try:
        return call.through(lambda: recorded(**without_secrets(parameters)), call.fn)
    finally:
        if call.flow_run is not None:
            connection.ended(call.flow_run, "FAILED" if call.error else "COMPLETED")


def record[T](name: str, stage: Callable[[], T]) -> T:
    """Call a stage as a task run of the flow run we are in; without Prefect, or its server, it is just called.

    The value or the exception comes back as it is. Nothing is retried, cached or stored by Prefect.
    """
    connection = CURRENT.get()
    if connection is None or not connection.answers():
        return stage()
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    call = _Call(stage, connection)
    return call.through(task(name=name, retries=0, cache_policy=NO_CACHE, persist_result=False)(call), stage)


def open_to_all(error: BaseException) -> BaseException:
    """Return an error that Prefect may keep, with all that its traceback shows: another one where that has a secret."""
    shown = "".join(traceback.format_exception(error))
    if not isinstance(error, Exception) or without_secrets(shown) == shown:
        return error
    return RuntimeError(without_secrets(f"{type(error).__name__}: {error}"))


class _Call[T]:
    """A call that Prefect's engine makes for us, and what came of it, whatever becomes of the engine."""

    def __init__(self, fn: Callable[[], T], connection: Connection) -> None:
        self.fn, self.connection = fn, connection
        self.began = False
        self.value: list[T] = []
        self.error: BaseException | None = None
        self.told: BaseException | None = None  # the same for Prefect, which keeps what it says
        self.flow_run: UUID | None = None

    def __call__(self) -> None:
        from prefect.exceptions import Abort

        self.began, self.error, self.told = True, None, None
        try:
            self.value.append(self.fn())
        except BaseException as error:
            self.error, self.told = error, open_to_all(error)
            if self.told is error:
                raise
            raise self.told from None
        finally:
            if not self.connection.answers():  # the one way out of the engine without a word to the server
                raise Abort("Prefect's server went away")

    def through(self, engine: Callable[[], object], alone: Callable[[], T]) -> T:
        """What the call gives or raises, by way of the engine or, should that be unable to begin it, alone."""
        from prefect.exceptions import Abort

        try:
            engine()
        except (Exception, Abort) as error:
            if not self.began and self.connection.answers():
                raise
            if error is not self.told and not self.connection.lost:
                self.connection.lose(str(error))
        if not self.began:
            return alone()
        if self.error is not None:
            raise self.error
        return self.value[-1]


def _watched(call: _Call[Any], *_: Any, **__: Any) -> None:
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        call.flow_run = context.flow_run.id
        call.connection.watch(context.flow_run.id)
    call()
