"""The image around a process, by the digest of its file as it is now: what has its name later may be another."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from terp.storage.environment import Environment
from terp.storage.errors import StorageError
from terp.storage.source import sha256_of


def with_digest(environment: Environment, cache: Path) -> tuple[Environment, str]:
    """Return an environment with the SHA-256 of its image, if it is in one; and a warning where that cannot be had."""
    if not environment.image:
        return environment, ""
    image = Path(environment.image)
    with suppress(OSError, StorageError):
        if image.is_file():
            return replace(environment, image_sha256=sha256_of(image, cache)), ""
    return environment, (
        f"the image {image.name} is recorded by its name only, as its file cannot be read where the controller is: "
        "have it be there at the same place to have its digest recorded"
    )
