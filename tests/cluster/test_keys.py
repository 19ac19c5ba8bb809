"""The keys of a run: for nobody's eyes, valid on nodes whose clocks are wrong, gone when they are removed."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from terp.cluster.errors import NoKeys
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
    keys = Keys.make(tmp_path / "keys")
    with pytest.raises(NoKeys, match="another's"):
        Keys.make(tmp_path / "keys")
    assert keys.certificate.exists()


def test_a_request_that_a_network_file_system_sends_twice_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)  # made by the first
    assert Keys.make(tmp_path / "keys").certificate.exists()


@pytest.mark.parametrize(("failures", "well"), [(2, True), (9, False)])
def test_a_disk_that_does_not_sync_is_asked_again_then_told_of_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, well: bool
) -> None:
    true, left = os.fsync, iter(range(failures))

    def sync(descriptor: int) -> None:
        if next(left, None) is not None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        true(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    if well:
        assert b"PRIVATE" in Keys.make(tmp_path / "keys").key.read_bytes()
    else:
        with pytest.raises(NoKeys, match=r"cannot be written to .*: Input/output error"):
            Keys.make(tmp_path / "keys")
        assert not (tmp_path / "keys").exists()


def test_nothing_is_left_of_them_but_those_of_others(tmp_path: Path) -> None:
    one, other = Keys.make(tmp_path / "keys/one"), Keys.make(tmp_path / "keys/other")
    one.remove()
    assert list((tmp_path / "keys").iterdir()) == [other.folder]
    other.remove()
    assert not (tmp_path / "keys").exists()
