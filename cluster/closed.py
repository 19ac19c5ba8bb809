"""A Dask preload that closes the HTTP port which schedulers and workers open even with no dashboard."""

from typing import Any


def dask_setup(server: Any) -> None:
    """Close the HTTP port of a scheduler or worker as it starts."""
    http = getattr(server, "http_server", None)
    if http is not None:
        http.stop()
