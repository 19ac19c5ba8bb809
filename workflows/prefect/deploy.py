"""Flows that Prefect runs by itself: registered in a work pool of its, on a schedule or not."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from terp.storage.scrub import without_secrets
from terp.workflows.errors import Unavailable, Usage
from terp.workflows.planning.load import load_flow, parameters_of
from terp.workflows.prefect import persistent
from terp.workflows.prefect.server import connect, prepare, users_url

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import DeploymentScheduleCreate

AUDIT = "audit"  # the one flow that makes nothing

# What Prefect and terp say is said by the worker and kept by the server.
_LOGGING = {
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "terp",
    "PREFECT_LOGGING_TO_API_ENABLED": "true",
}


@dataclass(frozen=True)
class Work:
    """A call of `terp run`, and where and when it is to be run.

    `flow` is named as there, `pool` is a work pool of Prefect's, `cron` a schedule in `timezone` or empty, `every` a
    number of seconds or 0. The flow `audit` is `terp audit --due`: its inputs are places, its setting `seconds` is how
    long it may take.
    """

    flow: str
    inputs: Sequence[str]
    settings: dict[str, Any]
    pool: str
    site: str | None = None
    name: str = ""
    cron: str = ""
    timezone: str = "UTC"
    every: float = 0.0

    @property
    def is_audit(self) -> bool:
        """Whether it reads again what is archived, and computes nothing."""
        return self.flow == AUDIT

    @property
    def title(self) -> str:
        """Its name, or that of its inputs."""
        stems = "-".join(PurePath(str(one)).name.partition(".")[0] for one in self.inputs)
        return self.name or re.sub(r"[^\w.-]+", "-", stems) or "default"

    @property
    def schedules(self) -> "list[DeploymentScheduleCreate]":
        """Its schedule, if it has one; raises Usage if that can't be."""
        from prefect.client.schemas.actions import DeploymentScheduleCreate
        from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
        from pydantic import ValidationError

        if self.cron and self.every:
            raise Usage("give --cron or --every, not both")
        if self.every:
            interval = timedelta(seconds=self.every)
            return [DeploymentScheduleCreate(schedule=IntervalSchedule(interval=interval, timezone=self.timezone))]
        if not self.cron:
            return []
        try:
            return [DeploymentScheduleCreate(schedule=CronSchedule(cron=self.cron, timezone=self.timezone))]
        except ValidationError as error:
            said = "; ".join(one["msg"] for one in error.errors())
            given = f'--cron "{self.cron}" --timezone {self.timezone}'
            raise Usage(f'{given}: {said}; as in --cron "30 6 * * *", daily at 6:30') from None


@dataclass(frozen=True)
class Deployed:
    """A deployment as it stands on a server, and how Prefect's command is called for that."""

    id: str
    name: str
    server: str
    command: str
    replaced: bool


def deploy(home: Path, work: Work) -> Deployed:
    """Register work on the server that runs use, and make its pool if need be; another of its name is replaced.

    It runs in this folder with this Python. Raises Usage for a flow, parameters or a schedule that can't be, and
    Unavailable if there is no server that stays.
    """
    prepare(home)
    name = AUDIT if work.is_audit else _flow_name(work)
    schedules = work.schedules
    if users_url() is None:
        persistent.needed(home)
    with connect(home) as connection:
        from prefect.client.orchestration import get_client
        from prefect.exceptions import PrefectHTTPStatusError

        with get_client(sync_client=True) as client:
            try:
                _make_pool(client, work.pool)
                made, replaced = _register(client, name, work, schedules, home)
            except PrefectHTTPStatusError as error:
                raise Unavailable(f"Prefect's server refuses this: {error.response.text}") from None
    command = "prefect" if connection.whose == "given" else "terp prefect call"
    return Deployed(made, f"{name}/{work.title}", connection.api_url, command, replaced)


def _flow_name(work: Work) -> str:
    """The name of a flow that can be called as the work says; raises Usage."""
    flow = load_flow(work.flow)
    given = parameters_of(flow, work.inputs, work.settings)
    said = dict(zip(given, work.inputs, strict=False)) | work.settings
    if secret := [name for name, value in said.items() if without_secrets({name: value}) != {name: value}]:
        raise Usage(
            f"{', '.join(secret)} of {flow.name} has the look of a secret, and Prefect's server would keep it: have "
            "the flow read it from a file that only you can read, or from the environment of the worker"
        )
    return flow.name


def _called(work: Work) -> tuple[str, Callable[..., Any], dict[str, Any]]:
    """What Prefect calls: by its path, itself, and with what parameters; raises Usage for those it does not take."""
    from terp.workflows.prefect import scheduled

    inputs = list(work.inputs)
    if not work.is_audit:
        given = {"flow": work.flow, "inputs": inputs, "settings": work.settings, "site": work.site}
        return scheduled.ENTRYPOINT, scheduled.run, given
    if work.site or set(work.settings) - {"seconds"}:
        raise Usage(
            "a deployed audit takes places and --set seconds=N; for jobs of a site there is `terp audit --site`"
        )
    return scheduled.AUDIT, scheduled.audit, {"places": inputs, **work.settings}


def _register(
    client: "SyncPrefectClient", flow: str, work: Work, schedules: "list[DeploymentScheduleCreate]", home: Path
) -> tuple[str, bool]:
    """The id of the deployment, and whether there was one of this name."""
    from prefect.exceptions import ObjectNotFound
    from prefect.utilities.callables import parameter_schema

    entrypoint, call, parameters = _called(work)
    try:
        client.read_deployment_by_name(f"{flow}/{work.title}")
        replaced = True
    except ObjectNotFound:
        replaced = False
    made = client.create_deployment(
        client.create_flow_from_name(flow),
        work.title,
        entrypoint=entrypoint,
        parameters=parameters,
        parameter_openapi_schema=parameter_schema(call).model_dump_for_openapi(),
        schedules=schedules,
        work_pool_name=work.pool,
        job_variables={
            "command": shlex.join([sys.executable, "-m", "prefect.engine"]),
            "working_dir": os.getcwd(),
            "env": {"TERP_HOME": str(home), **_LOGGING},
        },
    )
    return str(made), replaced


def _make_pool(client: "SyncPrefectClient", name: str) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
