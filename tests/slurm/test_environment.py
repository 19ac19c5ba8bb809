"""The environment on the nodes of a real SLURM: unpacked once a node, and all that a worker reads."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from terp.cluster import environment

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
from small import ROOT, job, make, packed

pytestmark = pytest.mark.slurm

HIDDEN = " ".join(map(str, dict.fromkeys([ROOT, sys.prefix, sys.base_prefix])))
LOOK = "import sys, distributed, terp.cluster.worker, terp.workflows.running.task as t; print(sys.prefix, t.__file__)"
ALONE = f"""
cd /
unshare --mount bash -c '
for folder in {HIDDEN}; do [ ! -e "$folder" ] || mount -t tmpfs none "$folder"; done
"$0" -c "{LOOK}"
' "$TERP_PYTHON"
"""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small environment, packed."""
    folder = tmp_path_factory.mktemp("small")
    return packed(make(folder / "venv"), folder)


@pytest.fixture
def nodes(bed: Any) -> Iterator[tuple[str, str]]:
    """Two nodes, with nothing unpacked before and after."""
    two = ("n1", "n2")

    def clean() -> None:
        for node in two:
            bed.on(node, "rm", "-rf", "/local/terp-0", timeout=120)

    clean()
    yield two
    clean()


def tree(pack: Path) -> str:
    return f"/local/terp-0/{pack.stem.removeprefix('environment-')}"


def submit(bed: Any, node: str, folder: Path, pack: Path, then: str = 'echo "$TERP_PYTHON"') -> int:
    """The number of a job on a node that unpacks and goes on."""
    script = folder / "job.sh"
    script.write_text(f"#!/usr/bin/env bash\n{job(pack, '/local', then)}\n")
    number: int = bed.sbatch("-w", node, "--mem=1500M", "--no-requeue", f"--output={folder}/%j.log", script)
    return number


def log(bed: Any, number: int, folder: Path, seconds: float = 60) -> str:
    """What a job said, which ended well."""
    state = bed.wait(number, "COMPLETED", "FAILED", seconds=seconds)
    said = (folder / f"{number}.log").read_text()
    assert state == "COMPLETED", said
    return said


def test_jobs_that_start_at_once_unpack_once_a_node(
    bed: Any, nodes: tuple[str, str], pack: Path, tmp_path: Path
) -> None:
    jobs = [submit(bed, node, tmp_path, pack) for node in nodes for _ in range(4)]
    said = "".join(log(bed, number, tmp_path) for number in jobs)
    assert sorted(re.findall(r"terp: (n\d): unpacked the environment into", said)) == ["n1", "n2"]
    assert said.splitlines().count(f"{tree(pack)}/bin/python") == 8


@pytest.mark.campaign
def test_a_tree_that_a_power_cut_left_half_is_unpacked_again_when_the_node_is_back(
    bed: Any, nodes: tuple[str, str], pack: Path, tmp_path: Path
) -> None:
    node = nodes[0]
    (tmp_path / "hangs").mkdir()
    os.mkfifo(tmp_path / "hangs" / pack.name)
    pipe = os.open(tmp_path / "hangs" / pack.name, os.O_RDWR)
    os.write(pipe, pack.read_bytes()[: 60 * 1024])
    submit(bed, node, tmp_path, tmp_path / "hangs" / pack.name)
    bed.on(node, "timeout", "20", "bash", "-c", f"until [ -d {tree(pack)}/lib ]; do sleep 0.1; done")
    bed.kill_node(node)
    os.close(pipe)
    bed.lost(node)
    bed.start_node(node)
    said = log(bed, submit(bed, node, tmp_path, pack, '"$TERP_PYTHON" -c "import sensors, terp.cluster"'), tmp_path)
    assert f"terp: {node}: unpacked the environment into {tree(pack)}" in said


@pytest.mark.campaign  # it writes three gigabytes
@pytest.mark.timeout(900)
def test_a_worker_imports_all_it_needs_where_nothing_that_is_shared_can_be_seen(
    bed: Any, nodes: tuple[str, str], tmp_path: Path
) -> None:
    this = environment.pack(tmp_path)
    said = log(bed, submit(bed, nodes[0], tmp_path, this, ALONE), tmp_path, seconds=600)
    this.unlink()
    assert re.search(rf"^{tree(this)} {tree(this)}/lib/\S+/terp/workflows/running/task.py$", said, re.MULTILINE)
