"""What a run notes of itself: who, with what code, where; and that it tells nothing it should not."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from terp.cluster.errors import ClusterError
from terp.cluster.site import load_site
from terp.storage.environment import Environment
from terp.storage.home import Home
from terp.storage.machine import Machine
from terp.workflows import api
from terp.workflows.errors import Usage
from terp.workflows.results.describe import environments_of
from terp.workflows.results.starts import starts_of, with_locks
from terp.workflows.running import clock
from terp.workflows.running import repository as repository_module
from terp.workflows.running.batch import demand_progress
from terp.workflows.running.capture import (
    capture,
    captured,
    demand_as_submitted,
    machines_of,
    note_machines,
    note_submitted,
)
from terp.workflows.running.record import RunRecord, StageRecord, load_run
from terp.workflows.running.report import LogReporter
from terp.workflows.running.software import Software, computed
from terp.workflows.running.who import orcid, ror, who

Terp = Callable[..., subprocess.CompletedProcess[str]]

FLOW = '''
"""A flow."""
import warnings
from prefect import flow
import xarray as xr
from terp.workflows import Product, ingest, stage

PASSWORD = "planted-in-code"

@stage(cut=("y",))
def doubled(block: xr.Dataset, note: str) -> xr.Dataset:
    warnings.warn("see https://ada:planted-in-a-warning@example.org/x")
    return (block * 2).assign_attrs(note=note)

@flow
def double(source: str, note: str = "", by: float = 0.5, seed: int = 7) -> Product:
    """Twice as much. Ask https://ada:planted-in-a-docstring@example.org for more"""
    return doubled(ingest(source), note)
'''


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a flow that was committed, edited since, and an input."""
    import numpy as np
    import xarray as xr

    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "twice.py").write_text(FLOW.replace("* 2", "* 3"))
    (folder / "settings.env").write_text("SURF_TOKEN=old\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    (folder / "twice.py").write_text(FLOW)
    (folder / "settings.env").write_text("SURF_TOKEN=planted-in-a-diff\n")
    values = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("y", "x"), name="v")
    values.to_netcdf(folder / "in.nc")
    return folder


def git(folder: Path, *words: str) -> str:
    who_ = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", *who_, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def crate_of(record: dict[str, Any]) -> Path:
    return Path(record["archived"]["path"]) / "v1" / "content"


def test_a_run_of_a_dirty_repository_is_told_whole_and_without_what_is_nobodys_business(
    terp: Terp, repository: Path, issues: Any
) -> None:
    user = repository.parent / "ada.devries"
    user.mkdir()
    there = {
        "HOME": str(user),
        "SURF_API_KEY": "planted-in-the-environment",
        "TERP_ORCID": "0000-0002-1825-0097",
        "TERP_AFFILIATION": "SURF",
        "TERP_AFFILIATION_ROR": "04dkp9463",
        "TERP_PROJECT": "Dykes",
        "TERP_GRANT": "https://doi.org/10.61686/ABCDE",
    }
    note = f"{user}/notes, https://ada:planted-in-a-parameter@example.org/x, planted-in-the-environment"
    words = ["run", "twice.py:double", "in.nc", "--set", f"note={note}", "--workers", "1", "--json"]
    done = terp(*words, cwd=repository, **there)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    folder = crate_of(record)
    graph = {one["@id"]: one for one in json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]}
    run = next(one for name, one in graph.items() if name.startswith("#run-"))
    facts = {graph[one["@id"]]["name"]: graph[one["@id"]]["value"] for one in run["additionalProperty"]}
    assert facts["git commit"] == git(repository, "rev-parse", "HEAD").strip()
    assert facts["code differs from that commit"] is True
    assert facts["computed on"].startswith("2 regions")
    assert "* 2" in (folder / "changes.diff").read_text()
    assert "xarray==" in (folder / "environment.lock").read_text()
    assert (graph["#parameter-seed"]["value"], graph["#parameter-by"]["value"]) == (7, 0.5)
    assert run["agent"] == {"@id": "https://orcid.org/0000-0002-1825-0097"}
    assert graph["./"]["publisher"] == {"@id": "https://ror.org/04dkp9463"}
    assert graph["./"]["funding"] == {"@id": "https://doi.org/10.61686/ABCDE"}
    assert graph["#project"]["name"] == "Dykes"
    assert any("https://example.org/x" in str(one.get("value")) for one in graph.values())
    for path in folder.iterdir():
        told = path.read_bytes()
        assert b"ada.devries" not in told, path.name
        assert b"planted" not in told, path.name
    copied = shutil.copytree(folder, repository.parent / "crate")  # the validator takes a % in a path for an escape
    assert issues((copied, "RECOMMENDED", False)) == [[]]


SHIPPED = {"climatology": [], "imaging": ["data/radio/mojave_m87_vlba_8ghz.uvfits", "pixels=128", "cell_mas=0.2"]}


@pytest.mark.campaign
@pytest.mark.parametrize("flow", SHIPPED)
def test_the_crates_of_the_shipped_flows_meet_what_is_required_and_recommended(
    flow: str, terp: Terp, shared: Path, issues: Any, tmp_path: Path
) -> None:
    inputs = [str(shared / one) for one in SHIPPED[flow][:1]]
    settings = [f"--set={one}" for one in SHIPPED[flow][1:]]
    done = terp("run", flow, *inputs, *settings, "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    folder = shutil.copytree(crate_of(json.loads(done.stdout)), tmp_path / "crate")
    assert issues((folder, "RECOMMENDED", False)) == [[]]


@pytest.fixture
def begun(home: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Home, RunRecord, Any, Any]:
    """A run that was submitted: home, record, plan and flow."""
    monkeypatch.chdir(repository)
    where = Home(home).open()
    made, _, found, values = api._planned("twice.py:double", ("in.nc",), {}, where, LogReporter())
    record = RunRecord.begin(where, made.flow, "twice.py:double", values)
    note_submitted(record, made)
    capture(where, record, found, who(), {})
    record.save(where)
    return where, load_run(where, record.id), made, found


def test_what_was_submitted_is_what_is_run(begun: Any, repository: Path) -> None:
    where, record, made, found = begun
    demand_as_submitted(record, made)
    (repository / "twice.py").write_text(FLOW + "\n# a remark changes nothing\n")
    demand_as_submitted(record, api._planned("twice.py:double", ("in.nc",), {}, where, LogReporter())[0])
    (repository / "twice.py").write_text(FLOW.replace("* 2", "* 4"))
    edited = api._planned("twice.py:double", ("in.nc",), {}, where, LogReporter())[0]
    with pytest.raises(Usage, match=r"changed after the run .* was submitted, so that doubled would be .* submit"):
        demand_as_submitted(record, edited)
    assert "* 2" in captured(where, record, found).source


def test_a_submitted_run_whose_file_was_edited_refuses_before_it_does_anything(
    terp: Terp, begun: Any, repository: Path
) -> None:
    where, record, *_ = begun
    (repository / "twice.py").write_text(FLOW.replace("* 2", "* 4"))
    done = terp("run", "--as-run", record.id, "twice.py:double", "in.nc", cwd=repository)
    assert done.returncode == 64
    assert "submit the same command again" in done.stderr
    assert not list(where.products.iterdir())
    assert load_run(where, record.id).state == "failed"


def test_a_crate_is_written_from_the_code_as_it_was(begun: Any, repository: Path) -> None:
    where, record, _, found = begun
    (repository / "twice.py").write_text(FLOW.replace("* 2", "* 4"))
    told = captured(where, record, found)
    kept = FLOW.replace("planted-in-code", "(withheld)")
    assert told.source == kept.replace("ada:planted-in-a-warning@", "").replace("ada:planted-in-a-docstring@", "")
    assert told.dirty
    assert (told.name, told.commit) == ("double", git(repository, "rev-parse", "HEAD").strip())


def test_the_image_around_a_run_is_told_by_its_digest(begun: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    where, record, _, found = begun
    image = where.root / "terp.sif"
    image.write_bytes(b"an image")
    monkeypatch.setenv("APPTAINER_CONTAINER", str(image))
    capture(where, record, found, who(), {})
    image.write_bytes(b"another image, built since")
    record.save(where)
    [(_, told)] = environments_of(where, load_run(where, record.id), [])
    assert told.image_sha256 == hashlib.sha256(b"an image").hexdigest()


def test_an_image_that_cannot_be_read_is_told_of_as_such(begun: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    where, record, _, found = begun
    monkeypatch.setenv("APPTAINER_CONTAINER", str(where.root / "gone.sif"))
    [told] = capture(where, record, found, who(), {})
    assert told.startswith("the image gone.sif is recorded by its name only")


# submission


@pytest.mark.parametrize(
    ("said", "state", "why"),
    [
        ("invalid partition specified: batch", "failed", "the partition does not exist here"),
        ("Unable to contact slurm controller (connect failure)", "submitted", ""),
    ],
)
def test_a_run_that_slurm_refuses_is_on_record_as_failed_and_one_that_it_may_have_taken_is_not(
    said: str, state: str, why: str, home: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    (repository / "sbatch").write_text(f'#!/bin/sh\necho "sbatch: error: {said}" >&2\nexit 1\n')
    (repository / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{repository}:{os.environ['PATH']}")
    site = load_site("generic", {})
    with pytest.raises(ClusterError):
        api.submit("twice.py:double", ("in.nc",), {}, site, {"--no-archive": True})
    record = load_run(Home(home).open(), "last")
    assert (record.state, record.job) == (state, "")
    assert why in record.error


# git


def a_git(folder: Path, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `git` be something else that does one thing otherwise."""
    true = shutil.which("git")
    (folder / "bin").mkdir()
    (folder / "bin" / "git").write_text(f'#!/bin/sh\n{does}\nexec {true} "$@"\n')
    (folder / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("slow", "lost"), [("*", "a commit of twice.py"), ("*diff*", "how twice.py and its .* differ")]
)
def test_a_git_that_takes_too_long_is_told_and_what_it_told_before_is_kept(
    slow: str, lost: str, begun: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, record, _, found = begun
    commit = record.code["commit"]
    a_git(tmp_path, f'case "$*" in {slow}) exec sleep 60;; esac', monkeypatch)
    monkeypatch.setattr(repository_module, "_PATIENCE", 1.0)
    [told] = capture(where, record, found, who(), {})
    assert re.match(f"git does not tell {lost}.*: it took more than 1 s. The flow's file .* can be replayed", told)
    assert (record.code["commit"], record.code["dirty"]) == ((None, False) if slow == "*" else (commit, True))


def test_a_repository_that_is_damaged_or_anothers_is_told_in_gits_own_words(
    begun: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, record, _, found = begun
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    [told] = capture(where, record, found, who(), {})
    assert "a commit of twice.py: fatal: detected dubious ownership" in told
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    for path in (repository / ".git" / "objects").glob("??"):
        shutil.rmtree(path)
    [told] = capture(where, record, found, who(), {})
    assert re.match(
        "git does not tell how twice.py and its repository differ from the commit [0-9a-f]{40}: fatal", told
    )
    shutil.rmtree(repository / ".git" / "refs")
    [told] = capture(where, record, found, who(), {})
    assert "a commit of twice.py" in told
    shutil.rmtree(repository / ".git")
    assert capture(where, record, found, who(), {}) == [], "there is no repository"


def test_a_large_difference_is_kept_whole_and_one_that_is_not_is_told(
    begun: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, record, _, found = begun
    (repository / "settings.env").write_text("".join(f"LINE_{number}=1\n" for number in range(150_000)))
    assert capture(where, record, found, who(), {}) == []
    kept = captured(where, record, found).diff
    assert len(kept) > 1 << 20
    assert "+LINE_149999=1" in kept
    monkeypatch.setattr(repository_module, "_LONGEST", 1 << 20)
    [told] = capture(where, record, found, who(), {})
    assert re.match(
        "the repository of twice.py differs from the commit .* by over 1 MiB, more than is kept: comm", told
    )
    assert captured(where, record, found).diff == "The changes are over 1 MiB, more than is kept.\n"
    assert record.code["dirty"]


# machines


def test_workers_that_differ_are_told_once_and_recorded() -> None:
    here = replace(Machine.here(), cpu="EPYC 7H12", features=("avx2",), level="native")
    other = replace(here, cpu="EPYC 9654", features=("avx2", "avx512f"))
    run = RunRecord("r", "f", "t", {})
    assert note_machines(run, Counter({here: 4})) == ""
    assert note_machines(run, Counter({replace(here, system="Linux 7"): 1})) == ""
    told = note_machines(run, Counter({other: 2, here: 1}))
    assert "EPYC 7H12 native: 6 regions; EPYC 9654 native: 2 regions" in told
    assert "--processor" in told
    assert note_machines(run, Counter({other: 3})) == ""
    run = RunRecord("r", "f", "t", {}, machines=json.loads(json.dumps(run.machines)))
    assert machines_of(run) == {here: 5, replace(here, system="Linux 7"): 1, other: 5}


def test_what_an_earlier_start_stood_on_is_kept_when_a_later_one_stands_on_something_else(
    begun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, record, _, found = begun
    first = Environment.from_json(record.environment)
    warnings = list[str]()
    record.go_on(where, 8)
    Software(where, record, warnings.append).add({first.digest: 3})
    monkeypatch.setenv("APPTAINER_CONTAINER", str(where.root / "gone.sif"))
    capture(where, record, found, who(), {})
    record.save(where)
    record = load_run(where, record.id)
    later = Software(where, record, warnings.append)
    later.known["d"] = replace(first, python="CPython 3.99")
    later.look()
    later.look()
    later.add({later.known["d"].digest: 5})
    assert computed(where, record) == [(later.known["d"], 5), (first, 3)]
    assert [whose for whose, _ in environments_of(where, record, [])] == [
        "workers that made 5 regions",
        "workers that made 3 regions",
        "the controller",
    ]
    [told] = warnings
    assert f"controller: Image (none) instead of gone.sif, Python CPython 3.99 instead of {first.python}." in told


@pytest.mark.parametrize("same_run", [True, False])
def test_what_a_killed_start_stood_on_is_told_with_it_however_little_it_made(
    same_run: bool, begun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, record, _, found = begun
    first = Environment.from_json(record.environment)
    record.go_on(where, 9)
    record.note(where, "stage begun", stage="s", key="s-1", regions=9)
    again = load_run(where, record.id) if same_run else RunRecord.begin(where, "double", "twice.py:double", {})
    for name in ("gone.sif", "gone.sif", "lost.sif"):
        monkeypatch.setenv("APPTAINER_CONTAINER", name)
        capture(where, again, found, who(), {})
        again.go_on(where, 4)
    again.stages.append(StageRecord("s", "s-1", 9, done_before=5))
    starts = starts_of(where, again)
    met = environments_of(where, again, starts)
    told = [(whose, one.image) for whose, one in met]
    assert told == [("the controller", "lost.sif"), ("start 1", ""), ("start 2", "gone.sif")]
    assert met[1][1] == first
    locks = [dict(one.facts)["environment"] for one in with_locks(starts, [one for _, one in met])]
    two, three = "environment-2.lock", "environment-3.lock"
    assert locks == [two, three, three, "environment.lock"], "each once, by digest"


# who


def test_an_orcid_and_a_ror_are_taken_as_people_write_them() -> None:
    whole = "https://orcid.org/0000-0002-1694-233X"
    assert {orcid(said) for said in ("0000-0002-1694-233X", whole, f"{whole}/")} == {whole}
    assert {ror(said) for said in ("04dkp9463", "ror.org/04DKP9463", "https://ror.org/04dkp9463/")} == {
        "https://ror.org/04dkp9463"
    }


WRONG = (
    ("TERP_ORCID", "Ada", "is no ORCID"),
    ("TERP_ORCID", "0000-0002-1825-0079", "checksum"),
    ("TERP_ORCID", "https://example.org/0000-0002-1825-0097", "is no ORCID"),
    ("TERP_AFFILIATION_ROR", "SURF", "is no ROR"),
    ("TERP_AFFILIATION_ROR", "https://ror.org/04dkp9436", "checksum"),
)


@pytest.mark.parametrize(("name", "said", "why"), WRONG)
def test_an_identifier_that_is_none_is_refused_before_anything_is_done(
    name: str, said: str, why: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, said)
    with pytest.raises(Usage, match=f"{name} is .*{why}"):
        api.run("climatology", home=home)
    assert not list(home.glob("runs/*"))


@pytest.mark.parametrize("said", ["0000-0002-1825-0097", "0000-0002-1694-233X"])
def test_any_one_digit_mistyped_in_an_orcid_is_seen(said: str) -> None:
    for place, digit in enumerate(said[:-1]):
        for other in set("0123456789") - {digit} if digit.isdigit() else ():
            with pytest.raises(Usage):
                orcid(said[:place] + other + said[place + 1 :])


# clocks


@pytest.fixture
def set_back(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock of this process to a time."""
    monkeypatch.setattr(clock, "_CLOCK", clock._Clock())
    told = [0.0]
    monkeypatch.setattr(clock.time, "time", lambda: told[0])
    return lambda seconds: told.__setitem__(0, seconds)


def test_a_clock_that_goes_back_gives_no_time_before_the_last_and_is_told(set_back: Callable[[float], None]) -> None:
    seen = []
    for seconds in (1000.0, 1001.0, 400.0, 500.0, 1002.0):
        set_back(seconds)
        seen.append(clock.now())
    assert seen == sorted(seen)
    assert seen[2] == seen[1]
    assert "went back by 601 s" in clock.went_back()


def test_a_small_step_back_is_not_worth_a_word(set_back: Callable[[float], None]) -> None:
    for seconds in (1000.0, 999.5):
        set_back(seconds)
        clock.now()
    assert clock.went_back() == ""


def test_a_later_start_of_a_run_on_a_machine_whose_clock_is_behind_ends_after_it_began(
    begun: Any, set_back: Callable[[float], None]
) -> None:
    where, record, *_ = begun
    set_back(1.0)
    record.go_on(where, 3)
    demand_progress(record)
    assert record.attempts[-1]["started"] >= record.started
    assert clock.now() >= record.started


def test_what_is_noted_at_the_start_takes_less_than_a_third_of_a_second(begun: Any) -> None:
    where, record, _, found = begun
    taken = []
    for _ in range(5):
        before = sum(os.times()[:4])  # CPU, that of git too: the clock tells of the neighbours
        capture(where, record, found, who(), {})
        taken.append(sum(os.times()[:4]) - before)
    assert min(taken) < 0.3, taken
