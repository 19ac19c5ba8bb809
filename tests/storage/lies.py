"""Lies of a file system, told within this process, and files that come late."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

type Call = Callable[..., Any]


@contextmanager
def lying(name: str, lie: Callable[[Call], Call]) -> Iterator[None]:
    """Let a function of `os` lie."""
    true = getattr(os, name)
    setattr(os, name, lie(true))
    try:
        yield
    finally:
        setattr(os, name, true)


def fails(code: int, when: Callable[[int], bool]) -> Callable[[Call], Call]:
    """Fail those calls, counted from 0, for which `when` says so."""
    count = iter(range(10**6))

    def lie(true: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            if when(next(count)):
                raise OSError(code, os.strerror(code))
            return true(*args, **kwargs)

        return call

    return lie


def denies(code: int) -> Callable[[Call], Call]:
    """Do the work, then report an error, as a repeated request on a network file system does."""

    def lie(true: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> None:
            true(*args, **kwargs)
            raise OSError(code, os.strerror(code))

        return call

    return lie


def later(seconds: float, what: Callable[[], Any]) -> threading.Timer:
    timer = threading.Timer(seconds, what)
    timer.start()
    return timer
