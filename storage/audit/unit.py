"""An object in one place while it is audited."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terp.storage.archive.custody import Events, slug
from terp.storage.archive.known import Known
from terp.storage.audit.checking import Task, added
from terp.storage.audit.damage import ADDED, ALTERED, CONTRADICTED, LOST, Damage
from terp.storage.audit.looking import Looked, There
from terp.storage.audit.sums import CURE
from terp.storage.errors import BadPackage
from terp.storage.places import Place


@dataclass
class Unit:
    """What was found of it; `left` of its files are being read, `tries` counts how often it changed meanwhile."""

    looked: Looked
    place: Place
    tries: int = 0
    left: int = 0
    handed_out: bool = False
    whole: bool = True
    damage: list[Damage] = field(default_factory=list)
    files: int = 0
    bytes: int = 0

    @property
    def there(self) -> There:
        """What is there, and what should be."""
        return self.looked.there[self.place.name]

    def tasks(self) -> list[Task]:
        """Return all files that should be there, the largest first; none where there is nothing at all."""
        if not self.there.sizes:
            return []
        ordered = sorted(self.there.wanted.items(), key=lambda one: -self.there.sizes.get(one[0], 0))
        return [Task(self.place, self.looked, path, digest) for path, digest in ordered]

    def remarks(self, custody: Path) -> Iterator[str]:
        """Yield what a person should know of it that is no damage."""
        name, identifier = self.place.name, self.looked.truth.identifier
        if self.there.behind:
            yield f"{name}: {identifier} is at {self.there.behind}: `terp copy` renews it"
        if self.there.sizes and Known(custody).is_lost(name, identifier):
            said = "is there again, though that place was declared lost"
            yield f"{name}: {identifier} {said}: `terp copy` counts it again, `terp uncopy` removes it"

    def hold_against_names(self) -> None:
        """Note what can be told without reading."""
        truth = self.looked.truth
        if not self.there.sizes and not self.there.behind:
            self.damage.append(self._damage("", LOST, "is gone, all of it"))
            return
        if not truth.head:
            self.damage.append(self._damage("", LOST, "has no inventory that can be believed, in any place"))
            return
        for path, size in self.there.sizes.items():
            if path not in self.there.wanted:
                self.damage.append(added(Task(self.place, self.looked, path, ""), size))
        self.damage += [self._damage("inventory.json", ALTERED, doubt) for doubt in truth.doubts]
        self.damage += [
            self._damage(one.path, CONTRADICTED, one.what, rule=one.rule, cure=CURE)
            for one in self.looked.contradictions
            if one.version <= self.there.version
        ]

    def _damage(self, path: str, kind: str, what: str, rule: str = "", cure: str = "") -> Damage:
        return Damage(self.place.name, self.looked.truth.identifier, path, kind, what, rule=rule, cure=cure)

    def forget_what_went(self, fresh: Looked) -> None:
        """Take back what was added and is gone again."""
        there = fresh.there[self.place.name].sizes if self.place.name in fresh.there else {}
        self.damage = [one for one in self.damage if one.kind != ADDED or one.path in there]

    def line(self, at: str) -> dict[str, Any]:
        """Return what is kept of it once it was read whole."""
        truth = self.looked.truth
        about = {"place": self.place.name, "object": truth.identifier, "folder": truth.folder, "at": at}
        counts = {"files": self.files, "bytes": self.bytes, "version": self.there.version}
        return {**about, **counts, "damage": [one.to_json() for one in self.damage]}

    def note(self, custody: Path, audit: str, unnoted: Collection[str] = ()) -> None:
        """Note damage with the object's events, unless it is what was noted last of this place, or they are unsure."""
        if slug(self.looked.truth.identifier) in unnoted:
            return  # what is added behind events that were lost would contradict them
        facts: Mapping[str, Any] = {
            "place": self.place.name,
            "files": sorted([one.path, one.kind, one.found] for one in self.damage),
        }
        events, identifier = Events(custody), self.looked.truth.identifier
        try:
            noted = [one["facts"] for one in events.of(identifier) if one["facts"].get("place") == self.place.name]
        except BadPackage:
            return  # what custody noted is damaged itself, and was told of
        if not noted or {name: noted[-1].get(name) for name in facts} != facts:
            events.append(identifier, "damage found", {**facts, "audit": audit})
