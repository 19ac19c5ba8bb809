"""The batch scripts of a run: exactly what SLURM is given, shown by `terp plan` first.

That of the workers is dask-jobqueue's, with our own command in it; that of the controller runs what the user typed.
"""

import os
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any
from unittest import mock

from terp.cluster.errors import BadSite
from terp.cluster.keys import CERTIFICATE
from terp.cluster.launch import PINNED
from terp.cluster.processor import VARIABLE
from terp.cluster.quantities import print_duration
from terp.cluster.site import Controller, Site

LOG = "%x-%j.log"  # of each job, in the run's folder `jobs`: name and number of the job
_LATE = 30  # seconds after which a node sees, at the latest, what another has made
_START_UP = 30.0  # seconds of a job's time that may have gone before its script begins (prologs, boot)

# A controller puts its job back into the queue by itself; what could not be done then is done here.
_GOING_ON = """code=$?
for _ in {1..20}; do
    [ "$code" = 75 ] || break
    timeout 60 scontrol requeue "$SLURM_JOB_ID" && sleep 120
    sleep 3
done
exit "$code"
"""


@dataclass(frozen=True)
class Order:
    """What jobs of workers are asked for with: for a run, at a site, for a scheduler.

    `memory` is that of one job in bytes; `python` names the interpreter on the nodes, and `prologue` makes it be there.
    """

    site: Site
    run: str
    folder: Path
    keys: Path
    scheduler: str
    memory: int
    python: str
    prologue: Sequence[str] = ()
    preload: Sequence[str] = ()
    avoid: Sequence[str] = field(default=())

    @property
    def name(self) -> str:
        """The name of the jobs."""
        return f"terp-{self.run}"

    @property
    def comment(self) -> str:
        """What the jobs of this very start of the controller have in common, and those of another have not."""
        return f"terp-{self.keys.name}"


def memory_of(site: Site, cores: int | None = None) -> int:
    """Return the bytes that a job of so many cores (default: a worker job's) asks for."""
    return (cores or site.cores) * site.memory_per_core


def directives(site: Site, memory: int, cores: int, requeue: bool = True) -> list[str]:
    """Return the flags of sbatch that dask-jobqueue does not know of."""
    by_core = [f"--mem-per-cpu={-(-memory // cores >> 20)}M"] if site.memory_flag == "mem-per-cpu" else []
    again = ["--requeue" if requeue else "--no-requeue"]
    return ["--nodes=1", *by_core, *again, "--open-mode=append", *site.directives]


def output(folder: Path) -> str:
    """Return the flag that says where a job's words go; whatever the folder is called.

    Raises BadSite for a line break in it, behind which a batch script would go on as shell.
    """
    if {"\n", "\r"} & set(str(folder)):
        raise BadSite(f"{str(folder)!r} has a line break in it: SLURM can't write there, choose another TERP_HOME")
    words = str(folder / "jobs").replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'--output="{words}/{LOG}"'


def worker_script(order: Order) -> str:
    """Return the batch script of a job with workers."""
    import dask

    slurm, defaults = _jobqueue()
    site = order.site
    skip = ["-e ", "-o "] + ([] if site.memory_flag == "mem" else ["--mem="])
    avoid = [f"--exclude={','.join(order.avoid)}"] if order.avoid else []
    words = ["--workers", site.cores, "--keys", order.keys, "--seconds", round(site.walltime - _START_UP)]
    words += ["--patience", ceil(site.patience)]
    words += ["--interface", site.interface] if site.interface else []
    words += ["--preload", *order.preload] if order.preload else []
    with dask.config.set(defaults):
        job: Any = slurm.SLURMJob(
            scheduler=order.scheduler,
            name='""',
            queue=site.partition,
            account=site.account or None,
            walltime=print_duration(site.walltime),
            cores=site.cores,
            processes=site.cores,
            memory=str(order.memory),
            job_mem=f"{-(-order.memory >> 20)}M",
            nanny=False,
            job_name=order.name,
            python=order.python,
            worker_command="terp.cluster.worker",
            local_directory=f'"{site.local or "${TMPDIR:-/tmp}"}"',
            worker_extra_args=[str(word) if isinstance(word, int) else shlex.quote(str(word)) for word in words],
            job_extra_directives=[
                output(order.folder),
                *directives(site, order.memory, site.cores),
                f"--comment={order.comment}",
                *avoid,
            ],
            job_directives_skip=skip,
            job_script_prologue=_prologue(order),
            death_timeout=60,
            shebang="#!/usr/bin/env bash",
        )
    script: str = job.job_script()
    return script


@cache
def _jobqueue() -> tuple[Any, dict[str, Any]]:
    """Return dask-jobqueue's module for SLURM and its own defaults: whatever the user's files for it say is not ours.

    As it is imported it takes SIGINT for itself, which is not its to take, and fails outside of the main thread.
    """
    import yaml

    with mock.patch.object(signal, "signal"):
        from dask_jobqueue import slurm
    defaults: dict[str, Any] = yaml.safe_load(Path(slurm.__file__).with_name("jobqueue.yaml").read_text())
    return slurm, defaults


def _prologue(order: Order) -> list[str]:
    """Return what a job does before its workers: nothing at all where the run is over."""
    keys, last = shlex.quote(str(order.keys)), shlex.quote(str(order.keys / CERTIFICATE))
    looks = f"for look in $(seq {_LATE}); do [ -e {last} ] && break; sleep 1; ls {keys} {keys}/.. >/dev/null 2>&1; done"
    over = f'[ -e {last} ] || {{ echo "terp: the run that this job belongs to is over" >&2; exit 0; }}'
    path = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}  # where terp itself may come from
    pinned: dict[str, str] = PINNED | {VARIABLE: order.site.processor} | path
    pins = [f"export {name}={shlex.quote(value)}" for name, value in pinned.items()]
    return [looks, over, *site_lines(order.site), *pins, *order.prologue]


def site_lines(site: Site) -> list[str]:
    """Return the lines of shell that every job of a site begins with."""
    return [f"module load {shlex.quote(module)}" for module in site.modules] + list(site.prologue)


def controller_script(site: Site, run: str, folder: Path, command: Sequence[str], environment: dict[str, str]) -> str:
    """Return the batch script of a job that is the controller of a run.

    It is put back into the queue before its time is up, so its time limit need not be that of the work.
    """
    head = _head(site, f"terp-{run}-controller", folder, site.controller)
    lines = [*head, "trap : TERM  # it is for the controller, which ends in good order", *site_lines(site)]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([*lines, f"cd {shlex.quote(str(Path.cwd()))}", "", shlex.join(command), _GOING_ON])


def bench_script(site: Site, name: str, folder: Path, command: Sequence[str], environment: dict[str, str]) -> str:
    """Return the batch script of a job that runs the benchmarks: where worker jobs go, with as much as one of these."""
    like_workers = {"partition": site.partition, "cores": site.cores, "walltime": site.walltime}
    asked = site.controller.model_copy(update={**like_workers, "memory": memory_of(site)})
    head = _head(site, name, folder, asked, requeue=False)
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([*head, *site_lines(site), *exports, "", f"exec {shlex.join(command)}", ""])


def _head(site: Site, name: str, folder: Path, asked: Controller, requeue: bool = True) -> list[str]:
    """Return the first lines of the script of a job that is one process."""
    flags = [
        f"-J {name}",
        f"-p {asked.partition}",
        *([f"-A {site.account}"] if site.account else []),
        "-n 1",
        f"--cpus-per-task={asked.cores}",
        *([f"--mem={-(-asked.memory >> 20)}M"] if site.memory_flag == "mem" else []),
        f"-t {print_duration(asked.walltime)}",
        output(folder),
        *directives(site, asked.memory, asked.cores, requeue),
    ]
    return ["#!/usr/bin/env bash", "", *(f"#SBATCH {one}" for one in flags), ""]
