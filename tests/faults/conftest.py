"""What tests of faults share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import runs


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> dict[str, bytes]:
    """The bytes of a run that nothing disturbs."""
    home = tmp_path_factory.mktemp("undisturbed")
    runs.run(home, prefect)
    return runs.products(home)
