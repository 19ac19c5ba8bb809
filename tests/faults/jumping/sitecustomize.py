"""A clock that somebody sets back by an hour as soon as there is a first product; its own steady clock goes on."""

import os
import time
from pathlib import Path

_real, _products, _back = time.time, Path(os.environ["TERP_HOME"], "products"), []


def _told() -> float:
    if not _back and _products.is_dir() and any(_products.iterdir()):
        _back.append(3600)
    return _real() - sum(_back)


time.time = _told
