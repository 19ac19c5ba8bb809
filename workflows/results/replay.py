"""Replay: make a run again from its crate alone, and compare what comes of it with what is archived.

Code, parameters, environment and inputs are those of the crate. The run is made in a process of its own and in a home
of its own, which is removed; TERP_HOME is only read.
"""

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from terp.cluster.processor import lacking
from terp.storage.environment import LOCK
from terp.storage.errors import BadPackage
from terp.storage.files import disk
from terp.storage.home import Home
from terp.storage.machine import NATIVE, Machine
from terp.storage.package import pack_product
from terp.storage.package.packed import PackedProduct
from terp.storage.package.table import MEMBERS
from terp.storage.product import StoredProduct
from terp.storage.scrub import WITHHELD, scrub
from terp.workflows.errors import Unavailable, WorkflowError
from terp.workflows.results.bundle import SOURCES, kept
from terp.workflows.results.compare import Comparison, Difference, compared
from terp.workflows.results.environment import build, differences, other_processors, terp_of, told_of_terp
from terp.workflows.results.inputs import Inputs
from terp.workflows.results.recipe import digest_of
from terp.workflows.results.recorded import Recorded, recorded
from terp.workflows.running.capture import machines_of
from terp.workflows.running.clock import now
from terp.workflows.running.record import RunRecord, load_run

ENVIRONMENTS = ("recorded", "build", "here")


@dataclass(frozen=True)
class How:
    """How a run is to be replayed: where else inputs are, in which environment, and by which workers."""

    inputs: Sequence[Path] = ()
    environment: str = "recorded"
    workers: int | None = None
    site: str | None = None
    site_set: Sequence[str] = ()
    scheduler: str = ""
    processor: str = ""  # the level to compute at; "": the recorded one
    room: Path | None = None  # in which the temporary home is made
    quiet: bool = False
    keep: Path | None = None  # a new folder for the packages that are made; then those of the crate are not read


@dataclass
class Replay:
    """What came of a replay."""

    crate: str
    run: str
    flow: str
    when: str
    environment: str
    terp: dict[str, str]  # which one computed, its digest, and where it was found
    inputs: list[dict[str, str]]
    results: list[Comparison]
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def same(self) -> bool:
        """Whether all results are identical or within their tolerance."""
        return all(one.verdict != "differs" for one in self.results)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without what does not belong into a file that is given on."""
        results = {one.name: one.to_json() for one in self.results}
        scrubbed: dict[str, Any] = scrub({**vars(self), "results": results, "same": self.same})
        return scrubbed


def replay(home: Home, reference: str, how: How) -> Replay:
    """Make a run again and compare; raises what terp's error trees hold where it cannot be made or compared."""
    began = time.monotonic()
    with disk(how.room or "/"), TemporaryDirectory("", "terp-replay-", how.room, ignore_cleanup_errors=True) as made:
        scratch = Path(made).resolve()
        crate = recorded(home, reference, scratch)
        crate.prove(packages=how.keep is None)
        told = Replay(crate.name, crate.recipe["run"], crate.recipe["flow"], now(), how.environment, {}, [], [])
        told.notes += _notes_on_code(crate.recipe)
        own = terp_of(crate, how.environment, scratch / "terp")
        python = _environment(crate, how, told, scratch, own)
        places = Inputs(how.inputs, scratch / "home" / "cache", scratch / "inputs")
        where, told.inputs = places.found(crate.recipe["sources"])
        fresh = Home(scratch / "home")
        _run(python, own, _job(crate, how, fresh, where, _unpacked(crate, scratch)), scratch)
        record = load_run(fresh, "last")
        code = kept(record.folder(fresh))
        told.terp, notes = told_of_terp(crate, bool(own), code.terp if code else {}, how.scheduler)
        told.notes += notes
        told.results = _kept(crate, fresh, record, how.keep, told) if how.keep else _compared(crate, fresh, record)
        told.notes += _notes_on_keys(crate.recipe, fresh, record) + _notes_on_machines(crate.recipe, record)
    told.seconds = round(time.monotonic() - began, 1)
    return told


def _notes_on_code(recipe: Mapping[str, Any]) -> list[str]:
    if not recipe["target"]:
        raise BadPackage(f"the flow {recipe['flow']} was typed at a prompt: its crate has no file that could be run")
    lost = [name for name, value in recipe["parameters"].items() if WITHHELD in json.dumps(value)]
    if lost:
        raise BadPackage(
            f"the parameter {', '.join(lost)} was withheld from the crate: only who knows it can run it again"
        )
    return [
        f"{name} is not in the crate as it was run: what must not be archived was taken out of it"
        for name in recipe["withheld"]
    ]


def _environment(crate: Recorded, how: How, told: Replay, scratch: Path, own: Path | None) -> Path:
    """Return the Python to replay with; raises Unavailable where that of the run is not here."""
    stood = crate.environment.without_terp() if own else crate.environment
    other = differences(stood)
    if how.environment == "build" and other:
        return build(stood, crate.files.get(LOCK), scratch / "environment")
    if other and how.environment == "recorded":
        raise Unavailable(
            f"the environment is not that of the run: {_several(other)}. `--environment build` makes that one, "
            "`--environment here` replays in this one"
        )
    if other:
        told.notes.append(f"replayed in another environment than that of the run: {_several(other)}")
    return Path(sys.executable)


def _several(lines: Sequence[str], most: int = 8) -> str:
    more = f", and {len(lines) - most} more" if len(lines) > most else ""
    return ", ".join(lines[:most]) + more


def _unpacked(crate: Recorded, scratch: Path) -> Path:
    """Return the folder of the run's code."""
    folder = scratch / "code"
    folder.mkdir()
    wanted = crate.recipe["files"]
    if wanted:
        with zipfile.ZipFile(crate.file(SOURCES)) as held:
            held.extractall(folder)
    lost = [name for name in wanted if not (folder / name).is_file()]
    if lost:
        raise BadPackage(f"{SOURCES} of {crate.name} lacks {', '.join(lost)}: restore it from a copy")
    return folder


def _job(crate: Recorded, how: How, fresh: Home, where: Mapping[str, Path], code: Path) -> dict[str, Any]:
    return {
        "target": crate.recipe["target"],
        "parameters": crate.recipe["parameters"],
        "elsewhere": {given: str(place) for given, place in where.items()},
        "code": str(code),
        "home": str(fresh.root),
        "workers": how.workers,
        "site": how.site,
        "site_set": list(how.site_set),
        "scheduler": how.scheduler,
        "processor": how.processor or _level(crate.recipe, how),
        "quiet": how.quiet,
    }


def _level(recipe: Mapping[str, Any], how: How) -> str:
    """Return the level that the run was computed at; "" where it is not one, or the processor here lacks it."""
    [level, *others] = {one.get("level", NATIVE) for one in recipe.get("machines", ())} or {""}
    return "" if others or how.scheduler or (not how.site and lacking(level)) else level


def _run(python: Path, own: Path | None, job: Mapping[str, Any], scratch: Path) -> None:
    """Have another process make the run: one that sees neither this one's modules nor folders of the user's.

    Its workers, and all else that it starts, look for modules where it does: for terp in `own` first.
    """
    told = scratch / "job.json"
    told.write_text(json.dumps(job))
    command = [str(python), "-P", "-s", "-m", "terp.workflows.cli.again", str(told)]
    around = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    around |= {"PYTHONPATH": str(own)} if own else {}
    with subprocess.Popen(
        command, cwd=scratch, env=around, stdout=sys.stderr.fileno(), start_new_session=True
    ) as process:
        try:
            code = process.wait()
        except BaseException:
            process.terminate()  # once, as it is in a session of its own: it has workers, and perhaps jobs, to end
            process.wait()
            raise
    if code:
        failure = WorkflowError("the run could not be made again: the lines above say why")
        failure.exit_code = code
        raise failure


def _results(crate: Recorded, record: RunRecord) -> Mapping[str, str]:
    results: Mapping[str, str] = crate.recipe["results"]
    if results.keys() != record.results.keys():
        raise BadPackage(f"{crate.name} holds {', '.join(results)}, but its flow returns {', '.join(record.results)}")
    return results


def _kept(crate: Recorded, fresh: Home, record: RunRecord, folder: Path, told: Replay) -> list[Comparison]:
    """Pack what was made as it was packed, in a folder; compare it by the digests that the crate has of it."""
    found = []
    for name in _results(crate, record):
        table = json.loads(crate.file(f"{name}{MEMBERS}").read_bytes())
        product = StoredProduct(fresh.product(record.results[name]))
        packed = pack_product(product, folder, name, table["most"])
        known = {one["name"]: one["sha512"] for one in table["packages"]}
        other = [one.path.name for one in packed if one.sha512 != known.get(one.path.name)]
        told.notes += [f"{file} is not byte for byte what is archived" for file in other]
        values = product.seal.values if product.seal else ""
        away = Difference("the digest of all values", -1, table["values"], values)
        found.append(Comparison(name, product.regions, values, first=None if values == table["values"] else away))
    return found


def _compared(crate: Recorded, fresh: Home, record: RunRecord) -> list[Comparison]:
    results = _results(crate, record)
    tolerances = {stage["key"]: stage["tolerance"] for stage in crate.recipe["stages"]}
    return [
        compared(
            name,
            PackedProduct(crate.file(f"{name}{MEMBERS}"), crate.files),
            StoredProduct(fresh.product(record.results[name])),
            tolerances.get(key, ()),
        )
        for name, key in results.items()
    ]


def _notes_on_keys(recipe: Mapping[str, Any], fresh: Home, record: RunRecord) -> list[str]:
    """Say what was made otherwise than it was: equal keys mean the same code, parameters and inputs."""
    if recipe["results"] == record.results:
        return []
    known = {(stage["name"], stage["code"]) for stage in recipe["stages"]}
    made = [StoredProduct(fresh.product(stage.key)) for stage in record.stages]
    other = sorted({one.name for one in made if (one.name, digest_of(one.frozen["ingredients"])) not in known})
    if other:
        return [f"the code of {', '.join(other)} is not the recorded one"]
    return ["the results have other keys than were recorded: a parameter, a library or how they are cut is another"]


def _notes_on_machines(recipe: Mapping[str, Any], record: RunRecord) -> list[str]:
    """Say where processors are others: a sum may then differ in its last bits."""
    then = [Machine.from_json(one) for one in recipe.get("machines", ())]  # of an older crate nothing is known
    told = other_processors(then, machines_of(record))
    return [f"{told}: values may differ in their last bits, as far as a tolerance is declared"] if told else []
