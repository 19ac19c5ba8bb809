"""A dissemination copy: a part of the data, without what is closed, which nothing in it tells of; the rest intact."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from lxml import etree
from zarr.storage import ZipStore

sys.path.insert(0, str(Path(__file__).parent))
import objects
from objects import CANARY, NUMBER, URN

from terp.storage.archive import Archive
from terp.storage.archive.custody import Events
from terp.storage.errors import BadInput, BadPackage, BadPolicy, DiskTrouble
from terp.storage.home import Home
from terp.storage.metadata import mdto
from terp.storage.package.packed import PackedProduct
from terp.storage.package.zipstore import open_zip
from terp.storage.transfer import export
from terp.storage.transfer.dip import Dissemination, Request
from terp.storage.transfer.outgoing import Outgoing
from terp.storage.transfer.selecting import parsed, positions

DAY = date(2026, 11, 28)
OPEN, CLOSED = objects.POLICY_TEXT, objects.POLICY_TEXT + objects.CLOSED
PRIVATE = OPEN.replace("open unless", "private unless")
FULL = {"profile": "full", "recipient": "A. Reader", "ground": "agreement 12"}
BESIDE = {
    "mdto.xml": f"<MDTO>{CANARY}</MDTO>".encode(),
    f"{CANARY}.txt": CANARY.encode(),
    "lineage.zip": CANARY.encode(),
    "journal.jsonl": f'{{"command":"terp run wells {CANARY}.nc --secret {NUMBER}"}}'.encode(),
}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """An object of which one array and one coordinate are closed, and most of its files tell of them."""
    return objects.archived(tmp_path_factory.mktemp("closed") / "home", CLOSED, BESIDE)


@pytest.fixture(scope="module")
def open_(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The same object, all of it open."""
    return objects.archived(tmp_path_factory.mktemp("open") / "home", OPEN, BESIDE)


def dip(
    house: Home,
    target: Path,
    variables: tuple[str, ...] = (),
    where: str = "",
    profile: str = "public",
    on: date = DAY,
    netcdf: bool = False,
    **more: str,
) -> dict[str, Any]:
    asked = parsed([where] if where else [])
    who = [more.get(name, "") for name in ("recipient", "ground")]
    request = Request(variables, asked, profile, on, *who, netcdf=netcdf)
    return export.to_dip(house, URN, export.Whither(target, on, **more), request)


def package(target: Path) -> Path:
    [found] = target.glob("*.zarr.zip")
    return found


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All bytes of a copy by name: of files, of members of packages, and of their chunks decoded by zarr itself."""
    for path in sorted(folder.rglob("*")):
        yield f"the name {path.name}", path.name.encode()
        if path.is_file():
            yield path.name, path.read_bytes()
        if path.name.endswith(".zarr.zip"):
            with zipfile.ZipFile(path) as held:
                for name in held.namelist():
                    yield f"the name of {name}", name.encode()
                    yield name, held.read(name)
            plain = xr.open_zarr(ZipStore(path, read_only=True), consolidated=False, decode_cf=False)
            for name, one in plain.variables.items():
                yield f"the values of {name}", one.to_numpy().tobytes()
                yield f"the attributes of {name}", repr(one.attrs).encode()


def leaks(folder: Path, word: str = CANARY, number: int = NUMBER) -> list[str]:
    """Return where a word or a number of what is closed can be found: as text, or as any type it may be stored as."""
    kinds = ("<i2", ">i2", "<i4", ">i4", "<i8", ">i8", "<f4", ">f4", "<f8", ">f8")
    values = [np.array(number, kind).tobytes() for kind in kinds if kind[1:] != "i2"]
    texts = [word.casefold().encode(), str(number).encode()]
    digests = [hashlib.new(a, one).hexdigest().encode() for a in ("sha256", "sha512") for one in [*texts, *values]]
    return [
        f"{one!r} in {name}"
        for name, data in everything(folder)
        for one in [*texts, *digests, *(values if "values of" in name else ())]
        if one in data.lower() or one in data
    ]


# it says what is left out, and nothing of it


def test_d8_a_part_that_is_closed_is_left_out_the_rest_is_whole_and_the_reason_is_stated(
    closed: Home, tmp_path: Path
) -> None:
    dip(closed, tmp_path / "dip")
    found = open_zip(package(tmp_path / "dip")).load()
    assert set(found.variables) == {"level", "time", "latitude", "longitude"}
    np.testing.assert_array_equal(found["level"], objects.values("level"))
    assert found["level"].attrs["units"] == "m"
    assert list(found["time"].dt.year.to_numpy()) == list(objects.YEARS)
    ground = "Archiefwet 1995, artikel 15, lid 1, onder a"
    said = (tmp_path / "dip/README.md").read_text(), (tmp_path / "dip/LEESMIJ.md").read_text()
    assert f"2 variables are left out on the ground of {ground}; open from 2046-11-21 on." in said[0]
    assert f"2 variabelen zijn weggelaten op grond van {ground}; openbaar vanaf 2046-11-21." in said[1]
    told = json.loads((tmp_path / "dip/dip.json").read_text())
    assert told["withheld"] == [{"variables": 2, "ground": ground, "until": "2046-11-21"}]


def test_15_no_byte_of_the_copy_tells_of_what_is_closed(closed: Home, tmp_path: Path) -> None:
    dip(closed, tmp_path / "dip")
    assert leaks(tmp_path / "dip") == []
    dip(closed, tmp_path / "part", ("level",), "time=1990..2000,latitude=50..53")
    assert leaks(tmp_path / "part") == []


def test_15_the_search_for_leaks_finds_them_where_all_is_open(open_: Home, tmp_path: Path) -> None:
    dip(open_, tmp_path / "dip")
    found = " ".join(leaks(tmp_path / "dip"))
    for where in (
        "the name zeearend.zarr.zip",
        "the values of zeearend",
        "the attributes of level",
        "journal.jsonl",
        "mdto.xml",
        "zarr.json",
        "the values of nest",
    ):
        assert where in found


def test_only_files_on_the_safe_list_are_in_a_copy_of_what_is_partly_closed(closed: Home, tmp_path: Path) -> None:
    dip(closed, tmp_path / "dip")
    assert sorted(objects.tree(tmp_path / "dip")) == [
        "FORMATS.md",
        "LEESMIJ.md",
        "LICENCE.md",
        "README.md",
        "SHA512SUMS",
        "data.zarr.zip",
        "data.zarr.zip.mdto.xml",
        "data.zarr.zip.members.json",
        "dip.json",
        "mdto.xml",
    ]


def test_attributes_that_are_not_known_to_be_safe_stay_behind(closed: Home, tmp_path: Path) -> None:
    dip(closed, tmp_path / "dip")
    with zipfile.ZipFile(package(tmp_path / "dip")) as held:
        level = json.loads(held.read("level/zarr.json"))["attributes"]
        whole = json.loads(held.read("zarr.json"))["attributes"]
    assert level == {"units": "m", "long_name": "level of the groundwater"}
    assert whole == {"Conventions": "CF-1.11"}


def test_d13_where_nothing_is_closed_the_objects_own_metadata_go_along(open_: Home, tmp_path: Path) -> None:
    dip(open_, tmp_path / "dip", ("level",))
    assert (tmp_path / "dip/origin/journal.jsonl").read_bytes() == BESIDE["journal.jsonl"]
    assert open_zip(tmp_path / f"dip/{CANARY}.zarr.zip")["level"].attrs["valid_max"] == NUMBER
    assert "Nothing of the variables named above is left out" in (tmp_path / "dip/README.md").read_text()


def test_a_copy_that_would_name_what_is_closed_is_not_made(tmp_path: Path) -> None:
    telling = CLOSED.replace("onder a", f"onder a, the {CANARY}")
    house = objects.archived(tmp_path / "home", telling)
    with pytest.raises(BadPackage, match="would name what is closed"):
        dip(house, tmp_path / "dip")
    assert os.listdir(tmp_path) == ["home"]


def test_a_restriction_that_names_no_variable_of_the_object_lets_nothing_leave(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home", CLOSED.replace('"nest"]', '"nests"]'))
    with pytest.raises(BadPolicy, match=r"closes nests, and urn.* has no variable of that name"):
        dip(house, tmp_path / "dip")


# who may have what, and until when


def test_what_is_closed_cannot_be_asked_for_nor_asked_by(closed: Home, tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match="zeearend is not open: Archiefwet"):
        dip(closed, tmp_path / "dip", (CANARY,))
    beyond = CLOSED.replace('"nest"]', '"latitude"]')
    house = objects.archived(tmp_path / "home", beyond)
    with pytest.raises(BadPolicy, match=r"latitude is not open .*would tell of it"):
        dip(house, tmp_path / "dip", where="latitude=50..52")
    dip(house, tmp_path / "dip", where="longitude=3..4")
    assert "latitude" not in open_zip(package(tmp_path / "dip")).coords
    with pytest.raises(BadInput, match="there is no variable 'depth'; there are latitude, level, longitude, time"):
        dip(closed, tmp_path / "other", ("depth",))


@pytest.mark.parametrize(("on", "out"), [(date(2046, 11, 20), True), (date(2046, 11, 21), False)])
def test_14_a_restriction_lapses_on_its_day_and_the_part_is_open(
    closed: Home, tmp_path: Path, on: date, out: bool
) -> None:
    told = dip(closed, tmp_path / "dip", on=on)
    assert bool(told["withheld"]) == out
    [found] = (tmp_path / "dip").glob("*.zarr.zip")
    assert (CANARY in open_zip(found)) != out


def test_l6_a_restriction_ends_after_75_years_whatever_it_says(tmp_path: Path) -> None:
    long = CLOSED.replace('looptijd = "P20Y"', 'looptijd = "P200Y"\nstart = 1940-01-01')
    house = objects.archived(tmp_path / "home", long)
    assert dip(house, tmp_path / "dip", on=date(2014, 12, 31))["withheld"]
    assert not dip(house, tmp_path / "later", on=date(2015, 1, 1))["withheld"]


def test_private_unless_lets_nothing_out_that_no_restriction_opens(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home", PRIVATE)
    with pytest.raises(BadPolicy, match=r"nothing of urn.* may leave for the profile public: made to test with"):
        dip(house, tmp_path / "dip")
    opened = '\n[[beperkingGebruik]]\ntype = "Geen beperking"\ngrond = "besluit 7"\nlooptijd = "P75Y"\n'
    names = 'variables = ["level", "time", "longitude"]\n'
    house = objects.archived(tmp_path / "other", PRIVATE + opened + names)
    dip(house, tmp_path / "dip")
    found = open_zip(package(tmp_path / "dip"))
    assert set(found.variables) == {"level", "time", "longitude"}
    assert leaks(tmp_path / "dip") == []
    assert "private unless" in (tmp_path / "dip/README.md").read_text()
    assert "privacy, tenzij" in (tmp_path / "dip/LEESMIJ.md").read_text()
    house = objects.archived(tmp_path / "everything", PRIVATE + opened)  # that names none opens none
    with pytest.raises(BadPolicy, match="may leave"):
        dip(house, tmp_path / "none")


def test_the_end_of_an_embargo_on_all_does_not_open_what_is_private(tmp_path: Path) -> None:
    embargo = '\n[[beperkingGebruik]]\ntype = "Overig"\ngrond = "embargo"\nlooptijd = "P2Y"\nstart = 2020-01-01\n'
    house = objects.archived(tmp_path / "home", PRIVATE + embargo)
    with pytest.raises(BadPolicy, match="may leave"):
        dip(house, tmp_path / "dip")


def test_where_all_variables_were_opened_what_tells_of_a_private_object_stays(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home", PRIVATE, BESIDE)
    known = Dissemination(Outgoing.of(Archive(house.archive), URN), Request((), {}, "public", DAY)).withheld
    names = ", ".join(f'"{path}"' for path in known)
    opened = (
        f'\n[[beperkingGebruik]]\ntype = "Geen beperking"\ngrond = "ok"\nlooptijd = "P75Y"\nvariables = [{names}]\n'
    )
    house = objects.archived(tmp_path / "opened", PRIVATE + opened, BESIDE)
    dip(house, tmp_path / "dip")
    assert not (tmp_path / "dip/origin").exists()
    dip(house, tmp_path / "all", **FULL)
    assert (tmp_path / "all/origin/journal.jsonl").exists()


def test_private_unless_is_open_too_after_75_years(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home", PRIVATE)
    dip(house, tmp_path / "dip", on=date(2101, 11, 21))
    assert CANARY in open_zip(package(tmp_path / "dip"))


def test_what_is_closed_as_a_whole_does_not_leave(tmp_path: Path) -> None:
    whole = CLOSED.replace('variables = ["zeearend", "nest"]', "")
    house = objects.archived(tmp_path / "home", whole)
    with pytest.raises(BadPolicy, match="until 2046-11-21"):
        dip(house, tmp_path / "dip")
    with pytest.raises(BadPolicy, match="until 2046-11-21"):
        dip(house, tmp_path / "dip", profile="restricted", recipient="A. Reader", ground="agreement 12")


def test_the_restricted_profile_has_what_is_only_not_opened_and_not_what_is_closed(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home", PRIVATE + objects.CLOSED)
    with pytest.raises(BadPolicy, match="for one who is named, on a ground"):
        dip(house, tmp_path / "dip", profile="restricted")
    told = dip(house, tmp_path / "dip", profile="restricted", recipient="A. Reader", ground="agreement 12")
    assert set(open_zip(package(tmp_path / "dip")).variables) == {"level", "time", "latitude", "longitude"}
    assert leaks(tmp_path / "dip") == []
    assert (told["for"], told["ground"]) == ("A. Reader", "agreement 12")
    assert "Made for A. Reader, on the ground of agreement 12" in (tmp_path / "dip/README.md").read_text()


def test_all_of_it_is_for_one_who_is_named_on_a_ground_and_that_is_recorded(closed: Home, tmp_path: Path) -> None:
    for half in ({}, {"recipient": "A. Reader"}, {"ground": "x"}):
        with pytest.raises(BadPolicy, match="for one who is named, on a ground"):
            dip(closed, tmp_path / "dip", profile="full", **half)
    dip(closed, tmp_path / "dip", **FULL)
    found = open_zip(package(tmp_path / "dip"))
    assert {CANARY, "nest", "level"} <= set(found.variables)
    facts = Events(closed.custody).of(URN)[-1]["facts"]
    assert (facts["as"], facts["profile"], facts["for"], facts["ground"]) == (
        "dip",
        "full",
        "A. Reader",
        "agreement 12",
    )
    assert facts["sha512"] == hashlib.sha512((tmp_path / "dip/SHA512SUMS").read_bytes()).hexdigest()
    with pytest.raises(BadPolicy, match="choose one of public, restricted, full"):
        dip(closed, tmp_path / "more", profile="all")


# a part of the data


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("time=1990..2000", {"time": slice("1990", "2000")}),
        ("time=1995", {"time": slice("1995", "1995")}),
        ("time=..1990-07-01,longitude=4..", {"time": slice(None, "1990-07-01"), "longitude": slice(4, None)}),
        ("latitude=50..52.5", {"latitude": slice(52.5, 50)}),
        ("latitude=53", {"latitude": [53]}),
        ("time=1989..1996,latitude=51..53", {"time": slice("1989", "1996"), "latitude": slice(53, 51)}),
    ],
)
def test_a_range_gives_what_xarray_gives(closed: Home, tmp_path: Path, where: str, expected: dict[str, Any]) -> None:
    dip(closed, tmp_path / "dip", ("level",), where)
    whole = open_zip(closed.root / "work" / f"{CANARY}.zarr.zip")["level"].drop_vars("nest").load()
    found = open_zip(package(tmp_path / "dip"))["level"].load()
    wanted = whole.sel(expected)
    np.testing.assert_array_equal(found, wanted)
    for dim in found.dims:
        np.testing.assert_array_equal(found[dim], wanted[dim])
    assert found.dtype == np.float32


def test_places_that_do_not_lie_together_are_chosen_too() -> None:
    frame = xr.Dataset(coords={"x": [3.0, 1.0, 4.0, 1.5, 9.0], "name": ("n", ["a", "b", "c"])})
    np.testing.assert_array_equal(positions(frame, "x", 5, "3..5"), [0, 2])
    assert positions(frame, "x", 5, "1..1.5") is not None
    assert positions(frame, "plain", 8, "2..4") == slice(2, 5)
    assert positions(frame.rename(name="m").swap_dims(n="m"), "m", 3, "b") == slice(1, 2)


def test_times_of_other_calendars_are_chosen_by_parts_of_dates() -> None:
    times = xr.date_range("1990-01-30", periods=4, freq="30D", calendar="360_day", use_cftime=True)
    frame = xr.Dataset(coords={"time": times})
    assert positions(frame, "time", 4, "1990-02..1990-03") == slice(1, 3)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("time=late..later", "is no range of labels of time"),
        ("depth=1..2", "there is no dimension 'depth'; --where takes latitude, longitude, time"),
        ("time=2050..2060", "nothing of urn.* is within time=2050..2060: widen"),
        ("time", "takes DIM=FROM..TO"),
        ("time=..", "takes DIM=FROM..TO"),
        ("time=1990,time=1991", "names time twice"),
    ],
)
def test_a_range_that_is_none_is_refused_in_words(closed: Home, tmp_path: Path, where: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        dip(closed, tmp_path / "dip", where=where)
    assert os.listdir(tmp_path) == []


# the copy as such


def test_oa_the_copy_names_the_object_its_version_and_what_was_done(closed: Home, tmp_path: Path) -> None:
    dip(closed, tmp_path / "dip", ("level",), "time=1990..2000")
    told = json.loads((tmp_path / "dip/dip.json").read_text())
    assert told["aip"] == {"identifier": URN, "version": "v1"}
    assert (told["variables"], told["where"], told["profile"]) == (["level"], {"time": "1990..2000"}, "public")
    about = mdto.read((tmp_path / "dip/mdto.xml").read_bytes())
    assert isinstance(about, mdto.Informatieobject)
    [of] = about.gerelateerdInformatieobject
    assert of.gerelateerdInformatieobjectVerwijzing.verwijzingIdentificatie == mdto.Identificatie(URN, "terp")
    assert about.dekkingInTijd[0].dekkingInTijdBegindatum == "1990-07-01"
    assert about.dekkingInTijd[0].dekkingInTijdEinddatum == "2000-07-01"
    assert "https://creativecommons.org/licenses/by/4.0/" in (tmp_path / "dip/LICENCE.md").read_text()


def test_the_mdto_of_the_copy_is_valid_against_the_official_schema(closed: Home, tmp_path: Path, shared: Path) -> None:
    dip(closed, tmp_path / "dip")
    [found] = (shared / "vectors/mdto/official/schema/v1.0.1").glob("*.xsd")
    schema = etree.XMLSchema(etree.parse(found))
    for name in ("mdto.xml", "data.zarr.zip.mdto.xml"):
        schema.assertValid(etree.parse(tmp_path / "dip" / name))
        assert mdto.complaints(mdto.read((tmp_path / "dip" / name).read_bytes())) == []


def test_the_copy_is_a_package_that_terp_and_plain_tools_read_and_check(closed: Home, tmp_path: Path) -> None:
    dip(closed, tmp_path / "dip")
    done = subprocess.run(["sha512sum", "--strict", "-c", "SHA512SUMS"], cwd=tmp_path / "dip", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(os.listdir(tmp_path / "dip")) - 1
    packed = PackedProduct(tmp_path / "dip/data.zarr.zip")
    whole = packed.array("", "level").read([slice(0, n) for n in objects.SHAPE])
    np.testing.assert_array_equal(whole, objects.values("level"))
    plain = xr.open_zarr(ZipStore(package(tmp_path / "dip"), read_only=True), consolidated=False)
    np.testing.assert_array_equal(plain["level"], objects.values("level"))


def test_the_part_is_there_in_netcdf_too_when_that_is_asked_for(closed: Home, tmp_path: Path) -> None:
    dip(closed, tmp_path / "dip", where="time=1990..2000", netcdf=True)
    with xr.open_dataset(tmp_path / "dip/data.nc", engine="h5netcdf") as found:
        np.testing.assert_array_equal(found["level"], objects.values("level")[5:16])
        assert set(found.variables) == {"level", "time", "latitude", "longitude"}
    assert leaks(tmp_path / "dip") == []
    told = mdto.read((tmp_path / "dip/data.nc.mdto.xml").read_bytes())
    assert isinstance(told, mdto.Bestand)
    assert told.omvang == (tmp_path / "dip/data.nc").stat().st_size


def test_a_part_of_an_object_in_bands_is_one_whole_again(tmp_path: Path) -> None:
    house = objects.archived(tmp_path / "home", CLOSED, most=1000)
    assert len(list((house.root / "work").glob("*.zarr.zip"))) > 2
    dip(house, tmp_path / "dip", where="time=1990..2003")
    found = open_zip(package(tmp_path / "dip")).load()
    np.testing.assert_array_equal(found["level"], objects.values("level")[5:19])
    assert leaks(tmp_path / "dip") == []


def test_the_same_request_on_the_same_day_gives_the_same_bytes(closed: Home, tmp_path: Path) -> None:
    for name in ("one", "two"):
        dip(closed, tmp_path / name, where="time=1990..2000")
    assert objects.tree(tmp_path / "one") == objects.tree(tmp_path / "two")


def test_an_object_without_packages_of_terp_is_exported_whole(tmp_path: Path) -> None:
    house = Home(tmp_path / "home").open()
    archive = objects.Archive(house.archive)
    archive.create_if_missing()
    (tmp_path / "policy.toml").write_text(OPEN)
    about = {"message": "m", "user_name": "u", "created": objects.datetime(2026, 1, 1, tzinfo=objects.UTC)}
    archive.ingest(URN, {"policy.toml": tmp_path / "policy.toml"}, **about)
    with pytest.raises(BadPackage, match="export it whole"):
        dip(house, tmp_path / "dip")


def test_a_full_disk_leaves_nothing(closed: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = os.write, [0]

    def refuse(descriptor: int, data: bytes) -> int:
        count[0] += 1
        if count[0] > limit:
            raise OSError(28, os.strerror(28))
        return real(descriptor, data)

    before, troubles = len(Events(closed.custody).of(URN)), 0
    for limit in (0, 2, 8, 14, 20, 30):
        count[0] = 0
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", refuse)
            try:
                dip(closed, tmp_path / f"dip{limit}")
            except DiskTrouble:
                troubles += 1
    assert troubles > 2
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    assert len(os.listdir(tmp_path)) == 6 - troubles
    assert len(Events(closed.custody).of(URN)) == before + 6 - troubles
