"""Sources: known by content, read only as they were when they were identified, however many files they are of."""

import os
import pickle
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from terp.storage import source as sources
from terp.storage.errors import BadInput, DiskTrouble
from terp.storage.foreign import ForeignArray
from terp.storage.source import Source, identify, opened_source
from terp.workflows.planning.intake import ingested
from terp.workflows.running.task import _run_ingest

OLD = time.time_ns() - 10**11


def field(folder: Path, rows: int = 8) -> Path:
    """A Zarr group whose chunks are rows of one file for each ten columns, all of them written long ago."""
    values = np.arange(rows * 100.0).reshape(rows, 100)
    data = xr.Dataset({"v": (("t", "x"), values)}, {"t": np.arange(rows)})
    encoding = {"v": {"chunks": (1, 10), "compressors": None}, "t": {"chunks": (rows,)}}
    data.to_zarr(folder, zarr_format=2, consolidated=False, encoding=encoding)
    for path in folder.rglob("*"):
        os.utime(path, ns=(OLD, OLD))
    return folder


def altered(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of 10,000 files."""
    return field(tmp_path_factory.mktemp("many") / "field.zarr", 1000)


def test_what_a_worker_is_sent_is_as_small_for_10000_files_as_for_one(many: Path, tmp_path: Path) -> None:
    identity = identify(many, tmp_path / "cache")
    assert len(identity.parts) > 10_000
    task = ingested(identity).bound((), tmp_path)
    assert len(pickle.dumps(task)) < 1000


def test_a_region_looks_at_its_own_files_and_no_others(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = ingested(identify(many, tmp_path / "cache"))
    task, group = step.bound((), tmp_path), replace(step.layout.groups[0], cut={"t": (1000, 20), "x": (100, 100)})
    expected = xr.open_zarr(many, consolidated=False, chunks=None).v
    _run_ingest(task, group, 0)  # opens it
    looked: list[str] = []
    monkeypatch.setattr(sources, "_compare", lambda path, *_: looked.append(path.name))
    block, box = _run_ingest(task, group, 1), group.box(1)
    assert block.v.equals(expected.isel(box))
    names = [f"{row}.{column}" for row in range(20, 40) for column in range(10)]
    assert sorted(looked) == sorted([*names, *names]), "once before it is read, and once after"


def test_digests_are_remembered_for_as_long_as_the_stamps_are_the_same(many: Path, tmp_path: Path) -> None:
    first = identify(many, tmp_path)
    (memory,) = (tmp_path / "sources").iterdir()
    before = memory.stat().st_ino
    altered(many / "v/5.5")
    os.utime(many / "v/5.5", ns=(OLD, OLD))
    try:
        assert identify(many, tmp_path) == first, "nothing was read"
        assert memory.stat().st_ino == before
        os.utime(many / "v/5.5", ns=(OLD, OLD + 1))
        assert identify(many, tmp_path).sha256 != first.sha256
    finally:
        altered(many / "v/5.5")
        os.utime(many / "v/5.5", ns=(OLD, OLD))
    assert identify(many, tmp_path).sha256 == first.sha256


def test_a_damaged_memory_of_digests_is_no_memory(tmp_path: Path) -> None:
    path = field(tmp_path / "a")
    first = identify(path, tmp_path / "cache")
    (memory,) = (tmp_path / "cache/sources").iterdir()
    for wrong in (b"", b"{}", b'{"when":1e30,"parts":[[1]]}', memory.read_bytes()[:100]):
        memory.write_bytes(wrong)
        assert identify(path, tmp_path / "cache") == first


def test_the_digest_of_many_files_is_that_of_what_sha256sum_says(tmp_path: Path) -> None:
    path = field(tmp_path / "a")
    names = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())
    listed = subprocess.run(["sha256sum", "--zero", *names], cwd=path, capture_output=True, check=True).stdout
    said = subprocess.run(["sha256sum"], input=listed, capture_output=True, check=True).stdout
    assert identify(path, tmp_path / "cache").sha256 == said.split()[0].decode()


def test_the_digest_of_one_file_is_its_own_whatever_its_name(tmp_path: Path) -> None:
    found = []
    for name in ("a.nc", "b.nc"):
        xr.Dataset({"v": ("x", np.arange(3.0))}).to_netcdf(tmp_path / name)
        found.append(identify(tmp_path / name, tmp_path / "cache"))
    (tmp_path / "b.nc").unlink()
    assert found[0].sha256 == found[1].sha256 == found[0].parts[0].sha256
    with pytest.raises(BadInput, match=r"b\.nc"):
        found[1].check()


def test_a_folder_that_holds_one_file_of_its_own_name_is_a_folder(tmp_path: Path) -> None:
    from terp.storage.source import Identity, Part

    (tmp_path / "a").mkdir()
    (tmp_path / "a/a").write_text("x")
    found = os.stat(tmp_path / "a/a")
    Identity(str(tmp_path / "a"), "r", (Part("a", 1, "", (1, found.st_mtime_ns, found.st_ino)),)).check()


def test_linked_folders_belong_to_a_source(tmp_path: Path) -> None:
    path = field(tmp_path / "a")
    (path / "v").rename(tmp_path / "elsewhere")
    (path / "v").symlink_to(tmp_path / "elsewhere")
    identity = identify(path, tmp_path / "cache")
    altered(tmp_path / "elsewhere/0.0")
    with pytest.raises(BadInput, match=r"v/0\.0 was changed"):
        identity.check()


# --- what changes -----------------------------------------------------------------------------------------------------

CHANGES = {
    "was changed": ("v/3.4", altered),
    "is gone": ("v/3.4", Path.unlink),
    "was not there": ("v/6.0", lambda path: path.write_bytes(bytes(80))),
}


@pytest.fixture
def planned(tmp_path: Path) -> tuple[Path, Any, Any]:
    """A source of which a chunk was left out, its task, and the group that is made of it."""
    path = field(tmp_path / "a")
    (path / "v/6.0").unlink()
    step = ingested(identify(path, tmp_path / "cache"))
    return path, step.bound((), tmp_path), step.layout.groups[0]


@pytest.mark.parametrize("said", CHANGES)
def test_a_file_that_is_otherwise_than_planned_is_named(planned: tuple[Path, Any, Any], said: str) -> None:
    path, task, group = planned
    assert int(_run_ingest(task, group, 0).v.isnull().sum()) == 10
    name, change = CHANGES[said]
    change(path / name)
    with pytest.raises(BadInput, match=f"{path / name} {said}"):
        _run_ingest(task, group, 0)
    with pytest.raises(BadInput, match=f"{path / name} {said}"):
        opened_source.__wrapped__(sources.Reference(**task.parameters)).check([name])
    with pytest.raises(BadInput, match=f"{path / name} {said}"):
        sources.Reference(**task.parameters).load().check()


@pytest.mark.parametrize("said", CHANGES)
def test_a_file_that_becomes_otherwise_while_it_is_read_is_named(
    planned: tuple[Path, Any, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, task, group = planned
    name, change = CHANGES[said]
    read = ForeignArray.read

    def meanwhile(self: ForeignArray, *picks: Any, **more: Any) -> Any:
        values = read(self, *picks, **more)
        if self.folder == "v":
            change(path / name)
        return values

    monkeypatch.setattr(ForeignArray, "read", meanwhile)
    with pytest.raises(BadInput, match=f"{path / name} {said}"):
        _run_ingest(task, group, 0)


@pytest.mark.parametrize("name", [".zgroup", "v/.zarray", "t/0"])
def test_what_a_source_is_opened_by_is_proven_when_it_is_opened(tmp_path: Path, name: str) -> None:
    path = field(tmp_path / "a")
    identity = identify(path, tmp_path / "cache")
    os.utime(path / name, ns=(OLD, OLD + 1))
    with pytest.raises(BadInput, match=f"{path / name} was changed"):
        Source(identity)


def test_a_damaged_list_of_files_is_told(tmp_path: Path) -> None:
    reference = identify(field(tmp_path / "a"), tmp_path / "cache").keep(tmp_path)
    with Path(reference.file).open("r+b") as file:
        file.seek(50)
        file.write(b"?")
    with pytest.raises(DiskTrouble, match="is not what was written there"):
        reference.load()


def test_the_list_of_files_is_written_once_and_mended_where_it_was_damaged(tmp_path: Path) -> None:
    identity = identify(field(tmp_path / "a"), tmp_path / "cache")
    reference = identity.keep(tmp_path)
    inode = os.stat(reference.file).st_ino
    assert identity.keep(tmp_path) == reference
    assert os.stat(reference.file).st_ino == inode
    Path(reference.file).write_text("?")
    assert identity.keep(tmp_path).load() == identity
