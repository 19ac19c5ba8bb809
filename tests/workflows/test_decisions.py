"""No decision, no archiving: where a policy comes from, when it is asked for, and what it forbids."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import xarray as xr

from terp.storage.archive import Archive
from terp.storage.archive.custody import Events
from terp.storage.archive.policy import Policy
from terp.storage.errors import BadPolicy
from terp.storage.home import Home
from terp.workflows import api
from terp.workflows.results.deposit import redeposit
from terp.workflows.running.record import RunRecord, all_runs

POLICY = Path(__file__).parents[1] / "policy.toml"
NC = "https://creativecommons.org/licenses/by-nc/4.0/"
EMBARGO = """
[[beperkingGebruik]]
type = "Overig"
grond = "embargo"
looptijd = "P2Y"
start = 2020-01-01
"""
FLOW = """
import xarray as xr
from prefect import flow

from terp.workflows import Product, ingest, stage


@stage(cut=("x",))
def doubled(block: xr.Dataset) -> xr.Dataset:
    return block * 2


@flow
def small(source: str) -> Product:
    return doubled(ingest(source))
"""


class Desk:
    """A flow, its input and a home of its own, without any decision."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")
        xr.Dataset({"t": ("x", np.arange(6.0))}).to_netcdf(folder / "obs.nc")
        (folder / "small.py").write_text(FLOW)
        self.source = folder / "obs.nc"

    def policy(self, old: str = "", new: str = "") -> Path:
        path = self.folder / "policy.toml"
        text = POLICY.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return path

    def run(self, **more: Any) -> RunRecord:
        flow = f"{self.folder / 'small.py'}:small"
        return api.run(flow, str(self.source), home=self.home.root, workers=1, **more).record


@pytest.fixture
def desk(tmp_path: Path, prefect_here: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("TERP_POLICY")
    monkeypatch.setenv("TERP_AGENT", "A Tester")
    assert prefect_here
    return Desk(tmp_path)


def test_without_a_decision_results_stay_in_the_home_until_there_is_one(desk: Desk) -> None:
    record = desk.run()
    assert record.state == "finished"
    assert not record.archived
    assert not desk.home.archive.exists()
    assert any("nobody has decided" in one and f"terp archive {record.id}" in one for one in record.warnings)
    with pytest.raises(BadPolicy, match="nobody has decided"):
        redeposit(desk.home, record, _flow(desk), _Quiet())
    ended, record.ended = record.ended, "2020-03-04T12:00:00+00:00"  # as if it had lain in the home for years (L6)
    short = desk.policy("[rights]", f"{EMBARGO.replace('start = 2020-01-01', '')}\n[rights]")
    with pytest.raises(BadPolicy, match=r"over since 2022-03-04 .*when the object was made.*give it the start"):
        redeposit(desk.home, record, _flow(desk), _Quiet(), policy=short)
    assert not desk.home.archive.exists()
    record.ended = ended
    archived = redeposit(desk.home, record, _flow(desk), _Quiet(), policy=desk.policy())
    kept = Archive(desk.home.archive).files(archived["identifier"])["policy.toml"]
    assert Policy.load(kept) == Policy.load(POLICY)
    [event] = Events(desk.home.custody).of(archived["identifier"])
    assert (event["event"], event["facts"]["version"]) == ("ingested", "v1")


def test_the_homes_own_policy_decides_and_another_decision_is_another_version(desk: Desk) -> None:
    desk.home.open()
    (desk.home.root / "policy.toml").write_text(POLICY.read_text())
    record = desk.run()
    assert record.archived["version"] == "v1"
    again = redeposit(desk.home, record, _flow(desk), _Quiet())
    assert again["version"] == "v1", "the same results under the same decision are archived once"
    other = desk.policy('waardering = "V"', 'waardering = "N"')
    later = redeposit(desk.home, record, _flow(desk), _Quiet(), policy=other)
    assert (later["identifier"], later["version"]) == (record.archived["identifier"], "v2")
    files = Archive(desk.home.archive).files(later["identifier"])
    assert "/v1/" in str(files["doubled.zarr.zip"]), "the data were not stored again"
    assert Policy.load(files["policy.toml"]).waardering == "N"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[rights]", "[rights]\nthird_parties = ['A Publisher']", "forbid opening"),
        ("2030-12-31", "2025-12-31", "name one that is in force"),
        ('inputs = { "*" =', 'inputs = { "other.nc" =', "the licence of the input obs.nc is not known"),
        ("publicdomain/zero/1.0/", "licenses/by-nc/4.0/", "has to say nc too"),
        ("publicdomain/zero/1.0/", "licenses/by-nd/4.0/", "allows no derivatives"),
        ('categorie = "12.3"', "", "selectielijst.categorie is missing"),
        ("dated = 2026-01-01", "dated = 2999-01-01", "dated is 2999-01-01, which is yet to come"),
        ('purpose = "tests"', 'purpose = ""', "decision.purpose"),
        ("[rights]", f"{EMBARGO}\n[rights]", "the restriction 'embargo' is over since 2022-01-01"),
    ],
)
def test_what_forbids_archiving_is_said_before_anything_is_computed(desk: Desk, old: str, new: str, said: str) -> None:
    with pytest.raises(BadPolicy, match=said):
        desk.run(policy=desk.policy(old, new))
    assert all_runs(desk.home) == [] or not all_runs(desk.home)[0].stages


def test_the_command_prints_a_policy_to_fill_in_and_checks_one(terp: Any, tmp_path: Path) -> None:
    new = terp("policy", "new")
    assert new.returncode == 0
    (tmp_path / "new.toml").write_text(new.stdout)
    blank = terp("policy", "check", str(tmp_path / "new.toml"))
    assert blank.returncode == 78
    assert "archiefvormer.naam" in blank.stderr
    good = terp("policy", "check", str(POLICY))
    assert good.returncode == 0
    assert "waardering: V" in good.stdout
    gone = terp("policy", "check", str(tmp_path / "gone.toml"))
    assert gone.returncode == 74
    assert "Traceback" not in gone.stderr


@pytest.mark.parametrize("derivations", [1, pytest.param(2, marks=pytest.mark.campaign)])
def test_the_licence_of_an_input_follows_into_what_is_made_of_what_was_made(desk: Desk, derivations: int) -> None:
    asked = desk.policy('inputs = { "*" =', f'inputs = {{ "obs.nc" = "{NC}", "*" =')
    text = asked.read_text()
    with pytest.raises(BadPolicy, match=r"the licence of the input obs\.nc is .*has to say nc too"):
        desk.run(policy=asked)
    for number in range(derivations):
        asked.write_text(text.replace("licenses/by/4.0/", "licenses/by-nc/4.0/"))
        archived = desk.run(policy=asked).archived
        files = Archive(desk.home.archive).files(archived["identifier"])
        out = desk.folder / f"out-{number}"
        out.mkdir()
        for name in ("policy.toml", "SHA512SUMS"):
            (out / name).write_bytes(files[name].read_bytes())
        with ZipFile(files["doubled.zarr.zip"]) as package:
            package.extractall(out / "doubled.zarr")
        desk.source = out / "doubled.zarr"
        asked.write_text(text)
        with pytest.raises(BadPolicy, match=r"the licence of the input doubled\.zarr is .*by-nc.* has to say nc too"):
            desk.run(policy=asked)


class _Quiet:
    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


def _flow(desk: Desk) -> Any:
    from terp.workflows.planning.load import load_flow

    return load_flow(f"{desk.folder / 'small.py'}:small")
