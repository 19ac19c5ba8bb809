"""The keys of a run: for nobody's eyes, valid on nodes whose clocks are wrong, gone when they are removed."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from terp.cluster.keys import Keys


def test_nobody_else_can_read_them_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        keys = Keys.make(tmp_path / "keys/run")
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in (keys.key, keys.certificate)} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (keys.folder, keys.folder.parent)} == {0o700}


def test_they_hold_on_nodes_whose_clocks_are_a_day_behind_and_for_weeks(tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(Keys.make(tmp_path / "keys").certificate.read_bytes())
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc <= now - timedelta(hours=23)
    assert certificate.not_valid_after_utc >= now + timedelta(days=30)


def test_a_folder_that_is_there_is_not_taken_over(tmp_path: Path) -> None:
    Keys.make(tmp_path / "keys")
    with pytest.raises(FileExistsError):
        Keys.make(tmp_path / "keys")


def test_nothing_is_left_of_them_but_those_of_others(tmp_path: Path) -> None:
    one, other = Keys.make(tmp_path / "keys/one"), Keys.make(tmp_path / "keys/other")
    one.remove()
    assert list((tmp_path / "keys").iterdir()) == [other.folder]
    other.remove()
    assert not (tmp_path / "keys").exists()
