"""The places of copies that a home knows."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from terp.storage.errors import PlaceTrouble
from terp.storage.files import disk
from terp.storage.home import Home
from terp.storage.places import Folder, Place


def places_of(home: Home) -> Mapping[str, Place]:
    """Return the registered places by their names; raises PlaceTrouble where custody/places.toml is none."""
    path = home.custody / "places.toml"
    with disk(path):
        text = path.read_text() if path.exists() else ""
    try:
        return {name: Folder(name, Path(one["path"])) for name, one in tomllib.loads(text).items()}
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise PlaceTrouble(f"{path} is no list of places: {error}") from None
