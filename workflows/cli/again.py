"""Make a recorded run again, in a process that sees neither the user's own files nor their TERP_HOME.

`python -P -s -m terp.workflows.cli.again JOB`, where JOB is a file of JSON: what is run, where its code lies, where.
A terp of another day may have written it, as each run is made again by the terp that made it: names in it keep their
meaning, and what it has more is left alone.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from terp.workflows.cli import guarded


def again(job: dict[str, Any]) -> None:
    """Run what a job says in its home; stop the Prefect server that this may have started there."""
    from terp.storage.home import Home
    from terp.workflows import api
    from terp.workflows.cli.compute import the_site
    from terp.workflows.cli.terminal import Terminal
    from terp.workflows.prefect import server
    from terp.workflows.prefect.folders import own_folder
    from terp.workflows.running.where import Where

    home = Path(job["home"])
    os.environ["TERP_HOME"] = str(home)
    code = job["code"]
    sys.path.insert(0, code)  # before all else that is installed
    target = f"{code}/{job['target']}" if job["target"].partition(":")[0].endswith(".py") else job["target"]
    server.prepare(Home(home).open().root)
    try:
        api.run(
            target,
            home=home,
            where=Where(
                the_site(job["site"], tuple(job["site_set"])),
                job["scheduler"],
                job["workers"],
                processor=job["processor"],
            ),
            archive=False,
            reporter=Terminal(job["quiet"]),
            elsewhere={given: Path(place) for given, place in job["elsewhere"].items()},
            **job["parameters"],
        )
    finally:
        server.stop(home)
        shutil.rmtree(own_folder(home), ignore_errors=True)  # on a network file system it is not in the home


if __name__ == "__main__":
    guarded(lambda: again(json.loads(Path(sys.argv[1]).read_bytes())))
