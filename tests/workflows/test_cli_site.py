"""`terp site`: the sites that are known, what is known of one, and who says so; and the page about it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from terp.cluster.quantities import print_bytes
from terp.cluster.site import Archive, Controller, FileSystem, Partition, Site

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/sites.md"

type Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """The command line in a process of its own, with a working folder and a configuration of the test's own."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        here = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "TERP_HOME": str(tmp_path / "home"), **environment}
        terp = [str(Path(sys.executable).with_name("terp")), "site", *words]
        return subprocess.run(terp, env=here, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config/terp/sites/own.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_the_sites_that_are_known_are_listed_with_where_they_are_described(call: Call, tmp_path: Path) -> None:
    path = own(tmp_path, (ROOT / "slurm/sites/generic.toml").read_text())
    lines = call().stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["SITE", "generic", "own", "snellius", "spider", "testbed"]
    assert str(path) in lines[2]
    assert lines[2].endswith("a plain SLURM with one partition, to be copied and changed"), "the file is made for that"


def test_a_site_that_is_wrong_does_not_hide_the_others(call: Call, tmp_path: Path) -> None:
    own(tmp_path, "cores = 3")
    done = call()
    assert done.returncode == 0
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("own")]
    assert "cannot be used: " in line
    assert "this key is needed" in line


def test_a_site_is_shown_with_who_says_each_value(call: Call) -> None:
    done = call("show", "snellius", "--site-set", "partition=genoa", TERP_SITE_ACCOUNT="me")
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in done.stdout.splitlines()}
    assert rows["partition"] == ["genoa", "--site-set"]
    assert rows["account"] == ["me", "TERP_SITE_ACCOUNT"]
    assert rows["cores"] == ["24", "default"]
    assert rows["file_systems.scratch-shared.purge_days"] == ["14", "terp's snellius.toml"]


def test_a_site_is_shown_as_json_that_gives_the_same_site_again(call: Call) -> None:
    shown = json.loads(call("show", "spider", "--json").stdout)
    assert shown["memory_flag"] == {"value": "none", "from": "terp's spider.toml"}
    again = [f"--site-set={key}={json.dumps(one['value']) if isinstance(one['value'], list) else one['value']}"
             for key, one in shown.items() if one["value"] not in (None, {})]  # fmt: skip
    repeated = json.loads(call("show", "spider", "--json", *again).stdout)
    assert {key: one["value"] for key, one in repeated.items()} == {key: one["value"] for key, one in shown.items()}


@pytest.mark.parametrize(
    "words", [("show", "snelius"), ("show", "testbed", "--site-set", "x"), ("show", "testbed", "--site-set", "x=1")]
)
def test_what_is_wrong_is_said_in_a_line_and_the_exit_code_is_that_of_usage(call: Call, words: tuple[str, ...]) -> None:
    done = call(*words)
    assert (done.returncode, done.stdout) == (64, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("terp: ")


def test_the_page_about_sites_shows_an_error_as_it_is(call: Call) -> None:
    command, words = re.findall(r"^terp site (show .*memmory.*)\n(terp: .*)$", PAGE.read_text(), re.MULTILINE)[0]
    assert call(*command.split()).stderr.strip() == words


def rows() -> Iterator[str]:
    """The table of all keys, as docs/sites.md must have it."""
    yield from (_row(name, field) for name, field in Site.model_fields.items() if not _tables(name))
    for name in Site.model_fields:
        for prefix, table in _tables(name):
            yield from (_row(f"{prefix}.{key}", field) for key, field in table.model_fields.items())


def _tables(name: str) -> list[tuple[str, type[BaseModel]]]:
    inner: dict[str, tuple[str, type[BaseModel]]] = {
        "partitions": ("partitions.NAME", Partition),
        "controller": ("controller", Controller),
        "file_systems": ("file_systems.NAME", FileSystem),
        "archive": ("archive", Archive),
    }
    return [inner[name]] if name in inner else []


def _row(key: str, field: FieldInfo) -> str:
    follows = "default: " in (field.description or "")
    shown = "needed" if field.default is PydanticUndefined else _shown(field)
    return f"| `{key}` | {'' if follows or key == 'name' else shown} | {field.description} |"


def _shown(field: FieldInfo) -> str:
    if field.default in ("", [], None):
        return ""
    value = field.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f"`{value}`"
    return f"`{print_bytes(value) if value >= 1 << 20 else f'{value:g}'}`"


def test_the_page_about_sites_explains_every_key_as_the_code_does() -> None:
    wanted = list(rows())
    found = re.findall(r"^\| `.*\|$", PAGE.read_text().partition("## All keys")[2], re.MULTILINE)
    assert found == wanted, "\n".join(["the table is to be:", *wanted])
