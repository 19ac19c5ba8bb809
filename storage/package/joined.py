"""Open what lies in packages, wherever they lie: one package, one band, or all bands as one Dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from terp.storage.archive.ocfl import OBJECT, newest, placed
from terp.storage.errors import BadPackage
from terp.storage.files import disk
from terp.storage.package.packed import PackedProduct, table_of, tables
from terp.storage.package.table import MEMBERS, PACKAGE
from terp.storage.package.zipstore import open_zip

if TYPE_CHECKING:
    import xarray as xr


def open_path(path: Path, group: str = "") -> "xr.Dataset":
    """Return what `terp.storage.open` does."""
    path = path.expanduser().absolute()
    if path.is_dir():
        path = _only_table(path)
    table = table_of(path)
    if table.is_file():
        return PackedProduct(table, _beside(table)).open(group)
    return open_zip(path, group)


def _only_table(folder: Path) -> Path:
    with disk(folder):
        found = tables({one.name: one for one in sorted(folder.iterdir())})
    if len(found) != 1:
        what = f"several results: name one of {', '.join(f'{name}{PACKAGE}' for name in found)}" if found else "none"
        raise BadPackage(f"{folder} should hold one NAME{MEMBERS}, and has {what}")
    return next(iter(found.values()))


def _beside(table: Path) -> Mapping[str, Path]:
    """Return where the files are that lie with a table: of an archived object also in the folders of older versions."""
    home = table.parents[2] if len(table.parents) > 2 else table.parent
    if not (home / f"0={OBJECT}").is_file():
        return {}
    with disk(home):
        inventory = newest(home)[0]
    version = table.relative_to(home).parts[0]
    return placed(home, inventory, version) if version in inventory["versions"] else {}
