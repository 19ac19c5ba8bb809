"""What the metadata of an archived object are filled from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

from terp.storage.archive.languages import LANGUAGES
from terp.storage.archive.policy import Funding, Policy
from terp.storage.archive.terms import First, Terms, utc_day
from terp.storage.metadata.coverage import Coverage
from terp.storage.provenance import Output, Record
from terp.storage.scrub import scrub

PAYLOAD = ".zarr.zip"  # the end of the name of a file that holds data
SOURCE = "terp"  # whose marks the identifiers of objects and files are


@dataclass(frozen=True)
class Kept:
    """An object that is about to be archived: the outputs of its record are its files.

    `archived` is when, `version` which version of the object it becomes, `beside` the names of files in it that hold
    further metadata. `first` is since when the object is there; None: this is its first version.
    """

    identifier: str
    record: Record
    policy: Policy
    archived: datetime
    coverage: Coverage = Coverage()
    version: str = "v1"
    beside: Sequence[str] = ("ro-crate-metadata.json", "prov.json", "premis.xml", "datacite.xml")
    first: First | None = None

    @cached_property
    def told(self) -> Record:
        """The record without what nobody else should see, and without its outputs, whose names are those of files."""
        record: Record = scrub(replace(self.record, outputs=()), self.record.hosts)
        return record

    @property
    def languages(self) -> Sequence[str]:
        """In which languages it is written: as decided, or those of the texts that terp puts into it."""
        return self.policy.taal or LANGUAGES

    @property
    def funding(self) -> Sequence[Funding]:
        """Who paid: as decided; where that is one, by the grant under which it was made, if no other is named."""
        paid, grant = self.policy.funding, self.told.agent.grant
        alone = len(paid) == 1 and not paid[0].award
        return (paid[0].model_copy(update={"award": grant}),) if alone else paid

    @cached_property
    def terms(self) -> Terms:
        """The terms of the decision over the object."""
        made, taken = utc_day(self.record.ended), utc_day(self.archived)
        return Terms(self.policy, self.first or First(min(made, taken), taken))

    @property
    def payload(self) -> Sequence[Output]:
        """The files that hold the data."""
        return [one for one in self.record.outputs if one.file.endswith(PAYLOAD)]

    def name_of(self, file: str) -> str:
        """Return the identifier of a file of the object."""
        return f"{self.identifier}/{file}"


def time(moment: datetime) -> str:
    """Return a moment as xsd:dateTime in UTC, to the second; one without a zone is taken to be in UTC."""
    known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return known.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
