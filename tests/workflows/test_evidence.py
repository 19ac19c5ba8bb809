"""Whoever changes what was recorded of a run, or what was archived of it, is found, and the first line is named."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rfc8785
import xarray as xr
from blake3 import blake3

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
import products
from killing import told

from terp.storage.errors import BadInput, BadKey, BadPackage, DiskTrouble, Fenced
from terp.storage.home import Home
from terp.storage.journal import Chain, Journal
from terp.storage.product import StoredProduct
from terp.storage.source import identify
from terp.workflows.errors import BadRecord
from terp.workflows.results.deposit import redeposit
from terp.workflows.results.evidence import damage_of_journal
from terp.workflows.results.recorded import recorded
from terp.workflows.results.replay import How, replay
from terp.workflows.results.starts import starts_of
from terp.workflows.results.verify import verify
from terp.workflows.running.record import RunRecord, load_run
from terp.workflows.running.runner import is_whole

Terp = Callable[..., subprocess.CompletedProcess[str]]

FLOW = '''
import xarray as xr
from prefect import flow
from terp.workflows import Product, ingest, iterate, stage

@stage(cut=("y",))
def halved(block: xr.Dataset) -> xr.Dataset:
    return block / 2

def small(state: xr.Dataset) -> bool:
    return bool(state["v"].max() < 1)

@flow
def small_enough(source: str, note: str = "") -> Product:
    """Half of it until it is small."""
    return iterate(halved, ingest(source), limit=3, until=small)
'''


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source, a flow and a key."""
    folder = tmp_path_factory.mktemp("desk")
    grid = {"y": range(4), "x": range(6)}
    xr.Dataset({"v": (("y", "x"), np.full((4, 6), 3, "f4"))}, grid).to_netcdf(folder / "grid.nc")
    (folder / "mine.py").write_text(FLOW)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / "key"], check=True)
    return folder


@pytest.fixture(scope="module")
def made(desk: Path, prefect: dict[str, str]) -> Home:
    """A home with a finished, signed and archived run, and a second that found all of it."""
    home = desk / "home"
    words = [f"{desk / 'mine.py'}:small_enough", str(desk / "grid.nc"), "--set", f"note={home}/a token=x"]
    environment = {**os.environ, **prefect, "TERP_HOME": str(home), "TERP_AGENT": "A Tester", "HOME": str(desk)}
    environment |= {"TERP_SIGNING_KEY": str(desk / "key")}
    for _ in range(2):
        done = subprocess.run(
            [Path(sys.executable).with_name("terp"), "run", *words], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return Home(home)


@pytest.fixture
def copied(made: Home, tmp_path: Path) -> Home:
    """A home of the test's own to change things in."""
    shutil.copytree(made.root, tmp_path / "copy", symlinks=True)
    return Home(tmp_path / "copy")


def runs(home: Home) -> list[RunRecord]:
    return sorted((load_run(home, path.name) for path in home.runs.iterdir()), key=lambda run: run.started)


def journal(home: Home, run: RunRecord) -> Path:
    return run.folder(home) / "journal.jsonl"


def events(home: Home, run: RunRecord) -> list[dict[str, Any]]:
    return Chain.of(journal(home, run).read_bytes()).entries()


def content(home: Home) -> Path:
    [found] = home.archive.rglob("v1/content")
    return found


def test_the_journal_tells_the_story_of_a_run(made: Home) -> None:
    first, second = runs(made)
    story = [entry["event"] for entry in events(made, first)]
    stage = ["stage begun", "captured", "stage ended"]
    begin = ["begun", "captured", "policy chosen", "started", "planned"]
    end = ["workers ended", "captured", "archiving", "archived", "stopped"]
    assert story == [*begin, *stage, *stage, "decided", *stage, "decided", *end]
    planned = events(made, first)[4]["facts"]
    assert [one["why"] for one in planned["stages"]] == ["never made here"] * 2
    keys = {
        entry["facts"]["key"]: entry["facts"]["values"]
        for entry in events(made, first)
        if "ended" in entry["event"] and "key" in entry["facts"]
    }
    assert keys == {one.key: one.values for one in first.stages}
    again = [entry["facts"] for entry in events(made, second) if entry["event"] == "reused"]
    assert {one["key"]: (one["values"], one["made_by"]) for one in again} == {
        key: (values, first.id) for key, values in keys.items()
    }
    assert all(one.made_by == first.id and one.made_at for one in second.stages)
    assert "archived before" in [entry["event"] for entry in events(made, second)]


def test_nothing_personal_goes_into_a_journal(made: Home) -> None:
    import socket

    whole = "".join(journal(made, run).read_text() for run in runs(made))
    text = re.sub("[0-9a-f]{20,}", "", whole)  # digests hold any number
    for word in (str(made.root), str(made.root.parent), socket.gethostname(), str(os.getpid())):
        assert word not in text


def test_all_is_as_it_was_recorded_and_who_signed_is_said(made: Home, desk: Path) -> None:
    for run in runs(made):
        checked, damage = verify(made, run.id)
        assert damage == []
        assert f"the journal of {run.id}" in checked
    fingerprint = subprocess.run(["ssh-keygen", "-l", "-f", desk / "key.pub"], capture_output=True, text=True).stdout
    assert any(fingerprint.split()[1] in one for one in checked)


def test_the_readme_of_a_signed_object_tells_of_each_file_that_is_there(made: Home) -> None:
    text = (content(made) / "README.md").read_text()
    assert [path.name for path in content(made).iterdir() if f"| `{path.name}` |" not in text] == []


def test_the_head_of_the_journal_is_in_the_crate_and_all_checksums_hold(made: Home) -> None:
    folder = content(made)
    last = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)[-1]
    assert blake3(last).hexdigest() in (folder / "ro-crate-metadata.json").read_text()
    done = subprocess.run(["sha512sum", "--quiet", "-c", "SHA512SUMS"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert {"journal.jsonl", "ro-crate-metadata.json"} <= set((folder / "SHA512SUMS").read_text().split())


def test_the_signature_is_verified_by_the_three_commands_of_the_page(made: Home, desk: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/archivists.md").read_text()
    block = page.partition("ssh-keygen -Y verify")[0].rpartition("```text\n")[2]
    block += "ssh-keygen -Y verify" + page.partition("ssh-keygen -Y verify")[2].partition("```")[0]
    script = "\n".join(line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))
    assert script.count("\n") == 2
    shutil.copy(desk / "key.pub", content(made).parent / "maker.pub")
    try:
        script = script.replace("maker.pub", "../maker.pub").replace("allowed_signers", "../allowed_signers")
        done = subprocess.run(["bash", "-euc", script], cwd=content(made), capture_output=True, text=True)
    finally:
        for name in ("maker.pub", "allowed_signers"):
            (content(made).parent / name).unlink(missing_ok=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Good "file" signature' in done.stdout


def edit(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    data = b"".join(change(path.read_bytes().splitlines(keepends=True)))
    path.chmod(0o644)
    path.write_bytes(data)


CHANGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
    "edited": (lambda lines: [*lines[:4], lines[4].replace(b'"regions":1', b'"regions":9'), *lines[5:]], 5),
    "deleted": (lambda lines: [*lines[:4], *lines[5:]], 5),
    "swapped": (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], 5),
    "duplicated": (lambda lines: [*lines[:5], *lines[4:]], 6),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_line_of_a_journal_is_named(copied: Home, change: str) -> None:
    run = runs(copied)[0]
    how, line = CHANGES[change]
    edit(journal(copied, run), how)
    [said] = [one for one in verify(copied, run.id)[1] if "journal" in one]
    assert f"{run.id}: line {line} " in said


def test_a_journal_that_was_cut_short_or_is_gone_is_told(copied: Home) -> None:
    run = runs(copied)[0]
    whole = len(events(copied, run))
    edit(journal(copied, run), lambda lines: lines[:-2])
    assert f"line {whole - 1} is gone" in damage_of_journal(copied, run)[0]
    journal(copied, run).unlink()
    assert "line 1 is gone" in damage_of_journal(copied, run)[0]


def test_a_line_that_a_stranger_adds_rightly_to_what_is_over_is_told(copied: Home) -> None:
    run = runs(copied)[0]
    whole = len(events(copied, run))
    Journal(journal(copied, run)).append("decided", {"stop": True})
    assert f"line {whole + 1} was put in" in damage_of_journal(copied, run)[0]


def test_a_journal_that_is_made_anew_whole_is_not_the_one_that_was_archived(copied: Home) -> None:
    """Somebody writes a chain that holds and puts its head into the record."""
    run = runs(copied)[0]
    told = events(copied, run)
    journal(copied, run).unlink()
    for entry in told:
        run.note(copied, entry["event"], **entry["facts"])
    run.save(copied)
    assert Chain.of(journal(copied, run).read_bytes()).damage() == ""
    said = damage_of_journal(copied, load_run(copied, run.id))
    assert len(said) == 1
    assert "its journal is not the one of its run" in said[0]


def forge(home: Home, name: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change a file of the object, and all that OCFL knows of it."""
    edit(content(home) / name, change)
    digest = hashlib.sha512((content(home) / name).read_bytes()).hexdigest()
    for folder in (content(home).parent, content(home).parents[1]):
        inventory = json.loads((folder / "inventory.json").read_bytes())
        old = next(one for one, paths in inventory["manifest"].items() if paths == [f"v1/content/{name}"])
        text = (folder / "inventory.json").read_text().replace(old, digest)
        (folder / "inventory.json").write_text(text)
        sums = hashlib.sha512(text.encode()).hexdigest()
        (folder / "inventory.json.sha512").write_text(f"{sums}  inventory.json\n")


def resum(home: Home) -> None:
    """Have the object's checksums be those of what is there."""
    folder = content(home)
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("SHA512SUMS"))
    lines = [f"{hashlib.sha512((folder / name).read_bytes()).hexdigest()}  {name}\n".encode() for name in names]
    forge(home, "SHA512SUMS", lambda _: lines)


def appended(lines: list[bytes]) -> list[bytes]:
    entry = json.loads(lines[-1])
    entry |= {"number": entry["number"] + 1, "before": blake3(lines[-1]).hexdigest()}
    return [*lines, rfc8785.dumps(entry) + b"\n"]


@pytest.mark.parametrize("change", [*CHANGES, "cut short", "appended rightly"])
def test_a_forged_journal_in_an_object_is_told_though_its_inventory_fits(copied: Home, change: str) -> None:
    run = runs(copied)[0]
    number = len((content(copied) / "journal.jsonl").read_bytes().splitlines())
    more = {"cut short": (lambda lines: lines[:-1], number - 1), "appended rightly": (appended, number + 1)}
    how, line = {**CHANGES, **more}[change]
    forge(copied, "journal.jsonl", how)
    damage = verify(copied, run.archived["identifier"])[1]
    assert any(f"journal.jsonl: line {line} " in one for one in damage), damage
    assert any("by SHA512SUMS journal.jsonl should be otherwise" in one for one in damage)


def test_forged_checksums_are_told_by_the_signature_and_by_the_journal_of_the_run(copied: Home) -> None:
    run = runs(copied)[0]
    forge(copied, "flow.py", lambda lines: [*lines, b"# forged\n"])
    damage = verify(copied, run.archived["identifier"])[1]
    assert any("by SHA512SUMS flow.py should be otherwise" in one for one in damage)
    resum(copied)
    damage = verify(copied, run.archived["identifier"])[1]
    noted = "flow.py is not the one whose digest journal.jsonl has"
    assert [one.partition(": ")[2].partition(":")[0] for one in damage] == [noted, "SHA512SUMS.sig"]
    assert any("its SHA512SUMS is not the one that its run archived" in one for one in damage_of_journal(copied, run))


def test_terp_verify_ends_with_65_and_names_the_line(terp: Terp, copied: Home) -> None:
    run = runs(copied)[0]
    edit(journal(copied, run), CHANGES["edited"][0])
    said = terp("--home", str(copied.root), "verify", run.id)
    assert said.returncode == 65
    assert "line 5 was altered" in said.stdout


def test_a_run_whose_journal_was_altered_is_not_archived(copied: Home, prefect: dict[str, str]) -> None:
    run = runs(copied)[0]
    edit(journal(copied, run), CHANGES["edited"][0])
    shutil.rmtree(copied.archive)
    from terp.workflows.planning.load import load_flow
    from terp.workflows.running.report import LogReporter

    with pytest.raises(BadRecord, match=r"line 5 was altered.*run the same command again"):
        redeposit(copied, run, load_flow(run.target), LogReporter())
    assert not list(copied.archive.rglob("inventory.json"))
    assert prefect


FILES = ("captured/flow.py", "captured/changes.diff", "captured/policy.toml", "source.zip", "terp.zip", "code.json")
MEMBERS = ("agent", "environment", "code", "machines", "software", "sources", "parameters")


def test_what_is_kept_of_a_run_is_named_where_it_was_altered_or_is_gone_or_was_put_in(copied: Home) -> None:
    run = runs(copied)[0]
    folder = run.folder(copied)
    for name in FILES:
        whole = (folder / name).read_bytes()
        for how, data in (("was altered", whole + b" "), ("is gone", None)):
            (folder / name).unlink() if data is None else (folder / name).write_bytes(data)
            assert damage_of_journal(copied, run) == [f"{run.id}: {name} {how} since it was noted"]
        (folder / name).write_bytes(whole)
    (folder / "captured" / "environment-ab.json").write_text("{}")
    assert damage_of_journal(copied, run) == [f"{run.id}: captured/environment-ab.json was put in since it was noted"]


def test_a_member_of_the_record_that_was_edited_is_named_and_the_run_is_not_archived(copied: Home) -> None:
    run = runs(copied)[0]
    path = run.folder(copied) / "run.json"
    whole = path.read_bytes()
    for member in MEMBERS:
        plain = json.loads(whole)
        plain[member] = [*plain[member], {}] if isinstance(plain[member], list) else plain[member] | {"x": 1}
        path.write_text(json.dumps(plain))
        edited = load_run(copied, run.id)
        said = f"run.json#/{member} was altered"
        assert damage_of_journal(copied, edited)[0] == f"{run.id}: {said} since it was noted"
        refused(copied, edited, said)


def test_a_run_of_which_a_kept_file_was_edited_is_not_archived(copied: Home) -> None:
    run = runs(copied)[0]
    for name in FILES:
        whole = (run.folder(copied) / name).read_bytes()
        (run.folder(copied) / name).write_bytes(whole + b"\n")
        refused(copied, run, f"{name} was altered")
        (run.folder(copied) / name).write_bytes(whole)


def refused(home: Home, run: RunRecord, why: str) -> None:
    from terp.workflows.planning.load import load_flow
    from terp.workflows.running.report import LogReporter

    shutil.rmtree(home.archive, ignore_errors=True)
    with pytest.raises(BadRecord, match=f"{why}.*Nothing is archived of it: run the same command again"):
        redeposit(home, run, load_flow(run.target), LogReporter())
    assert not list(home.archive.rglob("inventory.json"))


def test_code_that_is_not_what_the_journal_has_is_not_replayed_though_all_checksums_fit(copied: Home) -> None:
    run = runs(copied)[0]
    with zipfile.ZipFile(content(copied) / "source.zip") as held:
        texts = {name: held.read(name) for name in held.namelist()}
    with zipfile.ZipFile(content(copied) / "other.zip", "w") as other:
        for name, text in texts.items():
            other.writestr(name, text.replace(b"/ 2", b"/ 3"))
    forged = (content(copied) / "other.zip").read_bytes()
    (content(copied) / "other.zip").unlink()
    forge(copied, "source.zip", lambda _: [forged])
    resum(copied)
    said = "source.zip is not the one whose digest journal.jsonl has"
    assert any(said in one for one in verify(copied, run.archived["identifier"])[1])
    with pytest.raises(BadPackage, match=said):
        replay(copied, run.id, How(environment="here"))


@pytest.mark.parametrize("name", ["flow.py", "environment.lock", "replay.json"])
def test_what_a_crate_makes_of_code_and_environment_is_held_by_its_journal_too(copied: Home, name: str) -> None:
    run = runs(copied)[0]
    forge(copied, name, lambda lines: [*lines, b" "])
    resum(copied)
    said = f"{name} is not the one whose digest journal.jsonl has"
    assert any(said in one for one in verify(copied, run.archived["identifier"])[1])
    with pytest.raises(BadPackage, match=said):
        recorded(copied, run.id, copied.root).prove()


KILLED = """
import json, sys
from pathlib import Path
import killing
from terp.storage.home import Home
from terp.workflows.results.evidence import damage_of_journal, demand_as_noted
from terp.workflows.running.held import hold
from terp.workflows.running.record import load_run

def note(place, word):
    home = Home(place)
    run = load_run(home, "last")
    run.agent = {"name": word}
    hold(home, run, {"captured/flow.py": word.encode(), f"captured/{word}": b"1"}, ("agent",))

def act(place, tell):
    note(place, "first")
    tell("1")
    note(place, "second")

for name, dead, said, count in killing.everywhere(sys.argv[1], sys.argv[2], 20, act):
    home = Home(Path(sys.argv[2]) / name)
    wrong = damage_of_journal(home, load_run(home, "last"))
    act(home.root, lambda text: None)
    again = load_run(home, "last")
    again.state = "finished"
    demand_as_noted(home, again)
    print(json.dumps([name, dead, wrong, damage_of_journal(home, again)]))
"""


def test_a_run_killed_between_the_event_and_what_it_tells_of_is_sound_and_goes_on(home: Path, tmp_path: Path) -> None:
    RunRecord.begin(Home(home).open(), "mine", "mine", {})
    (tmp_path / "killed").mkdir()
    lines = [json.loads(line) for line in told(KILLED, home, tmp_path / "killed")]
    assert len(lines) > 20
    assert all(dead for name, dead, *_ in lines if name != "whole")
    assert [line for line in lines if line[2] or line[3]] == []


def test_a_newer_start_of_a_run_goes_on_with_its_journal_and_the_older_cannot(home: Path) -> None:
    house = Home(home).open()
    older = RunRecord.begin(house, "mine", "mine", {})
    older.go_on(house, 2)
    newer = load_run(house, older.id)
    newer.go_on(house, 1)
    with pytest.raises(Fenced):
        older.note(house, "stage ended")
    newer.note(house, "stopped", state="finished")
    newer.state = "finished"
    newer.save(house)
    assert [entry["event"] for entry in events(house, newer)] == ["begun", "started", "started", "stopped"]
    assert damage_of_journal(house, newer) == []


def test_each_start_of_a_run_is_told_with_why_the_one_before_ended(home: Path) -> None:
    house = Home(home).open()
    run = RunRecord.begin(house, "mine", "mine", {})
    run.agent = {"name": "Ada"}
    for left, state in ((9, ""), (7, "to go on"), (4, "failed"), (2, "")):
        run = replace(load_run(house, run.id), agent=run.agent)
        run.go_on(house, left)
        if left == 2:
            run.attempts[-1]["holder"] = {**run.attempts[-1]["holder"], "host": "another", "job": "17.2"}
        if state:
            run.note(house, "stopped", state=state, why="Gone: it was.")
            run.save(house)
    told = starts_of(house, run)
    assert [(one.left, one.well, one.ending.partition(":")[0]) for one in told] == [
        (9, False, "it ended without a word"),
        (7, True, "its time was up, and it was to go on later"),
        (4, False, "it failed"),
        (2, True, "it finished"),
    ]
    assert dict(told[0].facts) == {"machine": "1", "by": "Ada"}
    assert dict(told[3].facts) == {"machine": "2", "SLURM job": "17", "by": "Ada"}
    assert starts_of(house, RunRecord.begin(house, "mine", "mine", {})) == []


def test_two_runs_at_once_have_each_a_journal_of_their_own(home: Path) -> None:
    house = Home(home).open()
    pair = [RunRecord.begin(house, "mine", "mine", {}) for _ in range(2)]
    for number in range(3):
        for run in pair:
            run.note(house, "decided", number=number)
    for run in pair:
        run.save(house)
        assert damage_of_journal(house, run) == []
        assert [entry["number"] for entry in events(house, run)] == [1, 2, 3, 4]


def test_a_killed_run_whose_journal_is_ahead_of_its_record_is_sound(home: Path) -> None:
    house = Home(home).open()
    run = RunRecord.begin(house, "mine", "mine", {})
    run.go_on(house, 1)
    run.note(house, "stage begun", stage="a")
    with journal(house, run).open("ab") as torn:
        torn.write(b'{"before"')
    assert damage_of_journal(house, load_run(house, run.id)) == []


def test_a_run_of_a_terp_that_kept_no_journal_is_as_it_was(copied: Home) -> None:
    run = runs(copied)[0]
    journal(copied, run).unlink()
    run.journal, run.archived = {}, {}
    assert damage_of_journal(copied, run) == []


def test_a_home_that_can_only_be_read_is_verified(made: Home) -> None:
    run, script = (
        runs(made)[0],
        "mount --bind -o ro $0 $0 && mount -o remount,bind,ro $0 && touch $0/x; exec $1 verify $2",
    )
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs a mount of its own, as root may have with unshare(1)")
    words = ["unshare", "-m", "bash", "-c", script, str(made.root), str(Path(sys.executable).with_name("terp")), run.id]
    said = subprocess.run(words, env={**os.environ, "TERP_HOME": str(made.root)}, capture_output=True, text=True)
    assert "Read-only" in said.stderr
    assert "all is as it was recorded" in said.stdout, said.stdout + said.stderr


def test_a_key_that_cannot_be_used_is_told_before_anything_runs(
    desk: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from terp.workflows import api

    shutil.copy(desk / "key", tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    monkeypatch.setenv("TERP_SIGNING_KEY", str(tmp_path / "key"))
    with pytest.raises(BadKey, match="chmod 600"):
        api.run(f"{desk / 'mine.py'}:small_enough", str(desk / "grid.nc"))
    assert not list((home / "runs").iterdir())


@pytest.mark.parametrize("unreadable", ["", "v/c/0/0", "v/c"])
def test_who_may_not_read_a_source_is_not_given_what_was_made_of_it(unreadable: str) -> None:
    """Though its digest is known, and so the key of all that was made of it; nobody is root here."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        xr.Dataset({"v": (("y", "x"), np.ones((4, 6), "f4"))}).to_zarr(
            place / "grid.zarr", zarr_format=3, consolidated=False
        )
        closed = place / "grid.zarr" / unreadable
        for path in (place / "grid.zarr").rglob("*"):
            os.utime(path, (10**9, 10**9))
        known = identify(place / "grid.zarr", place / "cache")
        closed.chmod(0)
        with pytest.raises(BadInput, match=r"Permission denied"), as_nobody():
            identify(place / "grid.zarr", place / "cache")
        closed.chmod(0o755)
        with as_nobody():
            assert identify(place / "grid.zarr", place / "cache").content == known.content


def test_who_may_not_read_a_product_cannot_have_it_reused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        product = products.new(Path(folder) / "home")
        products.fill(product)
        for closed in (product.folder / "product.json", product.folder / "seal.json", product.data):
            closed.chmod(0)
            with pytest.raises(DiskTrouble, match="may not read"), as_nobody():
                is_whole(StoredProduct(product.folder))
            closed.chmod(0o755)
        with as_nobody():
            assert is_whole(StoredProduct(product.folder))


@contextmanager
def as_nobody() -> Iterator[None]:
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_two_flows_that_run_at_once_in_one_home_end_up_archived_each_with_its_own(
    desk: Path, home: Path, prefect: dict[str, str]
) -> None:
    """What both would make, as a source that both take in, only one makes, and the other is told to wait."""
    (desk / "other.py").write_text(FLOW.replace("block / 2", "block / 4").replace("small_enough", "smaller"))
    xr.Dataset({"v": (("y", "x"), np.full((4, 6), 5, "f4"))}, {"y": range(4), "x": range(6)}).to_netcdf(desk / "b.nc")
    environment = {**os.environ, **prefect, "TERP_HOME": str(home)}
    command = [str(Path(sys.executable).with_name("terp")), "run", "--quiet", "--workers", "1"]
    started = [
        subprocess.Popen([*command, str(desk / target), str(desk / source)], env=environment, stderr=subprocess.PIPE)
        for target, source in (("mine.py:small_enough", "grid.nc"), ("other.py:smaller", "b.nc"))
    ]
    ended = [(process.communicate()[1], process.returncode) for process in started]
    assert [code for _, code in ended] == [0, 0], ended
    house = Home(home)
    for run in runs(house):
        assert verify(house, run.id)[1] == []
        folder = Path(run.archived["path"]) / "v1" / "content"
        text = (folder / "flow.py").read_text()
        assert f"def {'smaller' if run.flow == 'smaller' else 'small_enough'}(" in text
        assert f"block / {4 if run.flow == 'smaller' else 2}" in text
        begun = Chain.of((folder / "journal.jsonl").read_bytes()).entry(1)
        assert (begun["event"], begun["facts"]["run"]) == ("begun", run.id)
    assert len({run.archived["identifier"] for run in runs(house)}) == 2
