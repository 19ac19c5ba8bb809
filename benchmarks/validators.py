"""What others' validators say of a crate: roc-validator, runcrate, and whether both forms of W3C PROV tell the same."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environments import run_uv

CONTEXTS = {
    "https://w3id.org/ro/crate/1.1/context": "ro-crate-1.1-context.jsonld",
    "https://w3id.org/ro/terms/workflow-run/context": "workflow-run-context.jsonld",
    "https://w3id.org/ro/terms/workflow-run": "workflow-run-context.jsonld",
}
PROFILE = "provenance-run-crate"  # and so Workflow and Process Run Crate, and Workflow RO-Crate
# That software be named by a whole URL is asked of the main workflow too, which has to be a file of the crate.
NOT_ASKED = "process-run-crate-0.5_5.1"
_VALIDATING = """
import json, sys
from rocrate_validator import services
from rocrate_validator.models import ValidationSettings
cache, crates = sys.argv[1], json.loads(sys.argv[2])
for folder, severity, only_metadata, profile in crates:
    found = services.validate(ValidationSettings(
        rocrate_uri=folder, profile_identifier=profile, requirement_severity=severity, offline=True,
        cache_path=cache, metadata_only=only_metadata,
    ))
    print(json.dumps([f"{issue.check.identifier}: {issue.message}" for issue in found.get_issues()]))
"""


def primed(contexts: Path, cache: Path) -> Path:
    """Fill a cache for roc-validator with the JSON-LD contexts which a crate names, so that it needs no network."""
    from requests.structures import CaseInsensitiveDict
    from requests_cache import CachedSession
    from requests_cache.models.request import CachedRequest
    from requests_cache.models.response import CachedResponse

    with CachedSession(str(cache), backend="sqlite", expire_after=-1) as session:
        for url, name in CONTEXTS.items():
            content = (contexts / name).read_bytes()
            headers = CaseInsensitiveDict({"Content-Type": "application/ld+json"})
            asked = CachedRequest(method="GET", url=url)
            response = CachedResponse(content=content, headers=headers, request=asked, status_code=200, url=url)
            session.cache.save_response(response)
    return cache


def issues(cache: Path, crates: Sequence[Sequence[Any]]) -> list[list[str]]:
    """Return what roc-validator finds in each of some (crate, severity, whether without its files, profile)."""
    asked = json.dumps([(str(folder), *how) for folder, *how in crates])
    done = subprocess.run(
        [sys.executable, "-c", _VALIDATING, str(cache), asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return [[one for one in each if not one.startswith(NOT_ASKED)] for each in found]


def runcrate_report(crate: Path, environment: Path) -> str:
    """Return what `runcrate report` tells of a crate; raises Missing where it cannot be installed.

    It wants another version of prov than terp has, so its environment is its own, made where it is not there.
    """
    command = environment / "bin/runcrate"
    if not command.exists():
        run_uv("venv", "--clear", "--python", sys.executable, str(environment))
        run_uv("pip", "install", "--python", str(environment / "bin/python"), "runcrate")
    done = subprocess.run([str(command), "report", str(crate)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def prov_records(crate: Path) -> int:
    """Return how many records the PROV of a crate has, which must be the same in JSON, in Turtle, and written again."""
    from prov.model import ProvDocument

    as_json = ProvDocument.deserialize(str(crate / "prov.json"), format="json")
    as_turtle = ProvDocument.deserialize(str(crate / "prov.ttl"), format="rdf", rdf_format="turtle")
    again = ProvDocument.deserialize(content=as_json.serialize(format="json"), format="json")
    assert as_json == as_turtle == again
    return len(list(as_json.get_records()))
