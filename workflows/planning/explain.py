"""Why a stage has to be done: what differs from the most similar product of the same stage that was made earlier."""

import difflib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Any

from terp.storage.canonical import canonical
from terp.storage.errors import BadProduct
from terp.storage.home import Home
from terp.storage.product import StoredProduct
from terp.workflows.planning.step import Step, told
from terp.workflows.running.record import RunRecord, makers

NEVER = "never made here"


@dataclass(frozen=True)
class Cause:
    """One thing that differs: its kind, its name, how it was and is, and for code a unified diff.

    Of an input, `because` are the first causes: what differs in that, or in all that it is made from.
    """

    kind: str
    name: str
    old: Any = None
    new: Any = None
    diff: str = ""
    because: tuple["Cause", ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @property
    def words(self) -> str:
        """What differs, in a few words."""
        if self.kind == "code":
            how = "is new" if self.old is None else "is gone" if self.new is None else "changed"
            return f"code of `{self.name}` {how}"
        first = "; ".join(dict.fromkeys(cause.words for cause in self.because))
        if self.kind == "input":
            return f"input {self.name} changed" + (f", by {first}" if first else "")
        if self.kind == "of":
            return f"{self.name}: {first}"
        if self.kind == "gone":
            return f"what cannot be told any more, as {self.name} was removed"
        if self.kind == "source":
            how = "is new" if self.old is None else "is gone" if self.new is None else "has other content"
            return f"the file {self.name} {how}" if self.name else f"the source {how}"
        if self.kind in _SHORT:
            return _SHORT[self.kind]
        return f"{self.kind} {self.name}".rstrip() + f" {_shown(self.old)} -> {_shown(self.new)}"


@dataclass(frozen=True)
class Why:
    """Why a step is done or not, in a line, and what it follows from."""

    words: str
    causes: tuple[Cause, ...] = ()

    @property
    def diff(self) -> list[str]:
        """How the code of the step differs, as lines of a unified diff."""
        return [line for cause in self.causes for line in cause.diff.splitlines()]


_UNTOLD = "a value that is withheld, as it may be a secret, changed"
_LONG = 60  # characters of a value in a line
_RELATED = 2  # kinds of ingredients in which a product may differ and still be the same stage, edited
_SHORT = {"tree": "it is added up in other parts", "tile": "it is worked on in other parts"}
_PAIRS = {"code": "code", "parameters": "parameter", "libraries": "library", "source": "source"}
_CUT = ("cut", "whole", "over", "block")  # as a stage's ingredients have them in a row


def _shown(value: Any) -> str:
    text = "none" if value in (None, {}, []) else json.dumps(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


@dataclass
class Reasons:
    """Says why the steps of a plan are to be done, by what there is in a home."""

    home: Home
    steps: Mapping[str, Step]
    runs: Callable[[], Iterable[RunRecord]]
    _known: dict[str, list[StoredProduct]] = field(default_factory=dict)
    _told: dict[tuple[str, str], tuple[Cause, ...]] = field(default_factory=dict)

    @cached_property
    def _makers(self) -> dict[str, tuple[str, str]]:
        return makers(self.runs())

    def of(self, step: Step) -> Why:
        """Say why a step has to be done of which there is no product."""
        if step.key in self._makers:
            run, ended = self._makers[step.key]
            return Why(f"was removed: {run} had made it, {ended[:10]}")
        nearest = self._nearest(step)
        if nearest is None:
            return Why(self._removed(step) or NEVER)
        causes = tuple(self._causes(step, nearest))
        done, total = nearest.progress()
        what = "; ".join(dict.fromkeys(cause.words for cause in causes)) or _UNTOLD
        return Why(f"{what}; {done:,} of {total:,} regions exist under the old one ({nearest.key})", causes)

    def _removed(self, step: Step) -> str:
        """Tell of the last product of the same stage that is gone, of which only a run's record knows."""
        known = [(ended, run) for key, (run, ended) in self._makers.items() if self._is_gone(key, step.name)]
        ended, run = max(known, default=("", ""))
        gone = f"what {run} made of this stage, {ended[:10]}, was removed: in what that differs cannot be told"
        return f"{NEVER} as it is now; {gone}" if run else ""

    def _is_gone(self, key: str, name: str) -> bool:
        return _stage(key) == name and key not in self.steps and not self.home.holds(key)

    def _nearest(self, step: Step) -> StoredProduct | None:
        """Return the product that an earlier version of the step made, if there is one: the most similar one."""
        mine, found = _plain(step), []
        for other in self._siblings(step.name):
            theirs = told(other.frozen["ingredients"])
            kinds = [name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name)]
            if len(kinds) <= _RELATED:
                parts = sum(len(list(_differing(mine.get(kind), theirs.get(kind)))) for kind in kinds)
                found.append(((len(kinds), parts, -_made(other)), other))
        return min(found, key=lambda one: one[0])[1] if found else None

    def _siblings(self, name: str) -> list[StoredProduct]:
        """Return the products of a stage that are not of this plan: another call in it is no earlier version."""
        if name not in self._known:
            found = (_product(self.home, folder.name) for folder in self.home.products.glob(f"{name}-*"))
            self._known[name] = [one for one in found if one and one.name == name and one.key not in self.steps]
        return self._known[name]

    def _causes(self, step: Step, other: StoredProduct) -> Iterator[Cause]:
        yield from self._own(step, other)
        for was, now in _pairs(step, other):
            yield Cause("input", _stage(now or was), was, now, because=tuple(self._first(was, now)))

    def _first(self, was: str, now: str) -> Iterator[Cause]:
        """Walk the first causes of that an input is another product: what differs itself in all that made it."""
        todo, seen = deque([(was, now)]), set[tuple[str, str]]()
        while todo:
            was, now = pair = todo.popleft()
            if pair in seen or now not in self.steps:
                continue
            seen.add(pair)
            step, other = self.steps[now], _product(self.home, was)
            if other is None:
                yield Cause("gone", was)
            elif other.name == step.name:
                own = self._own(step, other)
                if own:
                    yield Cause("of", step.name, was, now, because=own)
                todo.extend(_pairs(step, other))

    def _own(self, step: Step, other: StoredProduct) -> tuple[Cause, ...]:
        """Return what differs of a step itself, not of its inputs."""
        pair = step.key, other.key
        if pair not in self._told:
            self._told[pair] = tuple(_own(_plain(step), told(other.frozen["ingredients"])))
        return self._told[pair]


def _own(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Cause]:
    for kind in sorted({*mine, *theirs} - {"inputs"}):
        new, old = mine.get(kind), theirs.get(kind)
        if new == old:
            continue
        if kind in _PAIRS and isinstance(new, dict) and isinstance(old, dict):
            yield from (_cause(_PAIRS[kind], name, old, new) for name in _differing(new, old))
        elif kind == "cut" and new and old:
            yield from (Cause(n, "", o, w) for n, o, w in zip(_CUT, old, new, strict=True) if o != w)
        else:
            yield Cause(kind, "", old, new)


def _pairs(step: Step, other: StoredProduct) -> Iterator[tuple[str, str]]:
    """Walk the keys of inputs that differ, old and new; "" where there is none."""
    old, new = other.frozen["ingredients"].get("inputs", ()), step.ingredients.get("inputs", ())
    for was, now in zip_longest(old, new, fillvalue=("", "")):
        if list(was) != list(now):
            yield was[0], now[0]


def _cause(kind: str, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Cause:
    diff = _diff(name, old.get(name), new.get(name)) if kind == "code" else ""
    return Cause(kind, name, old.get(name), new.get(name), diff)


def _diff(name: str, old: str | None, new: str | None) -> str:
    """Return how source differs, as a unified diff; it is normalised, so lines are not those of the file."""
    before, after = (text.splitlines() if text else [] for text in (old, new))
    lines = difflib.unified_diff(before, after, f"{name}, as it was", f"{name}, as it is", n=1, lineterm="")
    return "\n".join(lines)


def _differing(mine: Any, theirs: Any) -> Iterator[str]:
    """Walk the names under which two mappings differ; what is none counts as one."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        yield from (name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name))
    else:
        yield ""


def _plain(step: Step) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(canonical(step.told))
    return plain


def _product(home: Home, key: str) -> StoredProduct | None:
    try:
        return StoredProduct(home.product(key))
    except BadProduct:
        return None


def _made(product: StoredProduct) -> float:
    return (product.folder / "product.json").stat().st_mtime


def _stage(key: str) -> str:
    return key.rpartition("-")[0]
