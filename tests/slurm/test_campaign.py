"""Many runs, each with a fault of a random kind at a random moment: what is lost, redone, and what time it costs."""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
sys.path.insert(0, str(Path(__file__).parent))
import runs
from disturbed import REGIONS, Disturbed

pytestmark = [pytest.mark.slurm, pytest.mark.campaign, pytest.mark.timeout(4 * 3600)]
RUNS = int(os.environ.get("TERP_CAMPAIGN_RUNS", "30"))


def power(run: Disturbed, bed: Any) -> None:
    node = run.node()
    bed.kill_node(node)
    bed.lost(node)


def network(run: Disturbed, bed: Any) -> None:
    node = run.node()
    bed.partition(node)
    time.sleep(5)  # how long it is cut is the fault itself
    bed.heal(node)


def away(_: Disturbed, bed: Any) -> None:
    bed.ctld_down()
    time.sleep(5)
    bed.ctld_up()


def cancelled(run: Disturbed, bed: Any) -> None:
    bed.ask("scancel", random.choice(run.running()))


def limit(run: Disturbed, bed: Any) -> None:
    bed.ask("scontrol", "update", f"jobid={random.choice(run.running())}", "EndTime=now+1")


def stuck(run: Disturbed, bed: Any) -> None:
    os.kill(random.choice(workers(run, bed)), signal.SIGSTOP)


def dead(run: Disturbed, bed: Any) -> None:
    os.kill(random.choice(workers(run, bed)), signal.SIGKILL)


def controller(run: Disturbed, _: Any) -> None:
    run.kill()
    run.start()


def workers(run: Disturbed, bed: Any) -> list[int]:
    return [number for number, line in bed.processes().items() if str(run.home) in line]


KINDS: list[Callable[[Disturbed, Any], None]] = [power, network, away, cancelled, limit, stuck, dead, controller]


def test_no_fault_at_any_moment_loses_a_region(
    bed: Any,
    tmp_path: Path,
    prefect: dict[str, str],
    undisturbed: dict[str, bytes],
) -> None:
    rng = random.Random(20261122)
    calm = _run(Disturbed(tmp_path / "calm", prefect), bed, None, 0)
    table = []
    for number in range(RUNS):
        kind, moment = KINDS[number % len(KINDS)], rng.randrange(1, REGIONS - 10)
        run = Disturbed(tmp_path / f"home-{number}", prefect)
        took = _run(run, bed, kind, moment)
        found = runs.products(run.home)
        lost = sum(found.get(name) != content for name, content in undisturbed.items())
        row = {"fault": kind.__name__, "at": moment, "lost": lost, "redone": run.recorded() - REGIONS}
        table.append({**row, "added": round(took - calm, 1), "left": len(run.key_files()) + len(run.left(bed))})
        print(json.dumps(table[-1]), flush=True)
        bed.mend()
    assert [row for row in table if row["lost"] or row["left"]] == []
    assert [row for row in table if row["redone"]] == [], "what is recorded is never made again"


def _run(run: Disturbed, bed: Any, kind: Callable[[Disturbed, Any], None] | None, moment: int) -> float:
    began = time.monotonic()
    run.start()
    if kind is not None:
        run.until_recorded(moment, 120)
        run.until(lambda: run.running() or run.recorded() == REGIONS, "a job at work")
        if run.running():
            kind(run, bed)
    code, said = run.end(300)
    assert code == 0, f"{kind}: {said}\n{run.last_words()}"
    return time.monotonic() - began
