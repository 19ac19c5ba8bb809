"""The command line answers at once, and each command says what it does."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from terp.workflows.cli import COMMANDS, terp

TERP = str(Path(sys.executable).with_name("terp"))
HEAVY = {"numpy", "pandas", "xarray", "zarr", "dask", "distributed", "prefect", "matplotlib", "rich"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom terp.workflows.cli import terp\n"
        "assert CliRunner().invoke(terp, ['--help']).exit_code == 0\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_takes_less_than_a_third_of_a_second() -> None:
    def took() -> float:
        """Seconds of a core: how long one waits tells of the machine's other work too."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([TERP, "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(took() for _ in range(5)) < 0.3


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does(name: str) -> None:
    result = CliRunner().invoke(terp, [name, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) >= 5


def test_an_unknown_command_is_told_with_the_way_to_those_there_are() -> None:
    done = subprocess.run([TERP, "fly"], capture_output=True, text=True)
    assert done.returncode == 64
    assert "No such command 'fly'" in done.stderr
    assert "--help" in done.stderr
