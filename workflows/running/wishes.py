"""What people ask of a run whose controller is elsewhere: a file in its folder that the controller looks at."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from terp.storage import files

_NAME = "wish.json"


def read(folder: Path) -> dict[str, Any]:
    """Return what was asked of a run until now; {} where that is nothing."""
    with suppress(OSError, ValueError):
        found = json.loads((folder / _NAME).read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def ask(folder: Path, **asked: Any) -> dict[str, Any]:
    """Ask for something more of a run: `workers`, `drain` or `stop`; return all that is asked for now.

    What was asked before stays, but where it is asked anew. Raises DiskTrouble.
    """
    wish = {**read(folder), **asked}
    files.replace(folder / _NAME, json.dumps(wish).encode())
    return wish
