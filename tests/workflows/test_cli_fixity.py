"""`terp audit` and `terp repair` as people call them, on an archive with a copy in a place."""

import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
import kept

from terp.storage import files
from terp.storage.archive.custody import Events
from terp.storage.places import Folder
from terp.workflows.cli import terp as command
from terp.workflows.errors import Usage

Call = Callable[..., tuple[int, str]]


pytestmark = pytest.mark.usefixtures("archive")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setattr(files, "GLANCE", 0.0)

    def called(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = command.main(list(words), standalone_mode=False)
        return int(code or 0), capsys.readouterr().out

    return called


@pytest.fixture
def archive(home: Path, tmp_path: Path) -> Folder:
    """An archive of two objects with a copy of both in the attic."""
    made = kept.archive(home, (kept.URN, "urn:terp:other:1"))
    attic = kept.copied(made, tmp_path / "attic")
    (home / "custody").mkdir(exist_ok=True)
    about = f'[[place]]\nname = "attic"\nkind = "folder"\npath = "{attic.root}"\naudit_every = "P1Y"\n'
    (home / "custody/places.toml").write_text(about)
    return made


def spoil(root: Path, urn: str = kept.URN) -> Path:
    path = root / kept.home_of(urn) / "v1/content/rows.zarr.zip"
    table = json.loads(path.with_name(f"{path.name}.members.json").read_bytes())
    data = bytearray(path.read_bytes())
    data[next(one["offset"] for one in table["members"] if one["name"] == "wind/c/1/0")] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    return path


def test_damage_is_told_mended_and_remembered(call: Call, archive: Folder, home: Path) -> None:
    assert call("audit")[0] == 0
    spoil(archive.root)
    code, said = call("audit", kept.URN)
    assert (code, "the array wind, x 1 to 2" in said, "1 files are damaged" in said) == (65, True, True)
    rows = json.loads(call("audit", "--history", "--json")[1])
    assert {(one["place"], one["object"]): one["damage"] for one in rows} == {
        ("archive", kept.URN): 1,
        ("archive", "urn:terp:other:1"): 0,
        ("attic", kept.URN): 0,
        ("attic", "urn:terp:other:1"): 0,
    }
    code, said = call("repair")
    assert (code, "is as it was stored again: from archive, attic" in said) == (0, True)
    assert call("audit")[0] == 0
    events = [one["event"] for one in Events(home / "custody").of(kept.URN)]
    assert events == ["damage found", "damage found", "repaired"][-len(events) :]


def test_what_is_due_is_read_and_nothing_else(call: Call, home: Path) -> None:
    assert json.loads(call("audit", "--due", "--json")[1])["files"] > 0
    assert json.loads(call("audit", "--due", "--json")[1])["files"] == 0
    [report] = [p for p in (home / "custody/audits").glob("*/report.json") if json.loads(p.read_bytes())["files"]]
    plain = json.loads(report.read_bytes())
    for line in plain["objects"]:
        line["at"] = (datetime.fromisoformat(line["at"]) - timedelta(days=120)).isoformat()
    report.write_text(json.dumps(plain))
    lines = json.loads(call("audit", "--due", "--json")[1])["objects"]
    assert {line["place"] for line in lines} == {"archive"}


def test_a_place_that_is_away_holds_up_no_other(call: Call, tmp_path: Path) -> None:
    (tmp_path / "attic").rename(tmp_path / "away")
    code, said = call("audit", "--json")
    plain: dict[str, Any] = json.loads(said)
    assert (code, list(plain["away"]), len(plain["objects"])) == (74, ["attic"], 2)
    (tmp_path / "away").rename(tmp_path / "attic")
    assert call("audit")[0] == 0


def test_an_audit_with_no_time_left_says_that_it_goes_on(call: Call) -> None:
    code, said = call("audit", "--budget", "0s")
    assert (code, "the same command goes on" in said) == (75, True)
    assert call("audit")[0] == 0


def test_what_is_not_there_is_refused_in_words(call: Call) -> None:
    with pytest.raises(Usage, match="no object 'urn:none'"):
        call("audit", "urn:none")
    with pytest.raises(Usage, match="no place 'cellar': known are archive, attic"):
        call("repair", "--place", "cellar")
