"""Bad flows, parameters and sources: a sentence that names the thing and the way out, and nothing half-written.

All is said in this process, as the command line says it; the runs share one worker.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from saying import BAD, FLOWS, Say, holds, nothing_half_written, state

from terp.storage.product import StoredProduct
from terp.workflows import api

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
        ("lost.zarr", ["lost.zarr lacks 1 of 2 chunks of 'surface_temperature'", "reads as None", "fetch it again"]),
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


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_stage_that_raises_on_a_region_is_told_with_region_box_and_traceback(run: Say, home: Path) -> None:
    said = run(f"{FLOWS}:failing")
    (report,) = home.glob("runs/*/failure-fragile-13.txt")
    holds(said, 70, "fragile failed on region 13 (latitude 13:14): ZeroDivisionError: no north here", str(report))
    assert "What is done stays; mend the stage and run again" in said.err
    assert "Traceback" in report.read_text()
    assert "raise ZeroDivisionError" in report.read_text()
    (made,) = [line for line in report.read_text().splitlines() if line.startswith("input: ")]
    (source,) = home.glob("products/ingest-*")
    seal = StoredProduct(source).seal
    assert seal is not None
    assert made == f"input: {source.name}/, sealed with the values {seal.values}: latitude 13:14"
    assert "parameters: {}" in report.read_text()
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


def test_chunks_that_are_not_there_and_mean_missing_values_are_counted_in_plan_run_and_record(
    run: Say, say: Say, home: Path, sources: Path
) -> None:
    words = "sparse.zarr lacks 1 of 2 chunks of 'surface_temperature'", "read as missing values"
    holds(say("plan", f"{BAD}:one", "plain", str(sources / "sparse.zarr")), 0, *words)
    holds(run(f"{BAD}:one", "plain", str(sources / "sparse.zarr")), 0, *words)
    (record,) = home.glob("runs/*/run.json")
    assert any(words[0] in warning for warning in json.loads(record.read_text())["warnings"])
    values = api.open("last")["surface_temperature"]
    assert [bool(np.isnan(values.isel(time=part)).all()) for part in (slice(0, 6), slice(6, 12))] == [False, True]
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
    told = json.loads(record.read_text())["warnings"]
    assert [one for one in told if one.startswith("ingest: surface_temperature is NaN throughout")]
    assert np.isnan(api.open("last", "normals")["surface_temperature"]).all()
    nothing_half_written(home)
