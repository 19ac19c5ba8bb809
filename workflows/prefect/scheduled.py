"""What Prefect calls when it runs a flow that was deployed: the same as `terp run`.

Only Prefect's engine, and who registers a deployment, import this: elsewhere Prefect is imported when it is needed.
"""

import logging
import os
from typing import Any

from prefect import flow as prefect_flow
from prefect.context import FlowRunContext
from prefect.exceptions import Abort

from terp.storage.errors import Damaged, PlaceTrouble
from terp.storage.home import Home
from terp.workflows import api
from terp.workflows.prefect.flow import open_to_all, standing_for_the_flow
from terp.workflows.prefect.server import connect
from terp.workflows.results.audit import audited

ENTRYPOINT, AUDIT = f"{__name__}.run", f"{__name__}.audit"


@prefect_flow(name="terp", persist_result=False)
def run(flow: str, inputs: list[Any], settings: dict[str, Any], site: str | None = None) -> None:
    """Do what `terp run FLOW INPUTS --set ... --site SITE` does; the flow run that Prefect started is the flow's own.

    It is done without the server too, should that go away, which is told afterwards.
    """
    logging.getLogger("terp").setLevel(logging.INFO)
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    os.environ.pop("PREFECT_API_AUTH_STRING", None)  # known by now, and nothing for the processes and jobs of the run
    with connect(Home.here().root) as connection:
        connection.watch(context.flow_run.id)
        state = "FAILED"
        try:
            with standing_for_the_flow():
                api.run(flow, *inputs, site=site, **settings)
            state = "COMPLETED"
        except Exception as error:
            told = open_to_all(error)
            if told is error:
                raise
            raise told from None
        finally:
            answers = connection.answers()
            connection.ended(context.flow_run.id, state)
            if not answers:  # the one way out of the engine without a word to the server
                raise Abort("Prefect's server went away")


@prefect_flow(name="audit", persist_result=False)
def audit(places: list[str], seconds: float | None = None) -> None:
    """Do what `terp audit --due` does, in some places or all, for so long at most; what is left is due the next time.

    The flow run fails where something is damaged or a place does not answer, with the report as its reason.
    """
    log = logging.getLogger("terp")
    log.setLevel(logging.INFO)
    report = audited(Home.here(), (), places, due=True, seconds=seconds, tell=log.info)
    log.info(report.text())
    if report.damage:
        raise Damaged(report.text())
    if report.away:
        raise PlaceTrouble(report.text())
