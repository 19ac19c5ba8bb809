"""A site: typed, checked, put together from layers that are remembered, and refused in sentences."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from terp.cluster.errors import BadSite
from terp.cluster.site import Archive, Controller, FileSystem, Partition, Site, load_site, resolve, sites
from terp.cluster.site_layers import Layer, merge, overrides_of

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.stem for path in (ROOT / "slurm/sites").glob("*.toml"))

MINIMAL = """
partition = "batch"
walltime = "1:00:00"
max_workers = 8
[partitions.batch]
cores = 16
memory = "64G"
walltime = "1-00:00:00"
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder and a configuration of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in [name for name in os.environ if name.startswith("TERP_SITE_")]:
        monkeypatch.delenv(name)
    return tmp_path


def users_own(name: str, text: str | bytes) -> Path:
    path = Path(os.environ["XDG_CONFIG_HOME"]) / f"terp/sites/{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(name: str = "testbed", /, **overrides: str) -> str:
    """What is said of a site that is wrong; `__` stands for the dot of a key."""
    with pytest.raises(BadSite) as raised:
        load_site(name, {key.replace("__", "."): value for key, value in overrides.items()})
    return str(raised.value)


# layers

TREES: Any = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | st.integers(0, 3), max_size=3),
    max_leaves=6,
)


def leaves(tree: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*at, name))
        else:
            yield (*at, name), value


@given(st.lists(TREES, max_size=4))
def test_each_key_is_as_the_last_layer_that_says_it_has_it_and_knows_which(trees: list[dict[str, Any]]) -> None:
    merged = merge(Layer(str(number), tree) for number, tree in enumerate(trees))
    found = dict(leaves(merged.values))
    assert found.keys() == merged.origins.keys()
    for key, value in found.items():
        assert dict(leaves(trees[int(merged.origins[key])]))[key] == value
        later = trees[int(merged.origins[key]) + 1 :]
        assert not any(key in dict(leaves(tree)) for tree in later)


# as in a site, where what is a table in one layer is one in all
SITES: Any = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3),
    lambda inner: st.fixed_dictionaries(
        {}, optional={**dict.fromkeys("ab", st.integers(0, 3)), **dict.fromkeys("AB", inner)}
    ),
    max_leaves=6,
)


@given(SITES, SITES, SITES)
def test_layers_may_be_put_together_in_any_groups(one: Any, two: Any, three: Any) -> None:
    def put(*trees: Any) -> Any:
        return merge(Layer("", tree) for tree in trees).values

    assert put(put(one, two), three) == put(one, put(two, three)) == put(one, two, three)
    assert put(one, one) == put(one) == one


def test_who_is_nearer_to_the_user_has_the_last_word(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def memory() -> tuple[Any, str]:
        found = next(one for one in resolve("testbed", overrides).settings if one.key == "controller.memory")
        return found.value, found.origin

    overrides: dict[str, str] = {}
    assert memory() == ("2G", "terp's testbed.toml")
    own = users_own("testbed", '[controller]\nmemory = "3G"')
    assert memory() == ("3G", str(own))
    project = here / "terp.toml"
    project.write_text('[site.controller]\nmemory = "4G"')
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    assert memory() == ("4G", f"{project} [site]")
    project.write_text('[site.controller]\nmemory = "4G"\n[site.testbed.controller]\nmemory = "5G"')
    assert memory() == ("5G", f"{project} [site.testbed]")
    monkeypatch.setenv("TERP_SITE_CONTROLLER__MEMORY", "6G")
    assert memory() == ("6G", "TERP_SITE_CONTROLLER__MEMORY")
    overrides["controller.memory"] = "7G"
    assert memory() == ("7G", "--site-set")
    assert load_site("testbed", overrides).controller.walltime == 600, "what is beside it stays"


def test_what_the_project_says_of_another_site_does_not_count(here: Path) -> None:
    (here / "terp.toml").write_text('[site.snellius]\naccount = "theirs"')
    assert load_site("testbed").account == ""
    assert load_site("snellius").account == "theirs"


def test_a_variable_reaches_a_partition_however_its_name_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    users_own("mine", MINIMAL.replace("batch", "Batch_A"))
    monkeypatch.setenv("TERP_SITE_PARTITIONS__BATCH_A__SBU", "2.5")
    monkeypatch.setenv("TERP_SITE_MODULES", '["2025", "Python"]')
    site = load_site("mine")
    assert site.partitions["Batch_A"].sbu == 2.5
    assert site.modules == ["2025", "Python"]


# sites


@pytest.mark.parametrize("name", SHIPPED)
def test_a_site_that_comes_with_terp_is_good_and_says_what_it_is(name: str) -> None:
    site = load_site(name)
    assert site.name == name
    assert site.about
    assert Site.model_validate_json(site.model_dump_json()) == site


def test_what_is_left_out_follows_from_the_partition() -> None:
    users_own("mine", MINIMAL + "smallest = 4")
    site = load_site("mine")
    assert (site.cores, site.memory_per_core) == (4, 4 << 30)
    assert site.controller == Controller(partition="batch", walltime="1:00:00")
    assert load_site("snellius", {"partition": "genoa"}).cores == 24, "an eighth of a node"


def test_a_users_file_and_the_project_may_describe_a_site_of_their_own(here: Path) -> None:
    users_own("mine", MINIMAL)
    text = re.sub(r"^\[partitions", "[site.ours.partitions", MINIMAL, flags=re.MULTILINE)
    (here / "terp.toml").write_text(f"[site.ours]{text}")
    assert {"mine", "ours", *SHIPPED} == set(sites())
    assert load_site("mine").partition == load_site("ours").partition == "batch"


def test_sites_are_found_where_a_wheel_puts_them(here: Path) -> None:
    """A wheel has terp/cluster and terp/slurm; a checkout has them beside each other too, without the `terp`."""
    for part in ("cluster", "slurm"):
        shutil.copytree(ROOT / part, here / "installed/terp" / part, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import terp.cluster.site as s; print(s.__file__); print(s.load_site('spider').name, *sorted(s.sites()))"
    environment = os.environ | {"PYTHONPATH": str(here / "installed")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.stdout.split() == [str(here / "installed/terp/cluster/site.py"), "spider", *SHIPPED], run.stderr


# refusals


def test_a_site_that_is_unknown_is_refused_with_those_that_are_known() -> None:
    said = refused("snelius")
    assert all(name in said for name in SHIPPED)
    assert 'Do you mean "snellius"?' in said


@pytest.mark.parametrize("name", ["", "..", "../sites/testbed", "/etc/passwd", "testbed.toml", "a\nb"])
def test_a_name_is_never_a_path(name: str) -> None:
    assert refused(name).startswith("there is no site")


def test_a_key_that_is_unknown_is_refused_with_its_file_and_those_that_are_known() -> None:
    own = users_own("testbed", '[controller]\nmemmory = "3G"')
    said = refused()
    assert said.startswith(f"{own}: controller.memmory: is not known here; do you mean memory?")
    assert said.endswith("allowed: cores, memory, partition, walltime")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"cores": "x"}, "--site-set: cores: must be a whole number"),
        ({"cores": "0"}, "cores: must be at least 1"),
        ({"modules": "a"}, 'modules: must be a list, such as ["a", "b"]'),
        ({"modules": "[a"}, "--site-set modules: [a is no list as TOML writes it"),
        ({"controller": "x"}, "controller: must be a table"),
        ({"memory_per_core": "4"}, 'memory_per_core: write an amount of memory or storage with its unit, as in "4G"'),
        ({"walltime": "60"}, 'walltime: write a time as SLURM does, as in "30:00"'),
        ({"memory_flag": "maybe"}, "memory_flag: must be one of 'mem', 'mem-per-cpu' or 'none'"),
        ({"account": "a b"}, "account: must be a name"),
        ({"about": "a\nb"}, "about: must be one line of text"),
        ({"poll": "inf"}, "poll: must be a number"),
        ({"name": "other"}, "name: a site is called as its file is, testbed"),
        ({"partitions__new__cores": "4"}, "partitions.new.memory: this key is needed"),
        ({".": "4"}, "a key has a name on each side of its dots"),
    ],
)
def test_a_value_that_is_wrong_is_refused_in_a_sentence(overrides: dict[str, str], words: str) -> None:
    assert words in refused(**overrides)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"partition": "thick"}, 'partition: there is no partition "thick", do you mean "thin"?; there are thin, fat,'),
        ({"controller__partition": "x"}, 'controller.partition: there is no partition "x"; there are thin, fat,'),
        ({"cores": "17"}, 'cores: 17 is more than the 16 of a node of the partition "thin"'),
        ({"partitions__thin__smallest": "4"}, "gives cores in multiples of 4, and charges for them; take 4"),
        ({"partitions__fat__smallest": "17"}, "partitions.fat.smallest: 17 is more than the 16 cores of a node"),
        ({"walltime": "1-0"}, 'walltime: 1-00:00:00 is longer than the partition "thin" allows, 01:00:00'),
        (
            {"controller__walltime": "1:00:01"},
            'controller.walltime: 01:00:01 is longer than the partition "thin" allows',
        ),
        ({"walltime": "0:59"}, "walltime: 00:00:59 is less than a minute, and SLURM counts in minutes"),
        ({"controller__memory": "40G"}, "controller.memory: 40G is more than the 32000M of a node"),
        ({"controller__cores": "17"}, "controller.cores: 17 is more than the 16 of a node"),
        ({"memory_per_core": "20G"}, "memory_per_core: 20G for each of 2 cores is more than the 32000M of a node"),
        ({"min_workers": "5"}, "min_workers: 5 is more than max_workers, 4"),
        ({"archive__smallest": "201G"}, "archive.smallest: 201G is more than archive.largest, 200G"),
        ({"directives": '["--time=1:00:00"]'}, 'directives: "--time=1:00:00" is set by terp: use the key walltime'),
        ({"directives": '["-J x"]'}, 'directives: "-J x" is set by terp: leave it out'),
        ({"directives": '["qos=x"]'}, 'directives: "qos=x" is no flag of sbatch'),
    ],
)
def test_keys_that_do_not_go_together_are_refused_in_a_sentence(overrides: dict[str, str], words: str) -> None:
    assert words in refused(**overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        {"partition": "gpu_a100"},
        {"controller__partition": "gpu_h100"},
        {"gpus": "1"},
        {"gres": "gpu:1"},
        {"directives": '["--gpus=1"]'},
        {"directives": '["--gres=gpu:a100:1"]'},
    ],
)
def test_who_asks_for_gpus_is_told_that_they_are_not_used_yet(overrides: dict[str, str]) -> None:
    assert "not yet: terp does not use GPUs" in refused("snellius", **overrides)


def test_all_that_is_wrong_is_said_at_once_and_what_only_follows_is_not() -> None:
    said = refused(cores="x", partition="thick", walltime="3").splitlines()
    assert [line.split(": ")[1] for line in said] == ["partition", "cores", "walltime"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[site.snelius]\naccount = 'a'", "[site.snelius] is neither a known site"),
        ("[sites]", '"sites" is not known here: there is one table, [site]'),
        ("site = 3", "`site` must be a table"),
        ("[site\n", "is no TOML"),
        ("[site]\ncoores = 3", "[site]: coores: is not known here; do you mean cores?"),
    ],
)
def test_a_project_file_that_is_wrong_is_refused_by_its_name(here: Path, text: str, words: str) -> None:
    (here / "terp.toml").write_text(text)
    said = refused()
    assert str(here / "terp.toml") in said
    assert words in said


def test_a_project_file_that_anyone_may_have_written_is_refused(here: Path) -> None:
    (here / "terp.toml").write_text('[site]\nprologue = ["rm -rf ~"]')
    (here / "terp.toml").chmod(0o666)
    assert "anyone may have written this file" in refused()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_project_file_that_a_stranger_put_into_a_public_folder_is_refused(here: Path) -> None:
    (here / "terp.toml").write_text("[site]")
    os.chown(here / "terp.toml", 65534, -1)
    load_site("testbed")  # a colleague's, in a folder that is not public
    here.chmod(0o1777)
    assert "anyone may have written this file" in refused()


def test_a_file_whose_name_cannot_be_that_of_a_site_is_refused() -> None:
    users_own("my site", MINIMAL)
    assert 'name: must be a name, of letters, digits and .+@:_-, not "my site"' in refused("my site")


def test_a_working_folder_that_is_gone_has_no_project(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "gone").mkdir()
    monkeypatch.chdir(here / "gone")
    (here / "gone").rmdir()
    assert load_site("testbed").name == "testbed"


def test_a_file_that_cannot_be_read_is_named() -> None:
    own = users_own("testbed", "")
    own.unlink()
    own.mkdir()
    assert refused() == f"{own} cannot be read: Is a directory"


KEYS = [
    *Site.model_fields,
    *(f"{table}.{key}" for table, of in (("controller", Controller), ("archive", Archive)) for key in of.model_fields),
    *(f"partitions.thin.{key}" for key in Partition.model_fields),
    *(f"file_systems.home.{key}" for key in FileSystem.model_fields),
]


def said(**overrides: str) -> str:
    """What is said of a site that may be wrong."""
    try:
        return load_site("testbed", overrides).name
    except BadSite as error:
        return str(error)


NOT_FOR_PEOPLE = re.compile(r"pydantic|validation error|Input should|Traceback")
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), st.text(max_size=8) | st.just("[1, {a = 2}]")))
@example({"controller": "[]", "archive": "{}"})
@MANY
def test_whatever_the_command_line_says_is_a_site_or_a_sentence(overrides: dict[str, str]) -> None:
    assert not NOT_FOR_PEOPLE.search(said(**overrides))


@given(st.binary(max_size=60) | st.sampled_from(KEYS).map(lambda key: f"{key} = [true, 1.5, 1979-05-27]".encode()))
@example(b"cores = true")
@example(b"walltime = 3600")
@example(b"partitions = []")
@example(b"[partitions]\nthin = 3")
@MANY
def test_whatever_a_file_says_is_a_site_or_a_sentence_that_names_the_file(text: bytes) -> None:
    own = users_own("testbed", text)
    told = said()
    assert told == "testbed" or str(own) in told
    assert not NOT_FOR_PEOPLE.search(told)


def test_settings_of_the_command_line_have_a_key_and_a_value() -> None:
    assert overrides_of(["a=1", "b.c = x=y ", "d="]) == {"a": "1", "b.c": "x=y", "d": ""}
    with pytest.raises(BadSite, match="write it as KEY=VALUE"):
        overrides_of(["account"])
