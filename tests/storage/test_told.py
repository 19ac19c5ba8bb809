"""What is read tells its terms: an attribute, or the decision beside it where it came out of an archived object."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from terp.storage.ingest.told import Told, told_of

GOOD = (Path(__file__).parents[1] / "policy.toml").read_text()
BY = "https://creativecommons.org/licenses/by/4.0/"
CLOSED = '\n[[beperkingGebruik]]\ntype = "Overig"\ngrond = "artikel 15"\nlooptijd = "P20Y"\nvariables = ["a"]\n'


def netcdf(path: Path, **attrs: object) -> Path:
    xr.Dataset({"t": ("x", np.arange(3.0))}, attrs=attrs).to_netcdf(path)
    return path


def listed(folder: Path, *names: str) -> None:
    """Write the checksums of a folder, as an object, a bag's payload and a dissemination copy have them."""
    sums = {name: hashlib.sha512((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / "SHA512SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def test_a_netcdf_tells_its_licence_as_acdd_has_it(tmp_path: Path) -> None:
    assert told_of(netcdf(tmp_path / "a.nc", license=" CC BY-NC 4.0 "), "netcdf") == Told("CC BY-NC 4.0")
    assert told_of(netcdf(tmp_path / "b.nc", license=7), "netcdf") == Told()
    assert told_of(netcdf(tmp_path / "c.nc"), "netcdf") == Told()
    (tmp_path / "d.nc").write_bytes(b"CDF\x05 and no more")
    assert told_of(tmp_path / "d.nc", "netcdf") == Told()
    assert told_of(tmp_path / "gone.nc", "netcdf") == Told()


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_group_tells_its_licence_too(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.zarr"
    xr.Dataset({"t": ("x", np.arange(3.0))}, attrs={"license": "CC0"}).to_zarr(
        path, zarr_format=version, consolidated=False
    )
    assert told_of(path, "zarr") == Told("CC0")
    for mark in ("zarr.json", ".zattrs"):
        (path / mark).write_text("[") if (path / mark).exists() else None
    assert told_of(path, "zarr") == Told()


def test_what_came_out_of_an_archived_object_is_under_its_decision(tmp_path: Path) -> None:
    made = netcdf(tmp_path / "result.nc")
    (tmp_path / "policy.toml").write_text(GOOD)
    listed(tmp_path, "policy.toml", "result.nc")
    assert told_of(made, "netcdf") == Told(BY)
    (tmp_path / "policy.toml").write_text(GOOD.replace("open unless", "private unless") + CLOSED)
    assert told_of(made, "netcdf") == Told(), "a policy that was altered is none of the object's"
    listed(tmp_path, "policy.toml", "result.nc")
    closed = "private unless; artikel 15, decided by A Tester on 2026-01-01"
    assert told_of(made, "netcdf") == Told(BY, closed)


def test_a_package_that_was_unpacked_beside_its_object_is_under_its_decision(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(GOOD)
    (tmp_path / "result.zarr.zip").write_bytes(b"PK")
    listed(tmp_path, "policy.toml", "result.zarr.zip")
    xr.Dataset({"t": ("x", np.arange(3.0))}).to_zarr(tmp_path / "result.zarr", zarr_format=3, consolidated=False)
    assert told_of(tmp_path / "result.zarr", "zarr") == Told(BY)


def test_the_policy_of_who_computes_is_not_that_of_the_input_that_lies_beside_it(tmp_path: Path) -> None:
    made = netcdf(tmp_path / "obs.nc")
    (tmp_path / "policy.toml").write_text(GOOD)
    assert told_of(made, "netcdf") == Told()
    (tmp_path / "other.nc").write_bytes(b"x")
    listed(tmp_path, "policy.toml", "other.nc")
    assert told_of(made, "netcdf") == Told()


@pytest.mark.parametrize(("profile", "closed"), [("public", ""), ("full", "a copy of the profile full")])
def test_a_copy_for_readers_tells_its_licence_and_for_whom_it_is(tmp_path: Path, profile: str, closed: str) -> None:
    made = netcdf(tmp_path / "data.nc")
    (tmp_path / "dip.json").write_text(json.dumps({"profile": profile, "licence": {"url": BY}}))
    listed(tmp_path, "dip.json", "data.nc")
    assert told_of(made, "netcdf") == Told(BY, closed)
