"""What a site will soon remove from its scratch is named days before, and kept when asked."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from terp.storage.archive import Archive
from terp.storage.archive.known import Copy, Known
from terp.storage.home import Home
from terp.workflows.cli import terp as command
from terp.workflows.results.guard import at_risk, purged
from terp.workflows.running.record import RunRecord

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SITE = """
[site.lab]
partition = "main"
walltime = "1:00:00"
max_workers = 4

[site.lab.partitions.main]
cores = 4
memory = "8G"
walltime = "1:00:00"

[site.lab.file_systems.scratch]
path = "$LAB_SCRATCH"
purge_days = {}
"""
URN = "urn:terp:guarded:1"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Give a home on a scratch that is purged after 14 days, and another folder to be in."""
    monkeypatch.setenv("LAB_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("TERP_HOME", str(tmp_path / "scratch/terp"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "terp.toml").write_text(SITE.format(14))
    return Home(tmp_path / "scratch/terp").open()


def made(home: Home, days: float, now: datetime = NOW, **about: object) -> RunRecord:
    """Record a run whose product was made so many days ago."""
    run = RunRecord.begin(home, "noise", "mine.py:noise", {})
    run.state, run.results = "finished", {"noise": f"noise-{run.id}"}
    for name, value in about.items():
        setattr(run, name, value)
    run.save(home)
    path = home.product(run.results["noise"]) / "product.json"
    path.parent.mkdir()
    path.write_text("{}")
    _aged(path, days, now)
    return run


def _aged(path: Path, days: float, now: datetime) -> None:
    when = (now - timedelta(days=days)).timestamp()
    os.utime(path, (now.timestamp(), when))  # read just now: that does not count


def archived(home: Home, days: float, now: datetime = NOW) -> None:
    source = home.root / "readme"
    source.write_text("read")
    _aged(source, days, now)
    archive = Archive(home.archive)
    archive.create_if_missing()
    archive.ingest(URN, {"README.md": source}, message="m", user_name="n", created=NOW, move=True)


def test_a_result_is_named_days_before_it_goes_and_not_earlier(home: Home) -> None:
    made(home, days=6.5)
    assert at_risk(home, NOW) == []
    run = made(home, days=7.5)
    [one] = at_risk(home, NOW)
    assert one.what == f"the run {run.id}"
    assert one.goes == NOW + timedelta(days=6.5)
    assert one.said(NOW) == (
        f"the run {run.id} is on scratch of lab, which removes it in 6 days (2026-12-05): terp archive {run.id}"
    )


def test_what_is_past_its_day_may_go_any_moment(home: Home) -> None:
    made(home, days=20)
    assert "any moment now" in at_risk(home, NOW)[0].said(NOW)


def test_a_run_that_is_archived_is_safe_when_a_copy_is_elsewhere(home: Home) -> None:
    made(home, days=10, archived={"identifier": URN})
    archived(home, days=12)
    [one] = at_risk(home, NOW)
    assert (one.what, one.cure) == (URN, f"terp copy {URN} --to PLACE")
    digest = next(home.archive.glob("*/*/*/*/inventory.json.sha512")).read_text().split()[0]
    Known(home.custody).write(Copy(URN, "second", "folder", "whole", "v1", digest))
    assert at_risk(home, NOW) == []


def test_a_run_that_has_not_ended_is_not_told_to_be_archived(home: Home) -> None:
    run = made(home, days=13, state="failed")
    assert "terp archive" not in at_risk(home, NOW)[0].cure
    assert run.id in at_risk(home, NOW)[0].cure


def test_of_two_sites_that_share_a_scratch_the_sooner_counts(home: Home, tmp_path: Path) -> None:
    (tmp_path / "terp.toml").write_text(
        SITE.format(14) + SITE.replace("lab.", "den.").replace("lab]", "den]").format(6)
    )
    found = purged(home)
    assert found is not None
    assert found.days == 6


def test_a_home_that_no_site_purges_is_at_no_risk(home: Home, tmp_path: Path) -> None:
    safe = Home(tmp_path / "project").open()
    made(safe, days=400)
    assert (purged(safe), at_risk(safe, NOW)) == (None, [])
    made(home, days=400)
    (tmp_path / "terp.toml").unlink()
    assert at_risk(home, NOW) == []


def test_the_sites_that_come_with_terp_have_their_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ann")
    found = purged(Home(Path("/scratch-shared/ann/terp")))
    assert found is not None
    assert (found.name, found.days) == ("scratch-shared of snellius", 14)
    local = purged(Home(Path("/scratch-local/ann/terp")))
    assert local is not None
    assert local.days == 6


def test_status_and_guard_name_it(home: Home) -> None:
    now = datetime.now(UTC)
    run = made(home, days=10, now=now)
    told = CliRunner().invoke(command, ["status"], standalone_mode=False)
    assert f"note: the run {run.id} is on scratch of lab" in told.stderr
    plain = CliRunner().invoke(command, ["guard", "--json"], standalone_mode=False)
    assert json.loads(plain.stdout)["at_risk"][0]["cure"] == f"terp archive {run.id}"


def test_guard_copies_what_is_archived_when_asked(home: Home, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    archived(home, days=12, now=now)
    policy = (Path(__file__).parents[1] / "policy.toml").read_bytes()
    (tmp_path / "policy.toml").write_bytes(policy)
    files = {"README.md": Archive(home.archive).files(URN)["README.md"], "policy.toml": tmp_path / "policy.toml"}
    Archive(home.archive).ingest(URN, files, message="m", user_name="n", created=NOW)
    (tmp_path / "safe").mkdir()
    home.custody.mkdir(exist_ok=True)
    (home.custody / "places.toml").write_text(
        f'[[place]]\nname = "safe"\nkind = "folder"\naudit_every = "P1Y"\npath = "{tmp_path / "safe"}"\n'
    )
    done = CliRunner().invoke(command, ["guard", "--copy", "safe"], standalone_mode=False)
    assert done.exception is None, done.exc_info
    assert list((tmp_path / "safe").rglob("README.md"))
    again = CliRunner().invoke(command, ["guard"], standalone_mode=False)
    assert "nothing in" in again.stdout
