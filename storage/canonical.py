"""One way to write JSON, so that the same content has the same bytes."""

from typing import Any

import orjson
import rfc8785


def canonical(plain: Any) -> bytes:
    """Return canonical JSON: RFC 8785, or with sorted keys where it holds an integer that a double does not."""
    try:
        return rfc8785.dumps(plain)
    except rfc8785.IntegerDomainError:
        return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
