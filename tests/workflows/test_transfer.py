"""What leaves the archive and comes in again, by command, of a real run that knows more than it may tell."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import bagit
import numpy as np
import pytest
import xarray as xr
from lxml import etree

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
import objects
from test_dip import leaks

from terp.storage.archive.custody import Events
from terp.storage.archive.policy import after
from terp.storage.archive.terms import first_version
from terp.storage.errors import BadPolicy
from terp.storage.home import Home
from terp.storage.package.zipstore import open_zip
from terp.storage.transfer import export
from terp.storage.transfer.dip import Request
from terp.workflows.cli.transfer import export_command, import_command
from terp.workflows.errors import Usage
from terp.workflows.results.show import open_archived

Terp = Callable[..., subprocess.CompletedProcess[str]]
DAY = date(2026, 11, 28)
WORD, NUMBER = "zwartestern", 41_414  # of what is closed
pytestmark = pytest.mark.filterwarnings("ignore:'count' is passed:DeprecationWarning")  # by bagit

FLOW = f'''
import xarray as xr
from prefect import flow
from terp.workflows import Product, ingest, stage

@stage(cut=("time",))
def {WORD}_counted(block: xr.Dataset, least: int) -> xr.Dataset:
    return block.where(block["{WORD}"] >= least, 0)

@flow
def counts(source: str, least: int = {NUMBER}, note: str = "for the {WORD}") -> Product:
    """Count the {WORD} of the coast."""
    return {WORD}_counted(ingest(source), least=least)
'''
CLOSED = f"""
[[beperkingGebruik]]
type = "Overig"
grond = "Archiefwet 1995, artikel 15, lid 1, onder a"
looptijd = "P40Y"
variables = ["{WORD}"]
"""


@pytest.fixture
def home(one_home: Path) -> Path:
    return one_home


@pytest.fixture
def made(terp: Terp, module_home: Path) -> str:
    """The identifier of what a run made of counts of two birds, one of which nobody may know; made once."""
    known = module_home / "record.json"
    if not known.exists():
        desk = module_home.parent
        (desk / "birds.py").write_text(FLOW)
        (desk / "policy.toml").write_text(objects.POLICY_TEXT + CLOSED)
        data = {name: (("time", "x"), np.full((12, 6), number)) for name, number in (("meeuw", 7.0), (WORD, NUMBER))}
        times = np.array([f"1999-{month:02}-01" for month in range(1, 13)], "M8[ns]")
        whole = xr.Dataset(data, {"time": times, "x": np.arange(6.0)}, {"history": f"of {WORD}: {NUMBER}"})
        whole["meeuw"].attrs = {"units": "1", "comment": f"beside the {WORD}", "valid_max": NUMBER}
        whole.to_netcdf(desk / f"{WORD}.nc")
        words = ("run", "birds.py:counts", f"{WORD}.nc", "--policy", "policy.toml", "--json")
        done = terp(*words, cwd=desk)
        assert done.returncode == 0, done.stderr
        known.write_text(done.stdout)
    return str(json.loads(known.read_text())["archived"]["identifier"])


def exported(terp: Terp, *words: str | Path) -> dict[str, Any]:
    done = terp("export", *map(str, words), "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_15_a_copy_of_a_real_run_tells_nothing_of_what_is_closed(
    terp: Terp, home: Path, made: str, tmp_path: Path
) -> None:
    told = exported(terp, made, tmp_path / "dip", "--to", "dip", "--where", "time=1999-03..1999-05")
    assert leaks(tmp_path / "dip", WORD, NUMBER) == []
    found = open_zip(tmp_path / "dip/data.zarr.zip")
    assert set(found.data_vars) == {"meeuw"}
    assert found.sizes == {"time": 3, "x": 6}
    assert told["withheld"][0]["until"] == after(first_version(Home(home).archive, made).made, "P40Y").isoformat()
    request = Request((), {}, "full", DAY, "A. Reader", "agreement 12")
    export.to_dip(Home(home), made, export.Whither(tmp_path / "all", DAY), request)
    assert len({one.rpartition(" in ")[2] for one in leaks(tmp_path / "all", WORD, NUMBER)}) > 10


def test_what_is_partly_closed_leaves_whole_for_one_who_is_named(
    terp: Terp, home: Path, made: str, tmp_path: Path, shared: Path
) -> None:
    refused = terp("export", made, str(tmp_path / "bag"), "--to", "bagit")
    assert refused.returncode == 78
    assert "say for whom it is and on which ground" in refused.stderr
    who = ("--for", "Het Archief", "--ground", "overbrenging")
    export.to_bag(Home(home), made, export.Whither(tmp_path / "bag", DAY, *who[1::2]))
    bagit.Bag(str(tmp_path / "bag")).validate()
    exported(terp, made, tmp_path / "sip", "--to", "sip", *who, "--destination", "Het Archief", "--contact", "Bea")
    [found] = (shared / "vectors/mdto/official/schema/v1.0.1").glob("*.xsd")
    schema = etree.XMLSchema(etree.parse(found))
    for path in (tmp_path / "sip").rglob("*.MDTO.xml"):
        schema.assertValid(etree.parse(path))
    events = Events(home / "custody").of(made)
    assert [one["facts"]["as"] for one in events if one["event"] == "exported"][-2:] == ["bag", "sip"]
    with pytest.raises(Usage, match="--profile is for --to dip"):
        export_command([made, str(tmp_path / "x"), "--to", "bagit", "--profile", "full"], standalone_mode=False)


def test_what_left_comes_into_another_archive_and_is_opened_there(
    terp: Terp, home: Path, made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export.to_bag(Home(home), made, export.Whither(tmp_path / "bag", DAY, "Het Archief", "overbrenging"))
    there = str(tmp_path / "there")
    taken = terp("--home", there, "import", str(tmp_path / "bag"))
    assert taken.returncode == 0, taken.stderr
    assert f"bag is imported as {made} v1" in taken.stdout
    assert "files, " in taken.stderr
    assert "meeuw" in open_archived(Home(tmp_path / "there"), made)
    verified = terp("--home", there, "verify", made)
    assert verified.returncode == 0, verified.stderr
    monkeypatch.setenv("TERP_POLICY", "")
    with pytest.raises(BadPolicy, match="nobody has decided"):
        import_command([str(tmp_path / "bag")], standalone_mode=False)
