"""The catalog: it follows from the archive alone, is never torn, and never stands in the way of an object."""

import gc
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from errno import EIO, EROFS
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terp.storage.archive.catalog import DAMAGED, DESTROYED, FIELDS, Card, Catalog, Query, catalog
from terp.storage.archive.catalog.card import Input, Person, Result, Variable
from terp.storage.archive.catalog.tables import Index
from terp.storage.archive.custody import slug
from terp.storage.archive.ocfl import place
from terp.storage.errors import BadQuery
from terp.storage.home import Home
from terp.workflows import api
from terp.workflows.cli import terp
from terp.workflows.errors import Usage

sys.path.insert(0, str(Path(__file__).parent))
from cards import crate, put
from lies import fails, lying


def catalog_of(folder: Path, told: Callable[[str], None] = lambda _: None) -> Catalog:
    home = Home(folder)
    return Catalog(home.archive, home.cache, home.custody, told)


def found(folder: Path, query: str = "") -> list[str]:
    return [card.identifier for card in catalog_of(folder).search(Query.of(query))[0]]


def only(folder: Path, query: str = "") -> Card:
    [card] = catalog_of(folder).search(Query.of(query))[0]
    return card


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three objects."""
    folder = tmp_path_factory.mktemp("three")
    for name in ("one", "two", "three"):
        put(folder, f"urn:terp:{name}:0", {"replay.json": b'{"flow":"%s"}' % name.encode()}, title=f"The {name}")
    return folder


@pytest.fixture
def house(three: Path, tmp_path: Path) -> Path:
    """A copy of that home, of which a test may break what it wants."""
    shutil.copytree(three, tmp_path / "house")
    for path in (tmp_path / "house").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    return tmp_path / "house"


POLICY = (Path(__file__).parents[1] / "policy.toml").read_text()


# what is known of an object


FLOW = """
import xarray as xr
from prefect import flow

from terp.workflows import Product, ingest, stage


@stage(cut=("lat",))
def doubled(block: xr.Dataset) -> xr.Dataset:
    return block * 2


@flow
def wells(source: str) -> dict[str, Product]:
    '''Wells of the delta.'''
    return {"doubled": doubled(ingest(source))}
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, prefect_here: dict[str, str]) -> Path:
    """A home with what a real flow made of real files, archived."""
    desk = tmp_path_factory.mktemp("wells")
    times = np.array([f"{year}-07-01" for year in range(1985, 2006)], "M8[ns]")
    levels = np.arange(21 * 5 * 4, dtype="f4").reshape(21, 5, 4)
    about = {"units": "m", "long_name": "level of the groundwater", "standard_name": "water_table_depth"}
    coords = {"time": times, "lat": ("lat", np.linspace(54, 50, 5)), "lon": ("lon", np.linspace(3, 6, 4))}
    source = xr.Dataset({"depth": (("time", "lat", "lon"), levels, about)}, coords)
    source["lat"].attrs, source["lon"].attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    source.to_netcdf(desk / "wells.nc")
    (desk / "flow.py").write_text(FLOW)
    who = {"TERP_AGENT": "J. Jansen", "TERP_ORCID": "0000-0002-1825-0097", "TERP_AFFILIATION": "Waterschap Delta"}
    with pytest.MonkeyPatch.context() as patch, xr.set_options(keep_attrs=True):
        assert prefect_here
        for name, value in who.items():
            patch.setenv(name, value)
        api.run(f"{desk / 'flow.py'}:wells", str(desk / "wells.nc"), home=desk / "home", workers=1)
    return desk / "home"


def test_d4_an_object_is_found_by_all_that_its_metadata_and_its_coordinates_tell(real: Path) -> None:
    card = only(real)
    first = hashlib.sha256((real.parent / "wells.nc").read_bytes()).hexdigest()
    for query in (
        *("wells", '"of the delta"', "delt*", "title:wells", "variable:groundwater", "variable:water_table_depth"),
        *("units:m", "person:Jansen", "person:0000-0002-1825-0097", 'person:"waterschap delta"', "flow:wells"),
        *(f"flow:{card.run}", "input:wells.nc", f"digest:{first[:8].upper()}", f"digest:{card.results[0].values}"),
        *("identifier:urn:terp:wells", card.identifier, "result:doubled", "is:there", "size:1KB..1GB"),
        *("time:1985", "time:1990..2000", "time:2005-07-01..", "time:..1985-07-01", "bbox:3,50,7,54", "bbox:4,51,4,51"),
        *("waardering:v", "openness:open", "classification:voorbeeld", 'licence:"CC BY"', "-title:sea"),
        *(f"archived:{card.created[:10]}", "wells -flow:imaging time:1990 person:jansen"),
    ):
        assert found(real, query) == [card.identifier], query
    for query in (
        *("variable:jansen", "person:groundwater", "time:1984", "time:2006..", "bbox:7,50,8,54", "bbox:3,55,7,56"),
        *("waardering:B", "openness:restricted", "is:damaged", "archived:..1999", "-wells", f"digest:{first[1:20]}"),
        *("size:1GB..", '"delta of the"', "wells -flow:wells"),
    ):
        assert found(real, query) == [], query


def test_m2_coverage_is_that_of_the_coordinates(real: Path) -> None:
    card = only(real)
    assert (card.begin, card.end) == ("1985-07-01T00:00:00Z", "2005-07-01T00:00:00Z")
    assert (card.west, card.south, card.east, card.north) == (3.0, 50.0, 6.0, 54.0)
    assert card.variables == (Variable("depth", "doubled", "water_table_depth", "level of the groundwater", "m"),)
    assert Person("J. Jansen", "author", "0000-0002-1825-0097", "Waterschap Delta") in card.people
    assert card.results[0].packages == ("doubled.zarr.zip",)
    assert card.inputs == (Input("wells.nc", hashlib.sha256((real.parent / "wells.nc").read_bytes()).hexdigest()),)
    assert card.size == sum(path.stat().st_size for path in (real / "archive" / card.path).glob("v1/content/*"))


def test_a_run_that_archives_adds_what_it_made(real: Path) -> None:
    [beside] = (real / "cache/catalog.new").iterdir()
    assert Card.loads(beside.read_bytes()) == only(real)


@pytest.fixture
def say(real: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """The command line, in this process; raises terp's errors as they are."""
    monkeypatch.setenv("TERP_HOME", str(real))

    def call(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(terp, words)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    return call


def test_ls_show_and_open_go_by_the_catalog(real: Path, say: Callable[..., tuple[int, str]]) -> None:
    card = only(real)
    assert say("ls")[1] == say("ls", "--where", "variable:water_table_depth time:1990")[1]
    assert say("ls")[1].startswith(f"{card.identifier}  doubled  ")
    assert say("ls", "--where", "person:Pietersen")[1] == "nothing is found\n"
    [row] = json.loads(say("ls", "--where", "jansen", "--json", "--limit", "1")[1])
    assert (row["identifier"], row["title"], row["results"]) == (card.identifier, card.title, ["doubled"])
    for name in (card.identifier, card.identifier[:-4]):
        assert "water_table_depth" in say("show", name)[1]
        assert "time: 21" in say("open", name)[1]
    with pytest.raises(BadQuery, match="there is no field 'colour'"):
        say("ls", "--where", "colour:red")
    with pytest.raises(Usage, match="there is no urn:terp:nosuch"):
        say("show", "urn:terp:nosuch")


def test_a_restriction_of_some_variables_makes_an_object_partly_open(tmp_path: Path) -> None:
    some = '\n[[beperkingGebruik]]\ntype = "Overig"\ngrond = "art. 15"\nlooptijd = "P9Y"\nvariables = ["nest"]\n'
    put(tmp_path, "urn:terp:a:1", {"policy.toml": (POLICY + some).encode()})
    put(tmp_path, "urn:terp:a:2", {"policy.toml": (POLICY + some.replace('["nest"]', "[]")).encode()})
    put(tmp_path, "urn:terp:a:3", {"policy.toml": POLICY.replace("open unless", "private unless").encode()})
    put(tmp_path, "urn:terp:a:4")
    kinds = {kind: found(tmp_path, f"openness:{kind}") for kind in ("partly", "restricted", "undecided", "open")}
    assert kinds == {
        "partly": ["urn:terp:a:1"],
        "restricted": ["urn:terp:a:2", "urn:terp:a:3"],
        "undecided": ["urn:terp:a:4"],
        "open": [],
    }


def test_what_mdto_says_is_known(shared: Path, tmp_path: Path) -> None:
    example = "MDTO-XML 1.0.1 Voorbeeld Archiefstuk Informatieobject.xml"
    put(tmp_path, "urn:x:1", {"mdto.xml": (shared / "vectors/mdto/official/voorbeelden" / example).read_bytes()})
    card = only(tmp_path, 'kustkwaliteit waardering:V person:"Infrastructuur en Waterstaat" identifier:DC-2015')
    assert card.title.startswith("Atelier Kustkwaliteit, 2011.")
    assert (card.keep_until, card.category) == ("2086-11-05", "2.1.1 Primair beleid")
    assert catalog_of(tmp_path).find("DC-2015/1753") == card


# the same archive, the same catalog


def made_from_nothing(folder: Path) -> bytes:
    (folder / "cache/catalog.sqlite").unlink(missing_ok=True)
    catalog_of(folder).make()
    return (folder / "cache/catalog.sqlite").read_bytes()


def test_the_catalog_thrown_away_and_made_again_is_the_same_byte_for_byte_wherever_the_archive_is(
    house: Path, tmp_path: Path
) -> None:
    first = made_from_nothing(house)
    assert made_from_nothing(house) == first
    shutil.copytree(house / "archive", tmp_path / "elsewhere" / "archive")
    assert made_from_nothing(tmp_path / "elsewhere") == first


def test_a_catalog_that_grew_with_the_archive_is_the_one_made_from_nothing_and_only_what_is_new_is_read(
    house: Path,
) -> None:
    index = catalog_of(house)
    assert (index.refresh().read, index.refresh().read) == (3, 0)
    put(house, "urn:terp:four:0")
    put(house, "urn:terp:one:0", title="The one, once more")
    shutil.rmtree(house / "archive" / place("urn:terp:two:0"))
    changed = index.refresh()
    assert (changed.objects, changed.read, changed.gone) == (3, 2, 1)
    grown = (house / "cache/catalog.sqlite").read_bytes()
    assert grown == made_from_nothing(house)
    assert found(house) == ["urn:terp:four:0", "urn:terp:one:0", "urn:terp:three:0"]
    assert only(house, "more").version == "v2"


def test_what_was_archived_since_is_found_without_a_walk(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = catalog_of(house)
    index.make()
    monkeypatch.setattr(catalog, "FEW", 0)
    before = (house / "cache/catalog.sqlite").read_bytes()
    put(house, "urn:terp:one:0", title="Changed since")
    put(house, "urn:terp:four:0", title="New since")
    assert found(house, "since") == []
    assert index.noted("urn:terp:one:0")
    assert index.noted("urn:terp:four:0")
    assert sorted(found(house, "since")) == ["urn:terp:four:0", "urn:terp:one:0"]
    assert len(found(house)) == 4
    assert (house / "cache/catalog.sqlite").read_bytes() == before
    monkeypatch.setattr(catalog, "_MOST_NEW", 1)
    assert index.noted("urn:terp:four:0"), "enough is beside it: it is put in"
    assert (house / "cache/catalog.sqlite").read_bytes() == made_from_nothing(house)


def test_cards_beside_the_catalog_go_when_it_has_had_them_for_long(house: Path) -> None:
    index = catalog_of(house)
    index.noted("urn:terp:one:0")
    [beside] = (house / "cache/catalog.new").iterdir()
    index.refresh()
    index.refresh()
    assert beside.exists(), "an older maker could still put an older catalog in place of this"
    os.utime(beside, (0, 0))
    index.refresh()
    assert not beside.exists()


def test_an_object_is_found_as_it_is_now_whatever_the_catalog_says(house: Path) -> None:
    index = catalog_of(house)
    index.make()
    put(house, "urn:terp:one:0", title="Changed since")
    put(house, "urn:terp:four:0", title="New since")
    shutil.rmtree(house / "archive" / place("urn:terp:two:0"))
    assert [card and card.title for card in map(index.find, ("urn:terp:one:0", "urn:terp:four:0"))] == [
        "Changed since",
        "New since",
    ]
    gone = index.find("urn:terp:two:0")
    assert gone
    assert gone.state == DAMAGED
    assert gone.why.startswith("it is not in the archive any more")
    assert index.find("urn:terp:five:0") is None
    assert index.beginning("urn:terp:t") == ["urn:terp:three:0", "urn:terp:two:0"]


# a catalog that is not as it should be


def other_format(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def without_a_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE card")
    connection.close()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def as_folder(path: Path) -> None:
    path.unlink()
    (path / "within").mkdir(parents=True)


SPOILT: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(os.urandom(100_000)),
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "pages of nothing": lambda path: path.write_bytes(path.read_bytes()[:4096] + bytes(path.stat().st_size - 4096)),
    "another format": other_format,
    "another database": without_a_table,
    "gone": lambda path: path.unlink(),
    "a folder": as_folder,
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_catalog_that_is_not_sound_is_made_again_or_looked_past(house: Path, fault: str) -> None:
    whole = made_from_nothing(house)
    SPOILT[fault](house / "cache/catalog.sqlite")
    said = list[str]()
    index = catalog_of(house, said.append)
    card = index.find("urn:terp:two:0")
    assert card
    assert card.title == "The two"
    assert [one.identifier for one in index.search(Query.of("title:two"))[0]] == ["urn:terp:two:0"]
    if fault == "a folder":
        assert "is used from" in said[0]
        assert "not kept" in said[0]
    else:
        assert (house / "cache/catalog.sqlite").read_bytes() == whole


def test_where_the_cache_cannot_be_written_the_catalog_is_used_from_a_temporary_copy_that_goes(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shutil.rmtree(house / "cache", ignore_errors=True)
    (house / "cache").write_bytes(b"")
    said = list[str]()
    index = catalog_of(house, said.append)
    assert len(index.search(Query.of("the"))[0]) == 3
    assert len(index.search(Query.of("one"))[0]) == 1, "it is not made a second time"
    assert len(said) == 1
    assert "the catalog is used from" in said[0]
    assert not index.noted("urn:terp:one:0")
    del index
    gc.collect()
    assert list(tmp_path.glob("terp-catalog-*")) == []
    assert (house / "cache").read_bytes() == b""


@pytest.mark.parametrize(("call", "code"), [("fsync", EIO), ("write", EROFS), ("replace", EIO), ("open", EROFS)])
def test_a_disk_that_refuses_leaves_the_catalog_that_was(house: Path, call: str, code: int) -> None:
    index = catalog_of(house)
    index.make()
    before = (house / "cache/catalog.sqlite").read_bytes()
    put(house, "urn:terp:four:0")
    refused = fails(code, lambda _: True)
    if call == "open":  # of files only, and to write

        def refused(true: Callable[..., int]) -> Callable[..., int]:
            def opened(path: object, flags: int, *more: object) -> int:
                if flags & os.O_CREAT and "catalog.sqlite." in str(path):
                    raise OSError(EROFS, os.strerror(EROFS), str(path))
                return true(path, flags, *more)

            return opened

    with lying(call, refused):
        assert len(index.search(Query.of(""))[0]) == 4
    assert (house / "cache/catalog.sqlite").read_bytes() == before
    assert list((house / "cache").glob(".*")) == []
    assert len(found(house)) == 4


KILLED = """
import os, signal, sys
from pathlib import Path
from terp.storage import files
from terp.storage.archive.catalog import Catalog

home, step = Path(sys.argv[1]), sys.argv[2]
def dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(files, step, dies)
Catalog(home / "archive", home / "cache", home / "custody").refresh()
"""


@pytest.mark.parametrize("step", ["write_all", "rename", "sync_folder"])
def test_a_maker_killed_at_any_step_leaves_a_whole_catalog_and_what_it_left_goes_in_time(
    house: Path, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    catalog_of(house).make()
    put(house, "urn:terp:four:0")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    died = subprocess.run([sys.executable, "-c", KILLED, str(house), step], env=environment)
    assert died.returncode == -signal.SIGKILL
    with Index.opened(house / "cache/catalog.sqlite") as index:
        assert len(index) == (4 if step == "sync_folder" else 3)
    left = [*(house / "cache").glob(".catalog.sqlite.*"), *tmp_path.glob("terp-catalog-*")]
    assert len(left) == (1 if step == "sync_folder" else 2)
    for path in left:
        os.utime(path, (0, 0))
    put(house, "urn:terp:five:0")
    assert len(found(house)) == 5
    assert not any(path.exists() for path in left)


def read_on(path: Path, stop: threading.Event) -> int:
    """Ask a catalog again and again; return how often not all was found in it."""
    wrong = 0
    while not stop.is_set():
        with Index.opened(path) as index:
            wrong += index.found(Query.of("the"))[1] != 3
    return wrong


def test_of_several_makers_at_once_the_last_counts_and_nobody_reads_a_torn_catalog(house: Path) -> None:
    catalog_of(house).make()
    stop = threading.Event()
    with ThreadPoolExecutor(4) as threads:
        reader = threads.submit(read_on, house / "cache/catalog.sqlite", stop)
        makers = [threads.submit(catalog_of(house).make) for _ in range(15)]
        made = [maker.result().objects for maker in makers]
        stop.set()
    assert (made, reader.result()) == ([3] * 15, 0)
    assert [path.name for path in (house / "cache").iterdir()] == ["catalog.sqlite"]


# damage, and what is gone


def test_a_damaged_object_is_listed_as_damaged_and_hides_no_other(house: Path) -> None:
    one, two, three = (house / "archive" / place(f"urn:terp:{name}:0") for name in ("one", "two", "three"))
    for path in one.rglob("inventory.json"):
        path.unlink()
    (two / "v1/content/ro-crate-metadata.json").write_bytes(crate(name="Another title"))
    (three / "v1/content/replay.json").unlink()
    put(house, "urn:terp:four:0")
    cards = {card.identifier: card for card in catalog_of(house).search(Query.of("is:damaged"))[0]}
    assert cards["urn:terp:one:0"].why == "it has no inventory that fits its checksum; restore it from another copy"
    assert cards["urn:terp:two:0"].why == "ro-crate-metadata.json is not what was stored; restore it from another copy"
    assert cards["urn:terp:two:0"].title == "", "what is not what was stored is not believed"
    assert cards["urn:terp:three:0"].why == "it lacks replay.json; restore it from another copy"
    assert found(house, "is:there") == ["urn:terp:four:0"]
    assert len(found(house)) == 4


def test_damage_done_since_is_seen_when_the_object_is_found(house: Path) -> None:
    catalog_of(house).make()
    (house / "archive" / place("urn:terp:one:0") / "v1/content/replay.json").unlink()
    assert only(house, "title:one").why.startswith("it lacks replay.json")


def test_two_folders_that_claim_one_identifier_are_both_listed(house: Path) -> None:
    first = house / "archive" / place("urn:terp:one:0")
    shutil.copytree(first, first.with_name("another"))
    assert found(house) == ["urn:terp:one:0", "urn:terp:one:0", "urn:terp:three:0", "urn:terp:two:0"]


@pytest.mark.parametrize("state", ["destroyed", "being destroyed"])
def test_l5_what_was_destroyed_is_found_as_that_and_never_as_there(
    house: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = catalog_of(house)
    index.make()
    stone = {"format": "terp tombstone 1", "identifier": "urn:terp:two:0", "title": "What was two", "state": state}
    stone |= {"since": "2036-01-02T03:04:05Z", "ground": "Selectielijst universiteiten 12.3"}
    if state == "destroyed":
        stone["destroyed"] = "2036-01-02T03:04:09Z"
        shutil.rmtree(house / "archive" / place("urn:terp:two:0"))
    path = house / "custody/tombstones" / f"{slug('urn:terp:two:0')}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(stone))
    path.with_suffix(".specification.json").write_text(json.dumps(stone))
    words = "destroyed on 2036-01-02" if state == "destroyed" else "being destroyed since 2036-01-02"
    monkeypatch.setattr(catalog, "FEW", 0)  # the catalog does not know of it yet
    found_before = only(house, "title:two")
    monkeypatch.undo()
    index.noted("urn:terp:two:0")
    index.destroyed("urn:terp:two:0")
    assert b"The two" not in (house / "cache/catalog.sqlite").read_bytes(), "what was known of it is gone too"
    assert list((house / "cache/catalog.new").iterdir()) == []
    for card in (found_before, index.find("urn:terp:two:0"), only(house, "title:two"), only(house, "is:destroyed")):
        assert card
        assert (card.state, card.title) == (DESTROYED, "What was two")
        assert card.why == f"{words}, ground: Selectielijst universiteiten 12.3"
        assert card.results == ()
    assert found(house, "-is:destroyed") == ["urn:terp:one:0", "urn:terp:three:0"]
    assert (house / "cache/catalog.sqlite").read_bytes() == made_from_nothing(house)


# bad input


HOSTILE = [
    "<script>alert(1)</script><b>",
    "'); DROP TABLE object; --",
    'a" OR title : * NEAR("x',
    "\x1b[31mred\x1b[0m\x07\x00 \u202e end",
    "x" * 100_000,
    "\ud800 half a pair",
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_title_is_only_a_title(tmp_path: Path, number: int) -> None:
    put(tmp_path, "urn:terp:good:0", title="good")
    put(tmp_path, "urn:terp:bad:0", title=HOSTILE[number])
    card = only(tmp_path, "urn:terp:bad")
    assert card.title.isprintable()
    assert len(card.title) <= 20_000
    assert found(tmp_path, "good") == ["urn:terp:good:0"]
    put(tmp_path, "urn:terp:worse:0", {"replay.json": json.dumps({"flow": HOSTILE[number]}).encode()})
    assert len(found(tmp_path)) == 3


ODD: dict[str, bytes] = {
    "no JSON": b"{",
    "deep": b'{"@graph":' + b"[" * 100_000,
    "a list": b"[1, 2]",
    "odd types": json.dumps({"@graph": [7, None, {"@id": 3}, {"@id": "./", "name": {"a": 1}, "author": 3}]}).encode(),
    "no text": json.dumps({"@graph": [{"@id": "./", "name": True, "license": [[]], "author": [{"@id": []}]}]}).encode(),
    "itself": json.dumps({"@graph": [{"@id": "./", "author": {"@id": "./"}, "name": ["a", 1, None]}]}).encode(),
}


@pytest.mark.parametrize("name", ODD)
def test_metadata_of_another_form_tell_nothing_and_hide_nothing(tmp_path: Path, name: str) -> None:
    files = {"ro-crate-metadata.json": ODD[name], "replay.json": ODD[name], "values.json": ODD[name]}
    files |= {"policy.toml": b"\xff\xfe", "inputs.sha256": b"\xff" * 99, "mdto.xml": b"<MDTO"}
    files |= {"a.zarr.zip": b"PK", "a.zarr.zip.members.json": ODD[name]}
    put(tmp_path, "urn:terp:odd:0", files)
    card = only(tmp_path)
    assert (card.identifier, card.state, card.files) == ("urn:terp:odd:0", "there", len(files))


def test_entities_in_xml_are_refused(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb">]><MDTO xmlns="https://www.nationaalarchief.nl/mdto">&b;</MDTO>'
    put(tmp_path, "urn:terp:bomb:0", {"mdto.xml": bomb}, title="Not of the XML")
    assert only(tmp_path).title == "Not of the XML"


def test_a_table_of_members_that_points_anywhere_is_not_followed(tmp_path: Path) -> None:
    member = {"name": "v/zarr.json", "offset": -5, "size": 10**15, "crc32": "0", "package": 0}
    coordinate = {"name": "time/zarr.json", "offset": 0, "size": 2, "crc32": "zz", "package": -9}
    for at, package in enumerate(("../../../../../../etc/passwd", "/etc/passwd", "a.zarr.zip", "b.zarr.zip")):
        plain = {"groups": [{"path": "", "arrays": [{"name": "v"}]}], "packages": [{"name": package}]}
        table = json.dumps(plain | {"members": [member, coordinate], "small": 0}).encode()
        put(tmp_path, f"urn:terp:far:{at}", {"a.zarr.zip": b"PK", "a.zarr.zip.members.json": table})
    cards, _ = catalog_of(tmp_path).search(Query.of(""))
    assert [(card.state, card.begin, card.variables[0].units) for card in cards] == [("there", "", "")] * 4


def test_an_inventory_that_leads_out_of_its_object_is_damage_and_nothing_outside_is_read(
    house: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.json").write_bytes(crate(name="Secret"))
    home = house / "archive" / place("urn:terp:one:0")
    inventory = json.loads((home / "inventory.json").read_bytes())
    for digest in inventory["manifest"]:
        inventory["manifest"][digest] = ["../../../../../../secret.json"]
    data = json.dumps(inventory).encode()
    (home / "inventory.json").write_bytes(data)
    (home / "inventory.json.sha512").write_text(f"{hashlib.sha512(data).hexdigest()}  inventory.json\n")
    shutil.rmtree(home / "v1")
    assert only(house, "is:damaged").identifier == "urn:terp:one:0"
    assert found(house, "secret") == []


# the query


def test_an_unknown_field_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(BadQuery, match="there is no field 'colour': known are title, ") as told:
        Query.of("colour:red")
    assert all(field in str(told.value) for field in FIELDS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"open', "quotation mark has no second"),
        ("title:", "title: has no value"),
        ('a"b', "stands within a word"),
        ("!!!", "no letter or digit"),
        ("variable:--", "no letter or digit"),
        ("time:yesterday", "time:1990..2000-06"),
        ("time:2000..1990", "time:1990..2000-06"),
        ("time:..", "time:1990..2000-06"),
        ("archived:21-11-2026", "archived:1990"),
        ("bbox:1,2,3", "west,south,east,north"),
        ("bbox:3,54,7,50", "west,south,east,north"),
        ("bbox:nan,0,1,1", "west,south,east,north"),
        ("size:big", "size:1GB..2TiB"),
        ("size:..", "size:1GB..2TiB"),
        ("digest:xyz", "hexadecimal"),
        ("openness:maybe", "not one of open, partly"),
        ("waardering:X", "not one of b, v, n"),
        ("is:lost", "not one of there, damaged, destroyed"),
        ("a " * 101, "at most 100 terms"),
    ],
)
def test_a_query_that_cannot_be_read_is_told_with_how_it_is_written(text: str, words: str) -> None:
    with pytest.raises(BadQuery) as told:
        Query.of(text)
    assert words in str(told.value)
    assert told.value.exit_code == 64


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from([*FIELDS, "", "-", '"', ":", "*", "AND", "NEAR(", "^", "{a}", "'", ";", "1990..", "\0", "urn"])
        | st.text(max_size=5),
        max_size=6,
    ).map("".join)
)
def test_any_text_is_a_query_or_a_sentence_and_never_anything_of_sqls(samples: Index, text: str) -> None:
    with suppress(BadQuery):
        samples.found(Query.of(text))
    assert len(samples) == len(SAMPLES)


def card(number: int, **facts: object) -> Card:
    return Card(f"000/000/000/{number}", f"urn:x:{number}", **facts)  # type: ignore[arg-type]


SAMPLES = [
    card(1, title="Zeespiegel bij Délfzijl", begin="1990-01-01T00:00:00Z", end="1999-12-31T00:00:00Z"),
    card(2, title="Zeespiegel", begin="2000-06-01T12:00:00Z", end="2000-06-01T12:00:00Z"),
    card(3, title="Noordzee", west=-4.0, south=51.0, east=9.0, north=61.0),
    card(4, title="Stille Oceaan", west=170.0, south=-10.0, east=-150.0, north=10.0, size=5_000_000),
    card(5, title="Aarde", west=-180.0, south=-90.0, east=180.0, north=90.0, size=2 << 40),
    card(6, description="noordzee", variables=(Variable("sea_ice_area_fraction", units="m s-1"),)),
    card(
        7, inputs=(Input("obs_01.nc", "ab" * 32),), results=(Result("r", ("r.zarr.zip",), ("cd" * 64,), 1, "ef" * 32),)
    ),
]


@pytest.fixture(scope="module")
def samples() -> object:
    with Index.of(SAMPLES) as index:
        yield index


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("zeespiegel", {1, 2}),
        ("ZEESPIEGEL delfzijl", {1}),
        ("Délfzijl", {1}),
        ("zee*", {1, 2}),
        ("zee", set()),
        ('"zeespiegel bij"', {1}),
        ("title:noordzee", {3}),
        ("noordzee", {3, 6}),
        ("sea_ice_area_fraction", {6}),
        ("variable:ice_area", {6}),
        ("-zeespiegel -noordzee", {4, 5, 7}),
        ("time:1999-12-31", {1}),
        ("time:2000", {2}),
        ("time:2000-06-01T12:00", {2}),
        ("time:2000-06-02..", set()),
        ("time:1995..2000-05", {1}),
        ("time:..1989", set()),
        ("-time:1990..", {3, 4, 5, 6, 7}),
        ("bbox:3,50,7,54", {3, 5}),
        ("bbox:-180,-5,-170,5", {4, 5}),
        ("bbox:175,-5,-175,5", {4, 5}),
        ("bbox:-100,-5,-90,5", {5}),
        ("bbox:160,-5,165,5", {5}),
        ("bbox:160,20,-170,30", {5}),
        ("size:1MB..1GB", {4}),
        ("size:1TiB..", {5}),
        ("digest:ABABAB", {7}),
        ("digest:cdcdcd", {7}),
        ("digest:efefefef", {7}),
        ("input:obs_01.nc", {7}),
        ("urn:x:3", {3}),
        ("identifier:urn:x:", {1, 2, 3, 4, 5, 6, 7}),
        ("", {1, 2, 3, 4, 5, 6, 7}),
        ('"urn:x:3"', {3}),
    ],
)
def test_a_query_finds_just_what_holds(samples: Index, text: str, numbers: set[int]) -> None:
    assert set(samples.found(Query.of(text))[0]) == numbers


def test_what_fits_best_comes_first(samples: Index) -> None:
    assert samples.found(Query.of("noordzee"))[0] == [3, 6], "a title says more than a description"


def test_a_card_is_the_same_after_it_was_kept() -> None:
    for one in SAMPLES:
        assert Card.loads(one.dumps()) == one
        assert replace(Card.loads(one.dumps()), title="other") != one


def test_who_only_looks_waits_for_no_library_of_arrays() -> None:
    script = "import sys, terp.workflows.results.catalogue; print({'numpy', 'zarr', 'xarray'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "set()\n"
