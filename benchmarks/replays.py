"""Made again, to the same bits? `python -m benchmarks.replays` runs both real flows, and shows what holds of them.

Each is run, run once more with its controller killed (-9) and going on, and replayed from its crate alone on 1, 2 and 4
workers, on threads, and in jobs of a site. Told: the digest of all values, seconds, what the comparison says. Then one
bit is flipped, in what is stored and in what is read, and it is shown who names it. Last, others' validators are asked.
"""

import argparse
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import machine, validators
from benchmarks.environments import CACHE, ROOT, Missing

TERP = str(Path(sys.executable).with_name("terp"))
CONTEXTS = ROOT.parent / "shared/vectors/rocrate/contexts"
CELL = 1600  # mas, of the image of what is simulated


class Desk:
    """A home, in which commands are given as a person gives them."""

    def __init__(self, folder: Path) -> None:
        self.home, self.folder = folder / "home", folder
        told = {"TERP_HOME": self.home, "TERP_POLICY": ROOT / "tests/policy.toml", "TERP_AGENT": "A Reader"}
        self.environment = os.environ | {name: str(value) for name, value in told.items()}
        folder.mkdir(parents=True, exist_ok=True)

    def terp(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of terp's."""
        around = self.environment | environment
        return subprocess.run([TERP, *words], env=around, cwd=self.folder, capture_output=True, text=True, check=False)

    def made(self, *words: str, **environment: str) -> dict[str, Any]:
        """Return what a command says as JSON; raises Missing with its last words where it says none."""
        done = self.terp(*words, "--json", **environment)
        if not done.stdout.startswith("{"):
            raise Missing((done.stderr.strip() or "no words").splitlines()[-1])
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def killed(self, *words: str) -> None:
        """Start a run, and kill its controller and all below it as soon as a first region is recorded."""
        command = [TERP, "run", *words]
        none = subprocess.DEVNULL
        with subprocess.Popen(
            command, env=self.environment, stdout=none, stderr=none, start_new_session=True
        ) as process:
            while process.poll() is None and not any(self._recorded()):
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGKILL)

    def _recorded(self) -> Iterator[bool]:
        for path in self.home.glob("products/*/ledger/*.rows"):
            yield not path.parents[1].name.startswith("ingest") and path.stat().st_size > 0


@contextmanager
def threads(folder: Path, processes: int = 1, each: int = 4) -> Iterator[tuple[str, dict[str, str]]]:
    """Start workers of several threads; yield the address of their scheduler, and variables for who shall use it."""
    from dask import config
    from distributed import LocalCluster

    from terp.cluster.keys import Keys
    from terp.cluster.processor import settings, usual

    keys = Keys.make(folder / "keys")
    names = {"CA_FILE": keys.certificate, "CLIENT__CERT": keys.certificate, "CLIENT__KEY": keys.key}
    named = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(path) for name, path in names.items()}
    quiet = {"distributed.nanny.environ": settings(usual())}
    with (
        config.set(quiet),
        LocalCluster(
            n_workers=processes,
            threads_per_worker=each,
            protocol="tls://",
            host="127.0.0.1",
            security=keys.security(),
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else it meets others at port 8787 as it starts
            silence_logs=logging.CRITICAL,
            worker_dashboard_address=None,
            local_directory=str(folder),
        ) as cluster,
    ):
        yield cluster.scheduler_address, named


# the table


def flows(uvfits: Path | None, folder: Path) -> dict[str, list[str]]:
    """Return what each flow is run on: for the image visibilities that are given, or else simulated ones."""
    if uvfits:
        return {"climatology": ["climatology"], "imaging": ["imaging", str(uvfits.resolve()), *_image(128, 0.2)]}
    sys.path.insert(0, str(ROOT / "tests/workflows"))
    simulate = import_module("test_imaging").simulate
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's, about the random parameters it writes
        simulate(folder / "triple.uvfits")
    shown = ["imaging", str(folder / "triple.uvfits"), *_image(64, CELL), "--set=threshold=0.05"]
    return {"climatology": ["climatology"], "imaging": shown}


def _image(pixels: int, cell: float) -> list[str]:
    return [f"--set=pixels={pixels}", f"--set=cell_mas={cell}"]


def digest(values: Mapping[str, str]) -> str:
    """Return one digest for those of all results."""
    return hashlib.sha256(json.dumps(dict(sorted(values.items()))).encode()).hexdigest()[:16]


def shown(how: str, seconds: float, values: str, said: str) -> None:
    print(f"  {how:38} {seconds:7.1f} s  {values:16}  {said}", flush=True)


def table(desk: Desk, words: Sequence[str], counts: Sequence[int], site: Sequence[str]) -> dict[str, Any]:
    """Run a flow and make it again in all ways; print a line for each, and return the record of the run."""
    began = time.monotonic()
    record = desk.made("run", *words, "--workers=1")
    known = digest(record["archived"]["values"])
    shown("run, 1 worker", time.monotonic() - began, known, f"{len(record['results'])} results archived")
    _resumed(Desk(desk.folder / "killed"), words, known)
    for count in counts:
        _replayed(desk, record["id"], known, f"replay, workers: {count}", f"--workers={count}")
    for processes in (1, 2):
        with tempfile.TemporaryDirectory() as folder, threads(Path(folder), processes) as (address, named):
            how = f"replay, {processes} x 4 threads"
            _replayed(desk, record["id"], known, how, f"--scheduler={address}", **named)
    if site:
        _replayed(desk, record["id"], known, f"replay, jobs of SLURM at {site[0]}", "--site", *site)
    return record


def _resumed(desk: Desk, words: Sequence[str], known: str) -> None:
    began = time.monotonic()
    desk.killed(*words, "--workers=2")
    values = digest(desk.made("run", *words, "--workers=2")["archived"]["values"])
    said = "equal" if values == known else "DIFFERS"
    shown("run, killed (-9), gone on, 2 workers", time.monotonic() - began, values, said)


def _replayed(desk: Desk, run: str, known: str, how: str, *words: str, **environment: str) -> None:
    try:
        told = desk.made("replay", run, *words, **environment)
    except Missing as why:
        print(f"  {how:38} skipped: {why}", flush=True)
        return
    values = digest({name: one["values"] for name, one in told["results"].items()})
    counts: dict[str, int] = {}
    for one in told["results"].values():
        counts[one["verdict"]] = counts.get(one["verdict"], 0) + one["regions"]
    said = ", ".join(f"{name} ({regions:,} regions)" for name, regions in counts.items())
    shown(how, told["seconds"], values, f"{'equal' if values == known else 'DIFFERS'}, {said}")


# one bit


def flip(path: Path, byte: int, bit: int = 4) -> None:
    """Flip one bit of a file in its place."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(byte)
        [value] = file.read(1)
        file.seek(byte)
        file.write(bytes([value ^ 1 << bit]))


def told_by(desk: Desk, *words: str) -> None:
    """Print how a command ends, and its lines that tell of damage or of a difference."""
    done = desk.terp(*words)
    print(f"  $ terp {' '.join(words)}   (ends with {done.returncode})")
    marks = ("damaged: v1", ": v1", "    the member", "different", "region", "  largest", "  first", "terp: ")
    for line in [*done.stdout.splitlines(), *done.stderr.splitlines()]:
        if any(mark in line for mark in marks):
            print(f"    {line.strip()}")


def one_bit(desk: Desk, record: Mapping[str, Any]) -> None:
    """Change one bit of the input, run again and compare; flip one of a stored result, and read all again."""
    from terp.storage.ingest import locate

    altered = desk.folder / "altered.nc"
    shutil.copy(locate("ostia"), altered)
    flip_value(altered)
    second = desk.made("run", "climatology", str(altered), "--workers=2")
    print("\none bit of one value of the input")
    told_by(desk, "diff", f"{record['id']}/anomalies", f"{second['id']}/anomalies")
    stored = Path(record["archived"]["path"]) / "v1/content/anomalies.zarr.zip"
    flip(stored, stored.stat().st_size // 2)
    print("one bit of a stored result")
    for command in (["verify", record["id"]], ["audit"], ["replay", record["id"]]):
        told_by(desk, *command)
    flip(stored, stored.stat().st_size // 2)


def flip_value(path: Path) -> None:
    """Change the last bit of one value, in the middle of those that are numbers."""
    import h5py
    import numpy as np

    with h5py.File(path, "r+") as file:
        data = next(one for one in file.values() if one.ndim == 3)
        places = np.argwhere(np.isfinite(data[:]))
        place = tuple(places[len(places) // 2])
        data[place] = np.nextafter(data[place], np.float32(np.inf))


# others


def validated(crate: Path, folder: Path) -> None:
    """Print what others' validators say of a crate."""
    if CONTEXTS.is_dir():
        cache = validators.primed(CONTEXTS, folder / "roc")
        for severity in ("REQUIRED", "RECOMMENDED"):
            [found] = validators.issues(cache, [(crate, severity, False, validators.PROFILE)])
            print(f"  roc-validator, {validators.PROFILE}, {severity}: {len(found)} issues {found or ''}")
    else:
        print("  roc-validator skipped: the contexts that a crate names are not beside the project")
    try:
        told = validators.runcrate_report(crate, CACHE / "runcrate")
        print(f"  runcrate report: {told.count('action: ')} actions")
        print(f"  prov: prov.json and prov.ttl are read to the same {validators.prov_records(crate)} records")
    except Missing as why:
        print(f"  skipped: {why}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replays", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--site", nargs="+", default=[], metavar=("NAME", "WORD"), help="a site, and --site-set for it")
    parser.add_argument("--uvfits", type=Path, metavar="FILE", help="visibilities to image (default: simulated)")
    asked = parser.parse_args()
    site = [asked.site[0], *(f"--site-set={word}" for word in asked.site[1:])] if asked.site else []
    facts = machine.facts()
    print(
        f"{facts['when']}, commit {facts['commit']}, {facts['cores']} cores ({facts['cpu']}),"
        f" load {facts['load'][0]:.1f}"
    )
    with tempfile.TemporaryDirectory(prefix="replays-") as made:
        folder = Path(made).resolve()
        for name, words in flows(asked.uvfits, folder).items():
            desk = Desk(folder / name)
            print(f"\n{name}")
            record = table(desk, words, asked.workers, site)
            crate = shutil.copytree(Path(record["archived"]["path"]) / "v1/content", folder / f"crate-{name}")
            validated(crate, folder)
            if name == "climatology":
                one_bit(desk, record)


if __name__ == "__main__":
    main()
