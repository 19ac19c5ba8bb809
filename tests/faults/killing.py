"""A process that kills itself before one of its operations on files, and who waits for it."""

import os
import signal
from collections.abc import Callable
from typing import Any

OPERATIONS = ("open", "write", "fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir")


def wrap(name: str, count: list[int], point: int) -> None:
    """Count the calls of a function of `os`; die before the one with the number `point`."""
    true, write = getattr(os, name), os.write

    def call(*args: Any, **kwargs: Any) -> Any:
        number, count[0] = count[0], count[0] + 1
        if number == point:
            if name == "write":
                write(args[0], bytes(args[1])[: len(args[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return true(*args, **kwargs)

    setattr(os, name, call)


def killed(child: Callable[[int], Any]) -> str:
    """Return whether a child was killed, and what it wrote to the descriptor that it was given."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            child(theirs)
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as said:
        text = said.read()
    _, status = os.waitpid(pid, 0)
    return f"{int(os.WIFSIGNALED(status))} {text}"
