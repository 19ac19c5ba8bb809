"""The crate and its README: understood by others, the same each time, and telling nothing it should not."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import validators
from benchmarks.environments import Missing
from terp.storage.crate import CHECKSUMS, DRAWING, INPUTS, LEESMIJ, METADATA, README, SOURCE, crate
from terp.storage.crate.drawing import drawing
from terp.storage.crate.prov import PROV_JSON, PROV_TURTLE, prov_json, prov_turtle
from terp.storage.environment import LOCK, Distribution, Environment
from terp.storage.errors import DiskTrouble
from terp.storage.machine import Machine
from terp.storage.package import Member, Packed, pack
from terp.storage.provenance import Agent, Flow, Input, Licence, Output, Record, Stage, Start
from terp.storage.readme import readme, texts
from terp.storage.scrub import Named, cleaned_code, know, know_code, scrub, told_apart

START = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
ZARR, ZARR_GROUP, DOI = "application/zip", "Zarr v3 group", "https://doi.org/10.5072/x"
OTHER = Environment("CPython 3.12.1", Machine.here(), {"xarray": Distribution("1.0")}, image="/images/other.sif")
MACHINE = Machine("Linux 6.1", "glibc 2.36", "EPYC", ("avx", "avx2"), "openblas 0.3", (("OMP", "1"),))
INSTALLED = {"numpy": Distribution("2.3.5"), "zarr": Distribution("3.4.2")}
ENVIRONMENT = Environment("CPython 3.13.1", MACHINE, INSTALLED, "nl_NL.UTF-8", "/images/terp.sif", "5a" * 32)


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    folder = tmp_path / "crate"
    folder.mkdir()
    data = b'{"zarr_format":3,"node_type":"group"}'
    (tmp_path / "zarr.json").write_bytes(data)
    return pack(
        [Member("zarr.json", tmp_path / "zarr.json", len(data), zlib.crc32(data))], folder / "anomaly é.zarr.zip"
    )


@pytest.fixture
def record(packed: Packed) -> Record:
    here = "Anomalies from the monthly normals"
    return Record(
        run="2026-11-21-anomalies-1a2b",
        title="Temperature anomalies of De Bilt",
        flow=Flow("anomalies", "Subtract the normals.", "1.2", "def anomalies(source): ...\n", "0a1b2c3", dirty=True),
        started=START,
        ended=START + timedelta(hours=3),
        agent=Agent("Ada de Vries", "0000-0002-1825-0097", "Example University", "https://ror.org/05dxps055"),
        environment=ENVIRONMENT,
        workers=2,
        inputs=[
            Input("260.nc", DOI, "ab" * 32, 123, "application/x-netcdf", "CC0-1.0", "t", parameter="source"),
            Input(
                "a folder", "ni:x", "cd" * 32, 9, "application/octet-stream", parts=[("a", "ef" * 32), ("b", "12" * 32)]
            ),
        ],
        parameters={"source": "/data/260.nc", "factor": 2.5, "by": "month", "bounds": {"lat": [50, 52]}, "none": None},
        stages=[
            Stage("normals", "k1", 4, START, START, "c" * 64, ["ab" * 32], {"by": "month"}, 12.5, 1 << 20),
            Stage("anomaly", "k2", 8, START, START, "d" * 64, ["ab" * 32, "k1"]),
        ],
        outputs=[
            Output(packed.path.name, packed.sha256, packed.sha512, packed.size, here, ZARR_GROUP, ZARR, "a", "k2")
        ],
        machines=[(MACHINE, 12)],
        others=[("the controller", OTHER)],
        places=["laptop"],
        warnings=["one station was silent"],
        starts=[
            Start("2026-11-21-anomalies-0f0e", START, START, False, "it was killed", 9, [("SLURM job", "17")]),
            Start("2026-11-21-anomalies-1a2b", START, START, True, "it finished", 4),
        ],
        licence=Licence("https://creativecommons.org/licenses/by/4.0/", "CC BY 4.0", "Use it, and name the makers."),
    )


@pytest.fixture
def folder(record: Record, packed: Packed) -> Path:
    folder = packed.path.parent
    for name, text in texts(record, "urn:terp:1").items():
        (folder / name).write_text(text)
    (folder / CHECKSUMS).write_text(sha512sums(record))
    crate(record, folder)
    return folder


def entities(folder: Path) -> dict[str, Any]:
    return {entity["@id"]: entity for entity in json.loads((folder / METADATA).read_bytes())["@graph"]}


def sha512sums(record: Record) -> str:
    """Return the checksums of the outputs as `sha512sum -c` reads them."""
    return "".join(f"{one.sha512}  {one.file}\n" for one in sorted(record.outputs, key=lambda one: one.file))


Validate = Callable[..., list[list[str]]]


# What may be there besides (severity OPTIONAL), and is not in our crates; by the reason.
MAY_LACK = {
    "environment variables are not recorded": (
        "process-run-crate-0.5_15.4 workflow-run-crate-0.5_13.3 provenance-run-crate-0.5_23.3"
    ),
    "the image stands at the run; one whose file cannot be read has no digest": "process-run-crate-0.5_15.5 "
    "process-run-crate-0.5_17.2",
    "what software needs stands in environment.lock": "process-run-crate-0.5_14.1 provenance-run-crate-0.5_23.4",
    "a stage is a tool itself, and is built by nothing": "provenance-run-crate-0.5_23.5 provenance-run-crate-0.5_24.3",
    "of what was not measured nothing is said": "provenance-run-crate-0.5_25.1",
    "nothing is published as the crate is written": "ro-crate-1.1_32.1 ro-crate-1.1_33.1 ro-crate-1.1_33.2 "
    "ro-crate-1.1_33.3 ro-crate-1.1_33.4",
    "a flow is Python: its picture is one of the run, there is no CWL, there are no examples and tests": (
        "workflow-ro-crate-1.0_10.1 workflow-ro-crate-1.0_10.2 workflow-ro-crate-1.0_11.1 workflow-ro-crate-1.0_11.2 "
        "workflow-ro-crate-1.0_12.1 workflow-ro-crate-1.0_13.1"
    ),
    "a value names its parameter, not the other way round": "workflow-run-crate-0.5_14.1",
}


def test_the_crate_meets_all_that_is_required_and_recommended_and_lacks_what_is_named(
    folder: Path, issues: Validate
) -> None:
    [found] = issues((folder, "OPTIONAL", False))
    assert {one.partition(": ")[0] for one in found} == {name for names in MAY_LACK.values() for name in names.split()}


def test_the_least_one_can_say_meets_all_that_is_required_and_a_lost_file_is_seen(
    record: Record, folder: Path, packed: Packed, tmp_path: Path, issues: Validate
) -> None:
    least = Record("r", "t", Flow("f", "", "0", ""), START, START, Agent("A"), record.environment)
    (tmp_path / "least").mkdir()
    crate(least, tmp_path / "least")
    packed.path.unlink()
    of_least, of_lost = issues(
        (tmp_path / "least", "REQUIRED", False, "workflow-run-crate"), (folder, "REQUIRED", False)
    )
    assert of_least == []
    assert any("anomaly" in issue for issue in of_lost)


PROFILES = {"3": "process-run-crate", "4": "workflow-run-crate", "5": "provenance-run-crate"}
KNOWN = (
    "3_process_run_crate/action_instrument_bad_type",
    "3_process_run_crate/conformsto_bad_profile",
    "3_process_run_crate/action_no_agent",
    "4_workflow_run_crate/workflow_input_no_formalparam",
    "4_workflow_run_crate/conformsto_no_wfrc",
    "5_provenance_run_crate/howtostep_no_workexample",
    "5_provenance_run_crate/organizeaction_bad_result",
    "5_provenance_run_crate/controlaction_no_object",
)


def told_of(issues: Validate, crates: Path, folder: Path, names: Sequence[str], severity: str) -> dict[str, set[str]]:
    """Return what is found in crates with a fault each that is not found in the crate which the fault was put into."""
    of = {name: PROFILES[name[0]] for name in names}
    places = {**{profile: f"valid/{profile}" for profile in of.values()}, **{name: f"invalid/{name}" for name in names}}
    copied = {name: shutil.copytree(crates / place, folder / name) for name, place in places.items()}
    found = issues(*((path, severity, True, of.get(name, name)) for name, path in copied.items()))
    told = {name: set(one) for name, one in zip(copied, found, strict=True)}
    return {name: told[name] - told[profile] for name, profile in of.items()}


def test_the_check_we_use_tells_known_good_from_known_bad(shared: Path, issues: Validate, tmp_path: Path) -> None:
    crates = shared / "vectors/rocrate/crates"
    good = [shutil.copytree(crates / f"valid/{one}", tmp_path / "good" / one) for one in PROFILES.values()]
    found = issues(*((folder, "REQUIRED", True, folder.name) for folder in good))
    assert found == [[], [], []]
    assert all(told_of(issues, crates, tmp_path, KNOWN, "RECOMMENDED").values())


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_every_known_bad_crate_is_refused(shared: Path, issues: Validate, tmp_path: Path) -> None:
    crates = shared / "vectors/rocrate/crates"
    names = [
        str(path.relative_to(crates / "invalid")) for path in sorted((crates / "invalid").glob("[345]_*_run_crate/*"))
    ]
    told = told_of(issues, crates, tmp_path, names, "OPTIONAL")
    assert [name for name, found in told.items() if not found] == []


# The faults of crates that say nothing of runs, by the check of RO-Crate 1.1 that finds them.
BASE = {
    "2_root_data_entity_metadata": {
        "invalid_recommended_root_date": "22.4",
        "invalid_root_date": "8.4",
        "invalid_root_type": "9.1",
        "invalid_root_value": "10.1",
        "missing_root_description": "8.2",
        "missing_root_entity": "6.0",
        "missing_root_license": "8.3",
        "missing_root_license_description": "34.2",
        "missing_root_license_name": "34.1",
        "missing_root_name": "8.1",
        "recommended_root_value": "23.1",
    },
    "4_data_entity_metadata": {
        "cyclic_datasets": "14.1",
        "data_entity_path": "12.1",
        "directory_data_entity_wo_trailing_slash": "26.1",
        "invalid_encoding_format_ctx_entity_missing_ws_name": "21.2",
        "invalid_encoding_format_ctx_entity_missing_ws_type": "27.1",
        "invalid_encoding_format_pronom": "27.1",
        "invalid_missing_hasPart_reference": "14.1",
        "invalid_sdDatePublished": "29.2",
        "missing_dataset_data_entity_with_quoted_name": "12.1",
        "missing_dataset_data_entity_with_unquoted_name": "12.1",
        "missing_encoding_format": "27.1",
        "missing_file_data_entity_with_absolute_path": "12.1",
        "missing_file_data_entity_with_quoted_name": "12.1",
        "missing_file_data_entity_with_unquoted_name": "12.1",
        "no_sdDatePublished": "29.2",
    },
}
# Those in the folder of bad crates that have no fault but the lack of their files: as their names say.
SOUND = {
    "2_root_data_entity_metadata": {"valid_referenced_generic_data_entities"},
    "4_data_entity_metadata": {
        "valid_direct_hasPart_reference",
        "valid_encoding_format_ctx_entity",
        "valid_encoding_format_pronom",
        "valid_indirect_hasPart_reference",
    },
}


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", BASE)
def test_the_faults_of_crates_that_say_nothing_of_runs_are_found_by_name(
    kind: str, shared: Path, issues: Validate, tmp_path: Path
) -> None:
    crates = shared / "vectors/rocrate/crates/invalid" / kind
    assert {path.name for path in crates.iterdir()} == {*BASE[kind], *SOUND[kind]}
    copied = {name: shutil.copytree(crates / name, tmp_path / name) for name in BASE[kind]}
    found = issues(*((path, "OPTIONAL", BASE[kind][name] != "12.1", "ro-crate-1.1") for name, path in copied.items()))
    checks = {name: {one.partition(": ")[0] for one in told} for name, told in zip(copied, found, strict=True)}
    assert [name for name, check in BASE[kind].items() if f"ro-crate-1.1_{check}" not in checks[name]] == []


# what it says


def test_the_crate_names_what_was_run_on_what_and_what_came_out(folder: Path, record: Record, packed: Packed) -> None:
    found = entities(folder)
    run = found["#run-2026-11-21-anomalies-1a2b"]
    assert (run["startTime"], run["endTime"]) == ("2026-11-21T09:30:00+00:00", "2026-11-21T12:30:00+00:00")
    assert run["agent"] == {"@id": "https://orcid.org/0000-0002-1825-0097"}
    told = {found[link["@id"]]["name"]: found[link["@id"]].get("value") for link in run["object"]}
    typed = {"source": "/data/260.nc", "factor": 2.5, "by": "month", "bounds": '{"lat": [50, 52]}', "none": "null"}
    assert told == {"260.nc": None, "a folder": None, **typed}
    output = found[run["result"]["@id"]]
    assert (output["sha256"], output["sha512"], output["contentSize"]) == (
        packed.sha256,
        packed.sha512,
        str(packed.size),
    )
    facts = [found[link["@id"]] for link in run["additionalProperty"]]
    assert {fact["name"]: fact["value"] for fact in facts} == {
        "operating system": "Linux 6.1",
        "C library": "glibc 2.36",
        "CPU": "EPYC",
        "CPU features": "avx avx2",
        "numerical library": "openblas 0.3",
        "locale": "nl_NL.UTF-8",
        "workers": 2,
        "git commit": "0a1b2c3",
        "code differs from that commit": True,
        "numpy": "2.3.5",
        "zarr": "3.4.2",
        "other environment": (
            "the controller: Image other.sif instead of terp.sif, Python CPython 3.12.1 instead of CPython 3.13.1, "
            "numpy (none) instead of 2.3.5, xarray 1.0 instead of (none), zarr (none) instead of 3.4.2"
        ),
        "place": "laptop",
        "computed on": (
            "12 regions; operating system Linux 6.1; C library glibc 2.36; CPU EPYC; CPU features avx avx2; "
            "numerical library openblas 0.3; threads OMP 1"
        ),
        "warning": "one station was silent",
    }
    assert [found[f"#stage-{n}"]["result"]["@id"] for n in (1, 2)] == ["#product-k1/", "anomaly%20%C3%A9.zarr.zip"]
    assert (folder / SOURCE).read_text() == record.flow.source


def test_every_link_leads_to_an_entity(folder: Path) -> None:
    found = entities(folder)

    def links(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [value["@id"]] if value.keys() == {"@id"} else [link for v in value.values() for link in links(v)]
        return [link for v in value for link in links(v)] if isinstance(value, list) else []

    assert {link for entity in found.values() for link in links(entity)} - found.keys() == {
        "https://w3id.org/ro/crate/1.1",
        "https://w3id.org/ro/terms/workflow-run#SIFImage",
    }


def test_an_entity_is_there_once_though_two_stages_made_it(record: Record, tmp_path: Path) -> None:
    crate(replace(record, stages=[record.stages[0], replace(record.stages[0], name="again")]), tmp_path)
    names = [entity["@id"] for entity in json.loads((tmp_path / METADATA).read_bytes())["@graph"]]
    assert len(names) == len(set(names))


def test_the_same_record_gives_the_same_bytes_in_any_time_zone(folder: Path, record: Record) -> None:
    before = (folder / METADATA).read_bytes()
    elsewhere = timezone(timedelta(hours=5))
    moved = replace(record, started=record.started.astimezone(elsewhere), ended=record.ended.astimezone(elsewhere))
    crate(replace(moved, parameters=dict(reversed(record.parameters.items()))), folder)
    assert {e["@id"] for e in entities(folder).values()} == {e["@id"] for e in json.loads(before)["@graph"]}
    crate(moved, folder)
    assert (folder / METADATA).read_bytes() == before


def test_home_logins_and_secrets_stay_out(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada.devries")
    monkeypatch.setenv("SURF_API_KEY", "planted-in-the-environment")
    planted = {
        "source": "/home/ada.devries/data/x.nc",
        "store": "https://ada:planted-in-an-url@example.org/x",
        "password": "planted-in-a-parameter",
        "nested": {"api_key": "planted-in-a-mapping", "paths": ["/home/ada.devries"]},
        "line": "--key planted-in-the-environment",
        "neighbour": "/home/ada.devries-old/x",
    }
    one = replace(record.inputs[0], identifier="file:///home/ada.devries/in.nc", description="from /home/ada.devries")
    flow = replace(record.flow, source="PATH = '/home/ada.devries/x'  # planted-in-the-environment\n")
    leaky = replace(record, parameters=planted, inputs=[one], flow=flow, warnings=["see /home/ada.devries/log"])
    crate(leaky, tmp_path)
    for name, text in texts(leaky).items():
        (tmp_path / name).write_text(text)
    for name in (METADATA, SOURCE, README, LEESMIJ):
        text = (tmp_path / name).read_text()
        assert "planted" not in text
        assert "ada.devries" not in text
        assert os.environ["PATH"] not in text
    told = {e["name"]: e["value"] for e in entities(tmp_path).values() if e["@id"].startswith("#parameter")}
    assert told["source"] == "~/data/x.nc"
    assert told["store"] == "https://example.org/x"
    assert told["password"] == "(withheld)"
    assert told["neighbour"] == "/home/(someone)/x"
    assert scrub({"n": (1, None, "/home/ada.devries/a")}) == {"n": [1, None, "~/a"]}


def test_the_environment_is_described_without_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", "planted-value")
    there = Environment.here()
    assert there.python == "CPython " + ".".join(map(str, sys.version_info[:3]))
    assert there.distributions["zarr"].version
    assert there.machine.cpu
    told = json.dumps(there.to_json())
    assert "planted" not in told
    assert os.uname().nodename not in json.dumps(there.machine.to_json())
    assert Environment.from_json(json.loads(told)) == there


def test_an_installer_takes_the_lock_as_it_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "here.lock").write_text(Environment.here().lock())
    for lock in (folder / LOCK, tmp_path / "here.lock"):
        names = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
        assert all("==" in name or " @ " in name for name in names)
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "install", "--dry-run", "--offline", "--no-deps", "--python", sys.executable, "-r"]
    done = subprocess.run([*command, tmp_path / "here.lock"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no changes" in done.stderr


RECORDED = {
    '{"url": "https://ada:planted@example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}}': (
        "git+https://example.org/x.git@0a1b"
    ),
    '{"url": "https://example.org/x-1.whl?key=planted", "archive_info": {"hashes": {"sha256": "ab"}}}': (
        "https://example.org/x-1.whl#sha256=ab"
    ),
    '{"url": "file:///home/ada/x", "dir_info": {"editable": true}}': "folder",
    '{"url": "file:///home/ada/x.whl", "archive_info": {}}': "",
    "not JSON": "",
}


@pytest.mark.parametrize("recorded", RECORDED)
def test_the_lock_tells_where_a_distribution_came_from_and_nothing_more(recorded: str, tmp_path: Path) -> None:
    folder = tmp_path / "x-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: X.y\nVersion: 1\n\nName: not this\n")
    (folder / "direct_url.json").write_text(recorded)
    code = "from terp.storage.environment import Environment; print(Environment.here().distributions['x-y'].origin)"
    there = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=there)
    assert done.stdout.strip() == RECORDED[recorded], done.stderr


def planted(home: str) -> dict[str, str]:
    """What must never be told, by where it stands."""
    return {
        "login": "https://ada:planted-login@example.org/x.nc",
        "query": "https://example.org/x.nc?X-Amz-Signature=planted-signature&y=1",
        "flag": "fetch --api-key planted-flag --fast",
        "header": "Authorization: Bearer planted-header-0123456789",
        "literal": 'PASSWORD = "planted-literal"',
        "annotated": "def f(token: str = 'planted-annotated'): ...",
        "mapping": '{"secret_key": "planted-mapping"}',
        "variable": "export SURF_TOKEN=planted-variable",
        "known": "it is planted-in-the-environment",
        "github": "ghp_planted0123456789abcdef",
        "key": "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----",
        "home": f"{home}/planted-not/x".replace("planted-not", "y"),
        "other": "/home/someone.else/x",
    }


def test_nothing_planted_anywhere_gets_into_any_file(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada.devries")
    monkeypatch.setenv("SURF_API_KEY", "planted-in-the-environment")
    bad = planted("/home/ada.devries")
    text = "\n".join(bad.values())
    trace = f'Traceback (most recent call last):\n  File "/home/ada.devries/f.py", line 1\nValueError: {bad["login"]}'
    flow = replace(record.flow, source=text, description=bad["flag"], diff="\n".join(f"+{one}" for one in bad.values()))
    stage = replace(record.stages[0], parameters=bad | {"n": 1})
    machine = replace(MACHINE, system="Linux on tcn123.local.snellius.surf.nl")
    leaky = replace(
        record,
        flow=flow,
        parameters=bad,
        stages=[stage, record.stages[1]],
        warnings=[*bad.values(), trace, "worker tcn123/4711 was silent"],
        environment=replace(record.environment, image="/home/ada.devries/terp.sif"),
        machines=[(machine, 1)],
        hosts=["tcn123.local.snellius.surf.nl"],
        inputs=[replace(record.inputs[0], name="https://ada:planted-login@example.org/x.nc")],
    )
    folder = tmp_path / "leaky"
    folder.mkdir()
    for name, text in texts(leaky).items():
        (folder / name).write_text(text)
    crate(leaky, folder)
    for path in folder.iterdir():
        told = path.read_text()
        for word in ("planted", "ada.devries", "someone.else", "tcn123"):
            assert word not in told, path.name
    assert entities(folder)["#parameter-home"]["value"] == "~/y/x"


ORDINARY = (
    'tokenizer = "spacy"',
    "basic statistics of the sk-learn-something",
    "f(token=token,\n  password=password)",
    "tokens = text.split()",
    "https://example.org/x?box=1,2#part",
    "/data/home/x and /homework/y",
    "hf_radar_surface_currents, npm_interpolated_twice and the product sk-0123456789abcdef0123",
    "git@example.org:a/b.git, x[i:matrix@other], -u user, ('time', 'token')",
)


@pytest.mark.parametrize("text", ORDINARY)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert scrub(text, ["node1"]) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://user:pa@planted@host/a",
        "https://host/a?key=planted&pwd=planted&session=planted#access_token=planted",
        "Authorization: token planted",
        "X-Api-Key: planted",
        "Cookie: session=planted",
        "'host=db password=planted user=x'",
        'token = """a\nplanted"""',
        "sk-proj-planted-abcdefghijklmnop",
        "xoxb-1234-planted-567890123",
        "AIzaSy-planted-0123456789",
        "npm_planted0123456789abcdef",
        "hf_planted0123456789abcdef0123456789",
        "sk-planted0123456789abcdef0123456789",
        "file:///home/planted/x",
        "/gpfs/home4/planted/x",
        r"C:\Users\planted\x",
        "DB_PASS is db-planted",
        "it said url-planted",
        "dict(tuple('secret_key', 'planted'), tuple('by', 2))",
        'run(["tool", "--token", "planted", "x"])',
        "curl -u ada:planted https://example.org/x",
        "sftp ada:planted@example.org:/data/x",
        "the key given-planted-1 was not taken",
        "no answer of ada and given-planted-2",
    ],
)
def test_a_secret_is_found_by_where_it_stands_or_by_its_look(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASS", "db-planted")
    monkeypatch.setenv("DATABASE_URL", "postgres://me:url-planted@db/x")
    know({"token": ["given-planted-1", "temperature"], "source": "https://ada:given-planted-2@example.org/x", "n": 1})
    assert scrub("the temperature") == "the temperature"
    assert "planted" not in scrub(text)


def test_names_of_things_and_of_functions_make_no_secret_of_what_they_name() -> None:
    digests = Named({"token.nc": "0" * 64, "https://ada:planted@example.org/x": "1" * 64})
    assert scrub({"source": digests}) == {"source": {"token.nc": "0" * 64, "https://example.org/x": "1" * 64}}
    code = {"m.a_token": "def a_token(): ...", "m.f:token": "'planted'", "m.f(password)": "'planted'", "m.f:x": "7"}
    assert cleaned_code(code, scrub) == code | dict.fromkeys(("m.f:token", "m.f(password)"), "(withheld)")
    know_code({"m.f:secret_key": "'planted in code'"})
    assert cleaned_code({"m.f:planted in code": "7"}, scrub) == {"m.f:planted in code": "7"}
    assert scrub("it is planted in code") == "it is (withheld)"


def test_sources_that_differ_in_a_secret_or_a_home_only_stay_apart() -> None:
    given = ["https://example.org/?token=one", "https://example.org/?token=two", "/home/ada/x", "/home/bob/x", "y"]
    told = told_apart(given)
    assert told[2:] == ["/home/ada/x", "/home/bob/x (2)", "y"]
    assert len({scrub(one) for one in told}) == 5
    assert told_apart(given[:2]) == told[:2]


def test_all_that_stands_under_the_name_of_a_secret_is_withheld_but_for_counts() -> None:
    told = scrub({"passwords": ["planted", 7], "token": {"x": "planted"}, "cookie": "planted", "secret": 7})
    assert "planted" not in str(told)
    assert "7" not in str(told)
    ordinary = {"max_tokens": 7, "passband": "V", "pass": "ascending", "bearing": 1.0, "token": None}
    assert scrub(ordinary) == ordinary


LONG = ("x-" * 100_000, "--a" * 30_000, "password=" * 30_000, "://a" * 30_000, "('token" * 30_000, "a:b@" * 30_000)


@pytest.mark.parametrize("text", [*LONG, "?" + "token" * 30_000])
def test_long_text_that_is_almost_a_secret_takes_no_time(text: str) -> None:
    began = time.process_time()
    scrub(text)
    assert time.process_time() - began < 5, "where each place looks at all that follows, this takes minutes"


def test_code_that_was_scrubbed_is_still_python() -> None:
    source = "\n".join(
        value for name, value in planted("/home/a").items() if name in ("literal", "annotated", "mapping")
    )
    compile(scrub(source), "flow.py", "exec")


@pytest.mark.filterwarnings("ignore:Dataset:DeprecationWarning")  # of rdflib, by prov
def test_provenance_is_the_same_in_both_forms_and_as_the_prov_library_reads_it(folder: Path, record: Record) -> None:
    from prov.model import ProvActivity, ProvDocument

    as_json = ProvDocument.deserialize(folder / PROV_JSON, format="json")
    as_turtle = ProvDocument.deserialize(folder / PROV_TURTLE, format="rdf", rdf_format="turtle")
    assert as_json == as_turtle
    assert ProvDocument.deserialize(content=as_json.serialize(format="json"), format="json") == as_json
    assert {one.identifier.localpart for one in as_json.get_records(ProvActivity)} == {
        *("run", "stage-1", "stage-2", "start-1", "start-2")
    }
    told = json.loads((folder / PROV_JSON).read_text())
    used = {(one["prov:activity"], one["prov:entity"]) for one in told["used"].values()}
    assert ("this:stage-2", "this:product-k1") in used
    assert ("this:stage-1", f"this:input-{record.inputs[0].sha256}") in used


@pytest.mark.campaign
def test_runcrate_tells_of_each_stage_what_it_read_and_made(folder: Path, tmp_path: Path) -> None:
    try:
        told = validators.runcrate_report(folder, tmp_path / "of its own")
    except Missing as why:
        pytest.skip(f"runcrate cannot be installed here: {why}")
    of_stage = told.partition("action: #stage-2\n")[2].partition("action:")[0]
    assert "step: flow.py#step-k2" in of_stage
    assert "#product-k1/ <- #takes-k2-2" in of_stage
    assert "zarr.zip <- #gives-k2" in of_stage


def test_the_picture_of_the_run_names_all_and_runs_nothing(folder: Path) -> None:
    from xml.etree import ElementTree as ET

    root = ET.parse(folder / DRAWING).getroot()
    svg = "{http://www.w3.org/2000/svg}"
    assert {one.tag.removeprefix(svg) for one in root.iter()} == {"svg", "title", "desc", "rect", "text", "path", "g"}
    assert not [name for one in root.iter() for name in one.attrib if name.startswith("on") or "href" in name]
    assert root.get("role") == "img"
    assert "Stage anomaly reads 260.nc, the product of normals" in str(root.findtext(f"{svg}desc"))
    words = [one.text for one in root.iter(f"{svg}text")]
    assert {"260.nc", "normals", "anomaly", "8 regions, 0.0 s of work", "a"} <= set(words)
    width, height = (float(str(root.get(name))) for name in ("width", "height"))
    for one in root.iter(f"{svg}rect"):
        assert float(one.get("x", 0)) + float(str(one.get("width"))) <= width
        assert float(one.get("y", 0)) + float(str(one.get("height"))) <= height


@pytest.mark.filterwarnings("ignore:Dataset:DeprecationWarning")  # of rdflib, by prov
@given(st.lists(st.tuples(st.text(max_size=9), st.lists(st.integers(0, 5), max_size=3)), max_size=6))
def test_any_run_can_be_drawn_and_told(stages: list[tuple[str, list[int]]]) -> None:
    from xml.etree import ElementTree as ET

    from prov.model import ProvDocument

    made = [
        Stage(name, f"k{n}", 1, START, START, "c", [f"k{i}" for i in reads]) for n, (name, reads) in enumerate(stages)
    ]
    flow = Flow("f\x00<&", "", "0", "")
    told = Record("r", "t", flow, START, START, Agent("A\u0301<"), ENVIRONMENT, stages=made)
    assert [one.key for one in sorted(told.steps, key=lambda one: one.key)] == sorted(one.key for one in made)
    if stages:
        ET.fromstring(drawing(told))
    as_json = ProvDocument.deserialize(content=prov_json(told), format="json")
    assert as_json == ProvDocument.deserialize(content=prov_turtle(told), format="rdf", rdf_format="turtle")


def test_inputs_can_be_checked_with_coreutils(folder: Path) -> None:
    listed = (folder / INPUTS).read_text().splitlines()
    assert listed == [f"{'ab' * 32}  260.nc", f"{'ef' * 32}  a folder/a", f"{'12' * 32}  a folder/b"]


def test_the_container_goes_by_its_digest_and_not_by_its_place(folder: Path) -> None:
    images = [one for one in entities(folder).values() if one["@type"] == "ContainerImage"]
    assert {(one["name"], one.get("sha256")) for one in images} == {("terp.sif", "5a" * 32), ("other.sif", None)}
    assert "/images" not in (folder / METADATA).read_text()


def test_all_software_goes_by_a_whole_url(folder: Path) -> None:
    names = [name for name, one in entities(folder).items() if one["@type"] == "SoftwareApplication"]
    assert len(names) == 4
    assert all(name.startswith("https://") for name in names)


def test_a_full_disk_is_explained(record: Record, tmp_path: Path) -> None:
    with pytest.raises(DiskTrouble, match="gone"):
        crate(record, tmp_path / "gone")


# the README


def test_the_readme_tells_a_stranger_all_that_is_needed(folder: Path) -> None:
    text = (folder / README).read_text()
    for words in (
        "# Temperature anomalies of De Bilt",
        "21 November 2026",
        "Ada de Vries (Example University)",
        "git commit 0a1b2c3, with changes that were not committed",
        "one station was silent",
        "`factor` = `2.5`",
        "sharding_indexed",
        "CRC-32C",
        "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)",
        "Ada de Vries (2026). Temperature anomalies of De Bilt. Data set. urn:terp:1.",
        "260.nc: CC0-1.0",
    ):
        assert words in text
    assert {path.name for path in folder.iterdir()} == {n for n in os.listdir(folder) if f"`{n}`" in text}
    assert max(map(len, text.splitlines())) < 250


def test_the_commands_in_the_readme_work_as_written(folder: Path, packed: Packed) -> None:
    text = (folder / README).read_text()
    lines = [line.strip() for line in text.splitlines() if line.startswith(("    sha512sum", "    unzip"))]
    assert len(lines) == 2
    for line in lines:
        command = [packed.path.name if word == "NAME.zarr.zip" else word for word in line.split()]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    packed.path.write_bytes(packed.path.read_bytes() + b"\0")
    assert subprocess.run(["sha512sum", "-c", CHECKSUMS], cwd=folder, capture_output=True).returncode


def test_a_record_without_licence_says_so(record: Record) -> None:
    bare = Record("r", "t", record.flow, START, START, Agent("A"), record.environment)
    assert "No licence stated" in readme(bare)
    assert "Run r." in readme(bare)


def test_the_digest_of_the_code_is_that_of_the_file(folder: Path) -> None:
    assert entities(folder)[SOURCE]["sha256"] == hashlib.sha256((folder / SOURCE).read_bytes()).hexdigest()
