"""A home is a person's, or a group's where its folder says so."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from terp.storage.errors import DiskTrouble
from terp.storage.home import Home

MAKE = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from terp.storage.home import Home
import products
home = Home(Path(sys.argv[1])).open()
products.fill(products.new(home.products))
"""


def test_what_is_made_in_a_home_of_a_group_is_the_groups_to_write(tmp_path: Path) -> None:
    root = tmp_path / "group"
    root.mkdir()
    group = os.getgroups()[-1] if os.getuid() else 4242
    os.chown(root, -1, group)
    root.chmod(0o2770)
    subprocess.run([sys.executable, "-c", MAKE, str(root), str(Path(__file__).parent)], check=True, umask=0o077)
    for path in root.rglob("*"):
        assert path.stat().st_gid == group, path
        assert path.stat().st_mode & (stat.S_IWGRP | stat.S_IRGRP) == stat.S_IWGRP | stat.S_IRGRP, path


def test_a_home_of_ones_own_keeps_to_the_umask(tmp_path: Path) -> None:
    root = tmp_path / "own"
    subprocess.run([sys.executable, "-c", MAKE, str(root), str(Path(__file__).parent)], check=True, umask=0o077)
    assert all(not path.stat().st_mode & 0o077 for path in root.rglob("*"))


def test_the_environment_names_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERP_HOME", str(tmp_path / "here"))
    assert Home.here().root == tmp_path / "here"
    monkeypatch.delenv("TERP_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert Home.here().root == tmp_path / "data" / "terp"


def test_a_home_that_is_a_file_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskTrouble, match="a file stands where"):
        Home(tmp_path / "file" / "home").open()
