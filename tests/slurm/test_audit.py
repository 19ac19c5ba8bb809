"""`terp audit --site` reads what is kept again in a job, and what it found is known here."""

import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
from disturbed import Disturbed
from holdings import archived, folder_place, places
from test_tape import Site

from terp.storage.archive.copies import copy_to
from terp.storage.archive.ocfl import place as where
from terp.storage.home import Home

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with an object and a copy of it."""
    at = Home(tmp_path / "home").open()
    places(at, folder_place("disk", tmp_path / "disk"))
    assert copy_to(at, "disk", [archived(at, "one", size=2_000_000)])[1] == []
    return at


class Submitted(NamedTuple):
    """A job that audits, and the folder of what it says."""

    job: int
    folder: Path


def submitted(desk: Disturbed) -> Submitted:
    said = desk.terp("audit", "--site", "testbed")
    found = re.search(r"^job (\d+) reads at testbed; it tells how far it is in (\S+)", said)
    assert found, said
    return Submitted(int(found[1]), Path(found[2]))


def said_by(audit: Submitted) -> str:
    return "".join(path.read_text() for path in sorted(audit.folder.glob("*.log")))


def read_in_a_job(bed: Any, desk: Disturbed) -> tuple[str, str]:
    """Audit in a job; return how it ended, and what it said."""
    audit = submitted(desk)
    return bed.wait(audit.job, "COMPLETED", "FAILED", seconds=120), said_by(audit)


def test_an_audit_in_a_job_reads_every_copy_and_finds_what_is_damaged(bed: Any, home: Home) -> None:
    desk = Disturbed(home.root, bed.environment)
    state, said = read_in_a_job(bed, desk)
    assert (state, "all is as it was stored" in said) == ("COMPLETED", True), said
    damaged = home.root.parent / "disk" / where("urn:terp:one") / "v1/content/p.zarr.zip"
    data = bytearray(damaged.read_bytes())
    data[1_000_000] ^= 4
    damaged.chmod(0o644)
    damaged.write_bytes(data)
    state, said = read_in_a_job(bed, desk)
    assert state == "FAILED", said
    assert "disk: urn:terp:one: v1/content/p.zarr.zip is not what was stored" in said
    history = desk.terp("audit", "--history")
    assert re.search(r"urn:terp:one +disk .* 1$", history, re.MULTILINE), history


def test_what_is_still_on_tape_is_read_when_it_has_come_by_the_job_that_was_put_back(bed: Any, tmp_path: Path) -> None:
    at = Home(tmp_path / "home").open()
    tape = Site(tmp_path, at)
    tape.known_as()
    assert copy_to(at, "tape", [archived(at, "one", size=2_000_000)])[1] == []
    tape.call("put")
    tape.known_as("slow")
    desk = Disturbed(at.root, bed.environment)
    found = submitted(desk)
    desk.until(lambda: "still on tape" in said_by(found), "what is on tape", 60)
    tape.known_as("get")
    assert bed.wait(found.job, "COMPLETED", "FAILED", seconds=240) == "COMPLETED", said_by(found)
    assert said_by(found).count("all is as it was stored") == 1
