"""Killed between any two operations on files, a product is finished by the same work, in the same bytes."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "storage"))
import crash
import killing
import products
import runs

from terp.storage import files
from terp.storage.product import StoredProduct

SAMPLE = 13  # of so many points one is tried


def begun(scenario: str, folder: Path) -> Path:
    """What a scenario begins with."""
    folder.mkdir(parents=True, exist_ok=True)
    crash.prepare(scenario, folder)
    return folder


def kill_at(template: Path, folder: Path, points: list[int]) -> list[tuple[bool, list[str]]]:
    """Return, for each point, whether a process was killed there, the number of operations, and what it said."""
    said = [line.split() for line in killing.told(Path(crash.__file__), template, folder, *points)]
    return [(words[0] == "1", words[1:]) for words in said]


def finished(folder: Path) -> dict[str, bytes]:
    """All bytes of the sealed product that count."""
    product = StoredProduct(folder / "rows-0")
    assert list(product.verify()) == []
    sealed = ("manifest.rows", "manifest.sums", "lineage.rows", "lineage.sums", "seal.json")
    seal = {name: (product.folder / name).read_bytes() for name in sealed}
    return {**products.tree(product.folder), **seal}


def crash_everywhere(scenario: str, folder: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Kill at every `step`-th point and go on; return how many points there are."""
    monkeypatch.setattr(files, "GLANCE", 0.0)
    template = begun(scenario, folder / "template")
    [(killed, said)] = kill_at(template, folder / "whole", [killing.NEVER])
    assert not killed
    honest, number = finished(folder / "whole" / str(killing.NEVER)), int(said[0])
    points = list(range(0, number, step))
    for point, (killed, (_, *told)) in zip(points, kill_at(template, folder / "torn", points), strict=True):
        place = folder / "torn" / str(point)
        product = products.new(place)
        recorded = product.progress()[0]
        assert killed
        assert recorded >= max(map(int, told), default=0), f"point {point}: what was recorded is lost"
        products.fill(product)
        assert finished(place) == honest, f"point {point}"
        assert made_again(place) <= crash.BATCH, f"point {point}"
    return number


def made_again(folder: Path) -> int:
    """How many regions were recorded more often than they were given up."""
    ledger = folder / "rows-0/ledger"
    voids = sum(log.read_text().count('"void"') for log in ledger.glob("*.log"))
    return runs.rows(ledger) - voids - products.REGIONS


@pytest.mark.parametrize(("scenario", "least"), [("new", 100), ("mend", 50)])
def test_killed_between_operations_on_files_it_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, least: int
) -> None:
    assert crash_everywhere(scenario, tmp_path, SAMPLE, monkeypatch) > least


@pytest.mark.campaign
@pytest.mark.parametrize("scenario", ["new", "mend"])
def test_killed_between_any_two_operations_on_files_it_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str
) -> None:
    crash_everywhere(scenario, tmp_path, 1, monkeypatch)
