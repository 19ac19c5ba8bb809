"""An audit in jobs of a computing centre: each reads until its time is up, and the next goes on."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from terp.cluster.jobs import Slurm
from terp.cluster.script import controller_script
from terp.cluster.site import load_site
from terp.storage import files
from terp.storage.home import Home

_LEFT = 120  # seconds of a job's time that are left when it stops reading


def submit(site_name: str, words: Sequence[str]) -> tuple[Path, str]:
    """Submit `terp audit` with some arguments to a site; return the folder of its logs, and the job's id."""
    site = load_site(site_name)
    home = Home.here().open()
    name = f"audit-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder = home.custody / "audits" / "jobs" / name
    budget = max(site.controller.walltime - _LEFT, site.controller.walltime // 2)
    command = [sys.executable, "-m", "terp.workflows.cli", "audit", *words, f"--budget={budget}s"]
    kept = {key: os.environ[key] for key in ("PYTHONPATH", "TERP_AGENT") if key in os.environ}
    script = folder / "jobs" / "audit.sh"
    with files.disk(script):
        files.make_folders(script.parent)
        script.write_text(controller_script(site, name, folder, command, {**kept, "TERP_HOME": str(home.root)}))
    return folder, Slurm().submit(script)[0]
