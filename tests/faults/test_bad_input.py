"""Bad input and bad sites: a sentence that names the thing and the way out, a fitting exit code, nothing half-written.

What can be is told in this process, as the command line would, where runs share one worker; what has to have a
process of its own, as it is killed or limited, is begun before and goes on beside the rest.
"""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xarray as xr

from terp.cluster.launch import launch
from terp.storage.errors import Damaged
from terp.storage.ingest import locate
from terp.workflows import api
from terp.workflows.cli import main

HERE = Path(__file__).parent
BAD, FLOWS = f"{HERE / 'bad_flows.py'}", f"{HERE / 'flows.py'}"
TERP = str(Path(sys.executable).with_name("terp"))
PATIENCE = 120  # seconds in which a run has to say that its workers die
NOWHERE = "http://127.0.0.1:9/api"


@dataclass(frozen=True)
class Said:
    """What a command said, how it ended, and the workers that it left."""

    code: int
    out: str
    err: str
    left: int = 0


Say = Callable[..., Said]


def holds(said: Said, code: int, *words: str) -> None:
    """It ended with the code, said all these words, and showed no traceback."""
    text = said.out + said.err
    assert said.code == code, text
    assert [word for word in words if word not in text] == [], text
    assert "Traceback" not in text
    assert "a fault of terp itself" not in text


def nothing_half_written(home: Path) -> None:
    """No product, package, record or archived object that has only been begun."""
    begun = [*home.glob("products/.*"), *home.glob("products/*/attempts/*"), *home.glob("runs/*/package")]
    begun += [*home.glob("archive/extensions/terp-staging/*"), *home.glob("**/.*.json.*")]
    assert begun == []
    for folder in home.glob("products/*"):
        shards = [path for path in folder.glob("data.zarr/**/c/**/*") if path.is_file()]
        assert (folder / "seal.json").exists() or "manifest.jsonl" not in os.listdir(folder)
        assert all(path.stat().st_size for path in shards)


@pytest.fixture
def say(
    home: Path, prefect: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Say]:
    """The command line in this process, in a home of the test's own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(home.parent)
    for name, value in prefect.items():
        monkeypatch.setenv(name, value)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["terp", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            Context().run(main)  # which knows nothing of the connection that the tests have to Prefect
        return Said(int(end.value.code or 0), *capfd.readouterr())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def worker() -> Iterator[Any]:
    """A worker that the runs of this process share, as to start one takes seconds."""
    with launch(1, preload=["terp.workflows.running.task"]) as client:
        yield client


@pytest.fixture
def run(say: Say, worker: Any, monkeypatch: pytest.MonkeyPatch) -> Say:
    """`terp run` in this process, with the worker that is there."""
    monkeypatch.setattr(api, "launch", lambda *_, **__: nullcontext(worker))
    return lambda *words: say("run", *words)


def grid(rows: int = 18, months: int = 12) -> xr.Dataset:
    """A sea-surface temperature on a small grid."""
    values = np.random.default_rng(7).normal(290, 5, (months, rows, 8)).astype("f4")
    axes = {
        "time": np.arange("2001-01", "2004-01", dtype="M8[M]")[:months].astype("M8[ns]"),
        "latitude": ("latitude", np.linspace(-4, 4, rows), {"standard_name": "latitude"}),
        "longitude": ("longitude", np.linspace(190, 240, 8), {"standard_name": "longitude"}),
    }
    return xr.Dataset({"surface_temperature": (("time", "latitude", "longitude"), values, {"units": "K"})}, axes)


def zarr_of(path: Path) -> Path:
    """The grid as a foreign Zarr group of two chunks."""
    grid().to_zarr(path, zarr_format=2, consolidated=False, encoding={"surface_temperature": {"chunks": (6, 18, 8)}})
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sources, good and bad."""
    folder = tmp_path_factory.mktemp("sources")
    grid().to_netcdf(folder / "sea.nc")
    grid(9).to_netcdf(folder / "small.nc")
    (grid() * np.nan).to_netcdf(folder / "nan.nc")
    grid().isel(time=slice(0, 0)).to_netcdf(folder / "unfilled.nc")
    grid().drop_vars(["latitude", "longitude"]).to_netcdf(folder / "unnamed.nc")
    grid()["surface_temperature"][0, 0, 0].to_netcdf(folder / "scalar.nc")
    raw = locate("ostia").read_bytes()
    (folder / "half.nc").write_bytes(raw[: len(raw) // 2])
    (folder / "empty.nc").touch()
    (folder / "page.nc").write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")
    (folder / "grib.nc").write_bytes(b"GRIB\x00\x01\x02\x02" * 64)
    (folder / "packed.nc").write_bytes(gzip.compress(raw[:9999]))
    (folder / "noise.nc").write_bytes(np.random.default_rng(1).bytes(5000))
    (folder / "hdf.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + np.random.default_rng(2).bytes(5000))
    (folder / "loop.nc").symlink_to("loop.nc")
    os.mkfifo(folder / "pipe.nc")
    (folder / "nothing").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes/notes.txt").write_text("dear all")
    chunk = zarr_of(folder / "cut.zarr") / "surface_temperature/1.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    (zarr_of(folder / "lost.zarr") / "surface_temperature/1.0.0").unlink()
    (zarr_of(folder / "torn.zarr") / "surface_temperature/.zarray").write_text('{"zarr_format": 2')
    return folder


# --- flows and parameters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(:\n", ["line 1", "not Python"]),
        ("x = 1\0", ["not Python", "null bytes"]),
        ("raise LookupError('no sea')", ["cannot be imported", "LookupError: no sea"]),
        ("import nothing_of_that_name", ["cannot be imported", "nothing_of_that_name"]),
        ("import sys; sys.exit(3)", ["cannot be imported", "SystemExit: 3"]),
        ("x = 1", ["has no flow 'f'", "it has none (decorate a function with @flow)"]),
    ],
)
def test_a_file_that_holds_no_flow_is_named_with_what_is_wrong(
    say: Say, home: Path, text: str, words: list[str]
) -> None:
    (home.parent / "mine.py").write_text(text)
    holds(say("plan", "mine.py:f"), 64, "mine.py", *words)


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        ("nosuch", ["no flow 'nosuch'", "climatology, imaging", "path/to/file.py:flow"]),
        ("no/such.py:f", ["there is no file", "no/such.py"]),
        ("no.such.module:f", ["no.such.module cannot be imported"]),
        (f"{BAD}:nosuch", ["no flow 'nosuch'", "it has", "by_name", "unequal"]),
        (BAD, ["names no flow, as in", "it has", "by_name"]),
        (f"{BAD}:later", ["later is async: write it as a plain function"]),
        (f"{BAD}:nothing", ["must return a Product"]),
    ],
)
def test_a_flow_that_is_not_there_or_none_is_named_with_those_that_are(say: Say, flow: str, words: list[str]) -> None:
    holds(say("plan", flow), 64, *words)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--set", "colour=red"], ["no parameter colour: it has source, variable, box, period, by"]),
        (["--set", "variable=5"], ["variable", "valid string", "quotes", "source, variable, box, period, by"]),
        (["--set", "box=[0,1]"], ["box", "Field required"]),
        (["--set", "variable"], ["--set variable: write name=value"]),
        (["--set", "=5"], ["--set =5: write name=value"]),
        (["ostia", *"abcdef"], ["takes at most 5 inputs (source, variable, box, period, by), not 7"]),
        (["--set", "by=week"], ["by='week'", "month, dayofyear"]),
        (["--set", "box=atlantis"], ["no box named 'atlantis'", "nino3.4"]),
        (["--set", "box=[0,1,80,81]"], ["has no cell of the source", "spans", "give another, or None"]),
        (["--set", 'period=["1800","1801"]'], ["nothing in the period 1800 to 1801"]),
        (["--workers"], ["No such option", "--workers"]),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_with_what_does(say: Say, given: list[str], words: list[str]) -> None:
    holds(say("plan", "climatology", *given), 64, *words)


def test_a_parameter_that_is_lacking_is_named(say: Say) -> None:
    holds(say("plan", f"{BAD}:one"), 64, "missing a required argument: 'which'", "which, source")


def test_what_a_flows_own_line_raises_is_told_with_the_line(say: Say) -> None:
    line = next(n for n, text in enumerate(Path(BAD).read_text().splitlines(), 1) if "dimensions are too many" in text)
    holds(say("plan", f"{BAD}:broken"), 70, f"{BAD}, line {line}", "LookupError: 4 dimensions are too many")
    holds(say("plan", f"{BAD}:ending"), 70, "bad_flows.py, line", "SystemExit: no use for ostia")


# --- sources --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.nc", ["absent.nc does not exist"]),
        ("empty.nc", ["empty.nc is an empty file"]),
        ("nothing", ["nothing is an empty folder"]),
        ("notes", ["notes is a folder without anything terp knows", "1 entries"]),
        ("page.nc", ["page.nc looks like HTML", "fetch it again"]),
        ("half.nc", ["half.nc begins as netCDF", "fetch it again"]),
        ("grib.nc", ["grib.nc looks like GRIB; convert it to netCDF first"]),
        ("packed.nc", ["packed.nc looks like gzip; unpack it first"]),
        ("noise.nc", ["noise.nc is of a kind that terp does not know", "terp reads"]),
        ("hdf.nc", ["hdf.nc begins as netCDF (or HDF5)", "fetch it again"]),
        ("pipe.nc", ["pipe.nc is neither a file nor a folder"]),
        ("loop.nc", ["loop.nc can't be opened", "symbolic links"]),
        ("scalar.nc", ["scalar.nc holds no data variable that has a dimension"]),
        ("unfilled.nc", ["unfilled.nc has no entries along 'time'", "never filled"]),
        ("unnamed.nc", ["needs an axis of latitude", "the axes are"]),
        ("lost.zarr", ["lost.zarr lacks 1 of 2 chunks of 'surface_temperature'", "fetch it again"]),
        ("torn.zarr", ["torn.zarr looks like Zarr but can't be read", "fetch it again"]),
    ],
)
def test_a_source_that_is_not_what_it_says_is_called_what_it_is(
    say: Say, home: Path, sources: Path, name: str, words: list[str]
) -> None:
    holds(say("plan", "climatology", str(sources / name), "--set", "box=null"), 65, *words)
    assert list(home.glob("products/*")) == []


def test_a_source_without_a_name_is_refused(say: Say) -> None:
    holds(say("plan", "climatology", ""), 65, "no source is named: give a file, a folder")


def test_a_variable_that_is_not_there_is_named_with_those_that_are(say: Say) -> None:
    holds(say("plan", "climatology", "--set", "variable=salt"), 65, "'salt'", "it has surface_temperature")


# --- stages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("array", ["returned a DataArray", "must return an xarray Dataset"]),
        ("flat", ["lacks latitude", "make it a coordinate, or a stage of its own"]),
        ("doubled", ["changes the size of latitude", "let latitude stay whole"]),
        ("sliding", ["the coordinate 'time'", "depends on the data: make it a data variable"]),
        ("refusing", ["made-up block", "bad_flows.py, line", "LookupError: 1 variables are too many"]),
        ("leaving", ["made-up block", "bad_flows.py, line", "SystemExit"]),
        ("deep", ["cut along depth, which its inputs do not have", "latitude, longitude, time"]),
        ("keeping", ["keeps depth whole", "it has time, latitude, longitude"]),
        ("learned", ["the library no-such-library, which is not installed"]),
        ("spoken", ["words has type <U4", "keep text in coords"]),
    ],
)
def test_a_stage_that_does_what_no_stage_can_is_refused_in_the_plan(
    say: Say, home: Path, which: str, words: list[str]
) -> None:
    holds(say("plan", f"{BAD}:one", which), 65, *words)
    assert list(home.glob("products/*")) == []


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("both", ["cut=... or whole=..., not both"]),
        ("text", ['cut="latitude" is text: write cut=("latitude",)']),
        ("neither", ["cut=(...), whole=(...) or over=(...)"]),
        ("block", ["fixes blocks along longitude, along which it is not cut"]),
        ("zero", ["block={'latitude': 0}", "1 or more"]),
    ],
)
def test_a_stage_that_is_cut_as_nothing_can_be_is_refused(say: Say, how: str, words: list[str]) -> None:
    holds(say("plan", f"{BAD}:decorated", how), 65, *words)


@pytest.mark.parametrize(
    ("flow", "code", "words"),
    [
        ("by_name", 65, ["takes a product as normal=", "let products be positional arguments"]),
        ("odd_parameter", 65, ["offset={1, 2} (set)", "numbers, text"]),
        ("too_many", 65, ["plain was called with other arguments than it takes"]),
        ("changing", 65, ["renamed is iterated, but returns other variables"]),
        ("grouped", 64, ["has no group 'deeper'; it has only its root"]),
    ],
)
def test_a_stage_that_is_called_as_none_can_be_is_refused(say: Say, flow: str, code: int, words: list[str]) -> None:
    holds(say("plan", f"{BAD}:{flow}"), code, *words)


def test_grids_of_different_sizes_are_not_taken_together(say: Say, sources: Path) -> None:
    both = str(sources / "sea.nc"), str(sources / "small.nc")
    holds(say("plan", f"{BAD}:unequal", *both), 65, "the inputs of plain differ along latitude: 18, 9")


# --- what does not exist --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["show", "open", "verify", "rm", "logs", "status", "cancel", "archive"])
@pytest.mark.parametrize("reference", ["nosuch", "..", ""])
def test_what_does_not_exist_is_named(say: Say, home: Path, command: str, reference: str) -> None:
    (home / "products").mkdir(parents=True)
    if command == "status" and not reference:
        reference = "last"
    holds(say(command, reference), 64, f"there is no run {reference!r} in {home}", "terp run climatology")


def test_an_archived_object_that_does_not_exist_is_named(say: Say) -> None:
    for command in ("show", "open", "verify", "rm"):
        holds(say(command, "urn:terp:nosuch"), 64, "there is no urn:terp:nosuch", "`terp ls`")


def test_a_home_that_is_a_file_is_called_that(say: Say, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.touch()
    for words in (["plan", "climatology"], ["run", "climatology"], ["ls"], ["status"]):
        holds(say(*words), 74, f"{home} is a file: TERP_HOME (or --home) has to name a folder")
    monkeypatch.setenv("TERP_HOME", str(home / "below"))
    holds(say("plan", "climatology"), 74, str(home), "a file stands where a folder should be", "another TERP_HOME")
    monkeypatch.setenv("TERP_HOME", "/dev/full")
    holds(say("plan", "climatology"), 74, "/dev/full is a file")


# --- sites ----------------------------------------------------------------------------------------------------------

POWERLESS = "-dac_override,-dac_read_search"


def powerless() -> list[str]:
    """The words before a command that is to be held to permissions, even for root."""
    if os.geteuid() != 0:
        return []
    words = ["setpriv", f"--bounding-set={POWERLESS}", f"--inh-caps={POWERLESS}", "--"]
    if not shutil.which("setpriv") or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("root may read and write anything here, and setpriv cannot change that")
    return words


def command(*words: str, home: Path, prefect: dict[str, str], **more: str) -> Said:
    """The command as a user gives it, in a process of its own."""
    environment = {**os.environ, **prefect, "TERP_HOME": str(home), **more}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def test_a_source_that_may_not_be_read_is_named(home: Path, prefect: dict[str, str], sources: Path) -> None:
    secret = shutil.copy(sources / "sea.nc", home.with_name("secret.nc"))
    secret.chmod(0)
    said = command(*powerless(), TERP, "plan", "climatology", str(secret), home=home, prefect=prefect)
    holds(said, 65, f"{secret} can't be opened (Permission denied)")


def test_a_home_that_may_not_be_written_is_named(home: Path, prefect: dict[str, str]) -> None:
    home.mkdir(mode=0o500)
    said = command(*powerless(), TERP, "plan", "climatology", home=home, prefect=prefect)
    holds(said, 74, str(home), "you may not read or write there", "choose another TERP_HOME")


def mounted(options: str, script: str, home: Path, prefect: dict[str, str]) -> Said:
    """Run a script of shell where TERP_HOME is a small file system of its own that nobody else sees."""
    home.mkdir()
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", home], capture_output=True).returncode:
        pytest.skip("needs to mount a file system of its own, as root may with unshare(1)")
    text = f"mount -t tmpfs -o {options} tmpfs {home}; {script}"
    return command("unshare", "-m", "bash", "-c", text, home=home, prefect=prefect)


def test_a_home_on_a_read_only_file_system_is_named(home: Path, prefect: dict[str, str]) -> None:
    said = mounted("ro", f"{TERP} plan climatology", home, prefect)
    holds(said, 74, str(home), "the file system is read-only: choose another TERP_HOME")


def test_a_home_without_room_for_a_folder_is_named(home: Path, prefect: dict[str, str]) -> None:
    said = mounted("nr_inodes=3", f"{TERP} plan climatology", home, prefect)
    holds(said, 74, str(home), "the disk is full: free space or choose another TERP_HOME")


def test_an_output_that_is_full_is_told(home: Path, prefect: dict[str, str]) -> None:
    holds(command("bash", "-c", f"{TERP} ls > /dev/full", home=home, prefect=prefect), 74, "the disk is full")


# --- what is stored is damaged --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the home with the archived run is kept, once it was made."""
    return tmp_path_factory.mktemp("model") / "home"


@pytest.fixture
def archived(run: Say, home: Path, model: Path, sources: Path) -> Path:
    """A home with one archived run, of which a test may break what it wants; returns the content of its object."""
    if not model.exists():
        holds(run(f"{BAD}:one", "plain", str(sources / "sea.nc")), 0, "archived as")
        home.rename(model)
    shutil.copytree(model, home)
    (content,) = home.glob("archive/*/*/*/*/v1/content")
    for path in content.iterdir():
        path.chmod(0o644)
    return content


def flip(path: Path, at: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)


def chunks_of(package: Path) -> list[tuple[int, int]]:
    """Where in a package the data of each shard begin, and how many bytes they are."""
    raw, found = package.read_bytes(), []
    for member in zipfile.ZipFile(package).infolist():
        if member.filename.startswith("surface_temperature/c/"):
            name, extra = (int.from_bytes(raw[member.header_offset + n :][:2], "little") for n in (26, 28))
            found.append((member.header_offset + 30 + name + extra, member.file_size))
    return found


def swap(package: Path) -> None:
    """Exchange the data of two shards of equal size."""
    raw = bytearray(package.read_bytes())
    (one, size), (other, _) = chunks_of(package)
    raw[one : one + size], raw[other : other + size] = raw[other : other + size], raw[one : one + size]
    package.write_bytes(raw)


PACKAGE_FAULTS: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    "a flipped byte of data": (lambda p: flip(p, chunks_of(p)[0][0] + 900), "SHA-512 is another", False),
    "a flipped byte of its table": (lambda p: flip(p, -30), "SHA-512 is another", True),
    "its end cut off": (lambda p: p.write_bytes(p.read_bytes()[:5000]), "SHA-512 is another", True),
    "two shards exchanged": (swap, "SHA-512 is another", False),
    "no package any more": (lambda p: p.unlink(), "plain.zarr.zip is missing", True),
    "a file too many": (lambda p: p.with_name("extra.txt").write_text("x"), "extra.txt is in no inventory", False),
}


@pytest.mark.parametrize("fault", PACKAGE_FAULTS)
def test_a_package_that_is_not_as_it_was_archived_is_told(say: Say, archived: Path, fault: str) -> None:
    damage, words, unreadable = PACKAGE_FAULTS[fault]
    package = archived / "plain.zarr.zip"
    damage(package)
    holds(say("verify", "last"), 65, "damaged: v1/content/", words, "restore it from a copy")
    if unreadable:
        holds(say("open", "last"), 65, str(package), "from a copy")
    elif fault != "a file too many":
        with pytest.raises(Damaged, match="is not what was packed; restore the package from a copy"):
            api.open("last").load()
    holds(say("ls"), 0, "urn:terp:one:", *(["lacks plain.zarr.zip"] if not package.exists() else []))


def test_an_archived_object_without_its_inventory_is_told_and_hides_no_other(say: Say, archived: Path) -> None:
    for path in archived.parents[1].glob("**/inventory.json"):
        path.unlink()
    holds(say("verify"), 65, "inventory.json", "restore it from a copy")
    holds(say("open"), 65, "no inventory", "restore")
    holds(say("ls"), 0, "damaged:", "no inventory")


def test_what_is_archived_is_never_removed(say: Say, home: Path, archived: Path) -> None:
    identifier = json.loads(say("ls", "--json").out)[0]["identifier"]
    holds(say("rm", identifier, "--yes"), 64, identifier, "is archived")
    holds(say("rm", "last", "--yes"), 0)
    assert list(home.glob("products/*")) == []
    assert (archived / "plain.zarr.zip").exists()
    holds(say("verify", identifier), 0, "all is as it was recorded")


def product(home: Path) -> Path:
    (folder,) = home.glob("products/plain-*")
    return folder


PRODUCT_FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "shard": (
        lambda p: flip(p / "data.zarr/surface_temperature/c/0/1/0"),
        "surface_temperature/c/0/1/0 of plain",
        "run the same command again",
    ),
    "axis": (lambda p: flip(p / "data.zarr/time/c/0"), "time/c/0 of plain", "run the same command again"),
    "seal": (lambda p: flip(p / "seal.json", 0), "seal.json is damaged", "run again"),
    "manifest": (lambda p: (p / "manifest.jsonl").unlink(), "manifest.jsonl is damaged", "run again"),
    "description": (lambda p: flip(p / "product.json"), "product.json is damaged", "run again"),
}


@pytest.mark.parametrize("fault", PRODUCT_FAULTS)
def test_a_working_product_that_is_damaged_is_told_each_time_and_may_be_removed(
    say: Say, home: Path, archived: Path, fault: str
) -> None:
    damage, thing, way_out = PRODUCT_FAULTS[fault]
    damage(product(home))
    key = product(home).name
    holds(say("verify", key), 65, thing, way_out)
    holds(say("open", key), 65, "plain", "again")
    holds(say("verify", "last"), 65, "plain", way_out)
    holds(say("ls", "--products"), 0, key, "ingest-")
    holds(say("rm", key, "--yes"), 0, key)
    assert archived.exists()


def test_the_same_run_mends_a_damaged_product(run: Say, say: Say, home: Path, archived: Path, sources: Path) -> None:
    folder = product(home)
    before = {path: path.read_bytes() for path in folder.glob("data.zarr/**/*") if path.is_file()}
    for damage, *_ in PRODUCT_FAULTS.values():
        damage(folder)
    holds(run(f"{BAD}:one", "plain", str(sources / "sea.nc")), 0, "plain")
    assert {path: path.read_bytes() for path in folder.glob("data.zarr/**/*") if path.is_file()} == before
    holds(say("verify"), 0, "all is as it was recorded")
    assert archived.exists()


def test_a_damaged_record_of_a_run_is_named_and_hides_nothing_else(say: Say, home: Path, archived: Path) -> None:
    (record,) = home.glob("runs/*/run.json")
    for text in ('{"id": ', "[]", '{"id": 3, "colour": 1, "stages": []}'):
        record.write_text(text)
        for name in ("show", "open", "verify", "logs", "cancel", "archive"):
            holds(say(name), 65, f"the record of the run {record.parent.name} is damaged: remove {record.parent}")
        holds(say("status"), 0, f"the record of the run {record.parent.name} is damaged")
        holds(say("ls"), 0, "urn:terp:one:")
    assert archived.exists()


# --- runs -----------------------------------------------------------------------------------------------------------


def state(home: Path) -> str:
    (record,) = home.glob("runs/*/run.json")
    return str(json.loads(record.read_text())["state"])


def test_a_stage_that_raises_on_a_region_is_told_with_region_box_and_traceback(run: Say, home: Path) -> None:
    said = run(f"{FLOWS}:failing")
    (report,) = home.glob("runs/*/failure-fragile-*.txt")
    holds(said, 70, "fragile failed on region 13 (latitude 13:14): ZeroDivisionError: no north here", str(report))
    assert "What is done stays; mend the stage and run again" in said.err
    assert "Traceback" in report.read_text()
    assert "raise ZeroDivisionError" in report.read_text()
    assert state(home) == "failed"
    nothing_half_written(home)


def test_a_stage_that_returns_another_type_than_planned_is_told_with_the_region(
    run: Say, home: Path, sources: Path
) -> None:
    said = run(f"{BAD}:one", "shifting", str(sources / "sea.nc"))
    holds(said, 65, "shifting, region", "(latitude ", "came as float64 where float32 was planned", "cast it")
    assert state(home) == "failed"
    nothing_half_written(home)


def test_a_stage_that_ends_its_process_does_not_end_the_worker(run: Say, home: Path, sources: Path) -> None:
    said = run(f"{BAD}:one", "quitting", str(sources / "sea.nc"))
    holds(said, 70, "quitting failed on region", "it calls sys.exit(1)", "The traceback is in")
    nothing_half_written(home)


def test_a_chunk_of_the_source_that_is_cut_short_is_told_with_its_place(run: Say, home: Path, sources: Path) -> None:
    said = run(f"{BAD}:one", "plain", str(sources / "cut.zarr"))
    holds(said, 65, f"{sources / 'cut.zarr'} is damaged at time 0:12", "fetch it again and run again")
    nothing_half_written(home)


def test_a_flow_that_looks_at_values_is_planned_so_far_and_runs_to_its_end(run: Say, say: Say, home: Path) -> None:
    words = "the plan ends here: the flow looks at the values of ingest-", "known only in the run"
    holds(say("plan", f"{FLOWS}:branching"), 0, *words)
    holds(run(f"{FLOWS}:branching", "--no-archive"), 0, *words, "halve: halve-")
    nothing_half_written(home)


def test_what_a_flows_own_line_raises_in_the_run_is_told_with_the_line(run: Say, home: Path, sources: Path) -> None:
    said = run(f"{BAD}:broken_later", str(sources / "sea.nc"))
    holds(said, 70, "the flow broken-later failed at", "bad_flows.py, line", "K is too warm", "Mend it there")
    assert state(home) == "failed"
    nothing_half_written(home)


def test_a_grid_without_any_value_gives_none_and_says_so(run: Say, home: Path, sources: Path) -> None:
    said = run("climatology", str(sources / "nan.nc"), "--set", "box=null")
    holds(said, 0, "note: ingest: surface_temperature is NaN throughout", "archived as")
    (record,) = home.glob("runs/*/run.json")
    assert "ingest: surface_temperature is NaN throughout" in json.loads(record.read_text())["warnings"]
    assert np.isnan(api.open("last", "normals")["surface_temperature"]).all()
    nothing_half_written(home)


# --- runs with a process of their own -------------------------------------------------------------------------------


def interrupted(number: signal.Signals, home: Path, prefect: dict[str, str]) -> Said:
    """Send a signal to a run that is at work; look which of its workers are left."""
    environment = {**os.environ, **prefect, "TERP_HOME": str(home)}
    words = [TERP, "run", f"{FLOWS}:departures", "--no-archive", "--workers", "1"]
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while process.poll() is None and not any(
            '"stored"' in log.read_text() for log in home.glob("products/slow-*/ledger/*.log")
        ):
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
    return Said(process.returncode, out, err, len(psutil.wait_procs(children, timeout=20)[1]))


@pytest.fixture(scope="module", autouse=True)
def runs(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> Iterator[dict[str, Future[Said]]]:
    """Runs that go on while other tests do, one after the other; each in a home of its own name."""
    base = tmp_path_factory.getbasetemp()
    killing = [TERP, "run", f"{FLOWS}:killing", "--workers", "1"]
    patient = {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1h"}  # else it may forget a worker that is restarted
    nowhere = [TERP, "run", "climatology", "--workers", "1"]
    limited = ["bash", "-c", f"ulimit -f 400; exec {TERP} run climatology --workers 1"]
    with ThreadPoolExecutor(1) as pool:
        begun = {
            number.name: pool.submit(interrupted, number, base / number.name, prefect)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        begun["limited"] = pool.submit(command, *limited, home=base / "limited", prefect=prefect)
        begun["nowhere"] = pool.submit(command, *nowhere, home=base / "nowhere", prefect={"PREFECT_API_URL": NOWHERE})
        begun["killing"] = pool.submit(command, *killing, home=base / "killing", prefect=prefect, **patient)
        yield begun
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def ended(
    runs: dict[str, Future[Said]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Said, Path]]:
    """A run that has ended: what it said, and its home."""
    return lambda name: (runs[name].result(), tmp_path_factory.getbasetemp() / name)


Ended = Callable[[str], tuple[Said, Path]]


def test_a_disk_that_fills_up_in_a_run_is_told_and_with_room_the_same_run_goes_on(
    home: Path, prefect: dict[str, str]
) -> None:
    run = f"{TERP} run climatology --workers 1"
    look = f"echo; find {home}/products/*/attempts/* {home}/products/.new-* {home}/runs/*/package 2>/dev/null"
    more = f"mount -o remount,size=64m {home}"
    said = mounted("size=1m", f"{run}; echo ended with $?; {look}; {more}; {run}", home, prefect)
    holds(said, 0, "the disk is full: free space or choose another TERP_HOME, then do the same again")
    before, _, after = said.out.partition("archived as")
    assert before.startswith("ended with 74\n\nrun climatology-"), "nothing half-written is found between the two"
    assert "look at it: terp show" in after


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_run_that_is_interrupted_says_how_to_go_on_and_leaves_no_worker(ended: Ended, name: str) -> None:
    said, home = ended(name)
    holds(said, 130, "stopped; what is recorded stays, the same command goes on")
    assert said.left == 0
    assert state(home) == "cancelled"
    nothing_half_written(home)


def test_a_file_that_may_not_grow_is_told(ended: Ended) -> None:
    said, home = ended("limited")
    holds(said, 74, str(home), "the file would be larger than is allowed here (see `ulimit -f`)")
    assert state(home) == "failed"
    nothing_half_written(home)


def test_a_prefect_server_that_is_not_there_is_named(ended: Ended) -> None:
    said, home = ended("nowhere")
    holds(said, 69, f"the Prefect server at {NOWHERE} (PREFECT_API_URL) can't be used", "unset PREFECT_API_URL")
    assert list(home.glob("products/*")) == []


def test_a_stage_that_kills_its_workers_is_told_in_time(ended: Ended) -> None:
    began = time.monotonic()
    said, home = ended("killing")
    assert time.monotonic() - began < PATIENCE
    holds(said, 70, "of murderous was lost 3 times: the workers that took it died", "--workers")
    assert state(home) == "failed"
    nothing_half_written(home)
