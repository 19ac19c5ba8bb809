"""Lies of a file system, told within this process, and files that come late."""

import builtins
import errno
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

type Call = Callable[..., Any]


@contextmanager
def lying(name: str, lie: Callable[[Call], Call], module: ModuleType = os) -> Iterator[None]:
    """Let a function of `os` lie, or of another module."""
    true = getattr(module, name)
    setattr(module, name, lie(true))
    try:
        yield
    finally:
        setattr(module, name, true)


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


GROWING = ("open", "write", "fsync", "link", "mkdir")  # what wants room


@contextmanager
def full(good: int) -> Iterator[list[int]]:
    """Let the disk be full after so many operations that want room, and stay so; give where they are counted."""
    count = [0]

    def refusing(wants: Callable[..., Any]) -> Callable[[Call], Call]:
        def lie(true: Call) -> Call:
            def call(*args: Any, **kwargs: Any) -> Any:
                if wants(*args, **kwargs):
                    number, count[0] = count[0], count[0] + 1
                    if number >= good:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return true(*args, **kwargs)

            return call

        return lie

    def makes(_: Any, flags: int, *__: Any, **___: Any) -> int:
        return flags & os.O_CREAT

    def changes(_: Any, mode: str = "r", *__: Any, **___: Any) -> set[str]:
        return set(mode) & set("wax+")

    with ExitStack() as lies:
        for name in GROWING:
            lies.enter_context(lying(name, refusing(makes if name == "open" else lambda *_, **__: True)))
        for module in (io, builtins):
            lies.enter_context(lying("open", refusing(changes), module))
        yield count
