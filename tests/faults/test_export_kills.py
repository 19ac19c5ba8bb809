"""Killed between any two operations on files, an export is there whole or not at all, and the same command ends it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import crash_export
import killing
import objects

TRIES = 6  # points that are tried in the usual run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One object for all."""
    folder = tmp_path_factory.mktemp("export")
    objects.archived(folder / "home")
    return folder


def kill_everywhere(kind: str, folder: Path, tries: int) -> int:
    [points] = killing.told(Path(crash_export.__file__), kind, folder, tries)
    return int(points)


@pytest.mark.parametrize("kind", crash_export.KINDS)
def test_killed_between_operations_on_files_an_export_is_whole_or_not_there(kind: str, folder: Path) -> None:
    assert kill_everywhere(kind, folder, TRIES) > 60


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", crash_export.KINDS)
def test_killed_between_any_two_operations_on_files_an_export_is_whole_or_not_there(kind: str, folder: Path) -> None:
    kill_everywhere(kind, folder, 0)
