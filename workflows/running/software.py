"""Software: what the workers of a run stood on, beside what its controller did.

The record counts regions by the digest of what made them. The controller's own environment is in the record; any other
is a file in the run's folder, as long as the run is.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from terp.storage import files
from terp.storage.environment import Environment
from terp.storage.home import Home
from terp.workflows.running.held import FOLDER, hold
from terp.workflows.running.image import with_digest
from terp.workflows.running.record import RunRecord

_NAME = re.compile(rf"{FOLDER}/environment-([0-9a-f]+)\.json")
_NAMED = 5  # distributions in a warning


class Software:
    """What is known of it while a run is at work; `warn` is given what people should know.

    `known` are environments by digest, that of the controller first: who hears of another one puts it there.
    """

    def __init__(self, home: Home, run: RunRecord, warn: Callable[[str], None]) -> None:
        self.home, self.run, self.warn = home, run, warn
        self.known = known(home, run)
        self._kept = set(self.known)

    def look(self) -> None:
        """Keep what was heard of since, and say how it differs from the controller's."""
        for digest in [one for one in self.known if one not in self._kept]:
            whole, trouble = with_digest(self.known[digest], self.home.cache)
            keep(self.home, self.run, whole)
            self._kept.add(digest)
            self.warn(_differs(whole, next(iter(self.known.values()))))
            if trouble:
                self.warn(trouble)

    def add(self, regions: Mapping[str, int]) -> None:
        """Count regions that were made, by digest; they and the machines noted so far are in the journal then."""
        self.run.software = dict(Counter(self.run.software) + Counter(regions))
        hold(self.home, self.run, {}, ("machines", "software"))


def known(home: Home, run: RunRecord) -> dict[str, Environment]:
    """Return the environments that are known of a run, by digest: that of its controller first."""
    own = [Environment.from_json(run.environment)] if run.environment else []
    others = [_read(path) for path in sorted(_folder(home, run).glob("environment-*.json"))]
    return {one.digest: one for one in (*own, *others)}


def kept_in(digests: Mapping[str, str]) -> list[str]:
    """Return which environments are kept by the digests that an event of a journal has, by their own digest."""
    return [found[1] for name in digests if (found := _NAME.fullmatch(name))]


def computed(home: Home, run: RunRecord) -> list[tuple[Environment, int]]:
    """Return what the regions of a run were made with and how many, that which made most of them first."""
    there = known(home, run)
    counted = sorted(run.software.items(), key=lambda one: (-one[1], one[0]))
    return [(there[digest], regions) for digest, regions in counted if digest in there]


def keep(home: Home, run: RunRecord, environment: Environment) -> None:
    """Keep an environment that is not the controller's, or was only that of an earlier start, with a run."""
    text = json.dumps(environment.to_json(), indent=1)
    hold(home, run, {f"{FOLDER}/environment-{environment.digest}.json": text.encode()})


def _differs(workers: Environment, controller: Environment) -> str:
    found = workers.instead_of(controller)
    more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"workers compute in another environment than that of the controller: {', '.join(found[:_NAMED])}{more}. Both "
        "are recorded; if that is not meant, let the workers' Python or image hold the same"
    )


def _folder(home: Home, run: RunRecord) -> Path:
    return run.folder(home) / FOLDER


def _read(path: Path) -> Environment:
    with files.disk(path):
        return Environment.from_json(json.loads(path.read_bytes()))
