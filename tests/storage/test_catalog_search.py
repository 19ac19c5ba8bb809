"""The law of searching: the catalog finds what a plain look at each object finds, and a page is a part of it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from terp.storage.archive.catalog import Card, Query, reading, tables
from terp.storage.archive.catalog.card import Input, Person, Variable
from terp.storage.archive.catalog.tables import Index
from terp.workflows.cli import holdings, terp

sys.path.insert(0, str(Path(__file__).parent))
from cards import put

WORDS = ("sea", "seal", "ice", "wind", "delta")
MOMENTS = ("1990-01-01T00:00:00Z", "1990-06-30T12:00:00Z", "1999-12-31T23:59:59Z", "2004-02-29T00:00:00Z")
LONGITUDES, LATITUDES = (-180.0, -170.0, -5.0, 0.0, 7.0, 175.0, 180.0), (-90.0, -10.0, 0.0, 52.0, 90.0)
STARTS = ("urn:a:", "urn:a:1", "urn:b:", "urn:", "doi:9")

type Holds = Callable[[Card], bool]


# objects


words = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
pairs = st.lists(st.sampled_from(MOMENTS), min_size=2, max_size=2).map(sorted)


@st.composite
def cards(draw: st.DrawFn) -> list[Card]:
    """Some objects, in the order of a catalog."""
    return [
        replace(draw(card), path=f"at/{number:02}", identifier=f"urn:{'ab'[number % 2]}:{number}")
        for number in range(draw(st.integers(0, 14)))
    ]


@st.composite
def one_card(draw: st.DrawFn) -> Card:
    begin, end = draw(st.just(["", ""]) | pairs)
    south, north = sorted(draw(st.lists(st.sampled_from(LATITUDES), min_size=2, max_size=2)))
    box = {"west": draw(st.sampled_from(LONGITUDES)), "east": draw(st.sampled_from(LONGITUDES))}
    return Card(
        path="",
        identifier="",
        state=draw(st.sampled_from(["there", "damaged", "destroyed"])),
        title=draw(words),
        description=draw(words),
        openness=draw(st.sampled_from(["open", "partly", "restricted"])),
        waardering=draw(st.sampled_from(["", "B", "V"])),
        size=draw(st.sampled_from([0, 999, 1000, 5_000_000])),
        created=draw(st.sampled_from(MOMENTS)),
        begin=begin,
        end=end,
        **(draw(st.sampled_from([{}, box | {"south": south, "north": north}]))),
        identifiers=draw(st.sampled_from([(), ("doi:9",), ("urn:a:1",)])),
        variables=tuple(map(Variable, draw(st.lists(st.sampled_from(WORDS), max_size=2)))),
        people=draw(st.sampled_from([(), (Person("Delta Sea", "author"),)])),
        inputs=draw(st.sampled_from([(), (Input("ice.nc", "ab" * 32),), (Input("wind.nc", "ac" * 32),)])),
    )


card = one_card()


# conditions: each as it is written, and as one sees it with the card in hand


def texts(one: Card) -> dict[str, list[str]]:
    """The words of an object, by field."""
    names = "\n".join(dict.fromkeys(variable.name for variable in one.variables))
    found = {"title": one.title, "description": one.description, "variable": names}
    found["person"] = "\n".join(person.name for person in one.people)
    found["input"] = "\n".join(made.name for made in one.inputs)
    found["classification"] = f"{one.waardering} {one.openness}"
    found["identifier"] = "\n".join((one.identifier, *one.identifiers))
    return {name: text.lower().replace(":", " ").replace(".", " ").split() for name, text in found.items()}


def said(field: str, phrase: list[str], start: bool = False) -> Holds:
    def within(told: list[str]) -> bool:
        parts = (told[at : at + len(phrase)] for at in range(len(told) - len(phrase) + 1))
        return any(part == phrase or (start and part[-1].startswith(phrase[-1])) for part in parts)

    return lambda one: any(within(told) for name, told in texts(one).items() if field in ("", name))


def parts(west: float, east: float) -> list[tuple[float, float]]:
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


def meets(west: float, south: float, east: float, north: float) -> Holds:
    def test(one: Card) -> bool:
        if one.west is None or one.east is None or one.south is None or one.north is None:
            return False
        beside = any(a <= d and c <= b for a, b in parts(west, east) for c, d in parts(one.west, one.east))
        return beside and one.south <= north and south <= one.north

    return test


def during(first: str, last: str) -> Holds:
    return lambda one: (
        one.begin != "" and one.end[: len(first)] >= first and (not last or one.begin[: len(last)] <= last)
    )


def starts(start: str) -> Holds:
    return lambda one: any(name.startswith(start) for name in (one.identifier, *one.identifiers))


DAYS = ("1990", "1990-06", "1999-12-31", "2004")
word = st.sampled_from(WORDS)
field = st.sampled_from(["", "title", "description", "variable", "person"])
condition = st.one_of(
    st.tuples(field, word).map(lambda it: (f"{it[0]}:{it[1]}".lstrip(":"), said(it[0], [it[1]]))),
    st.tuples(field, st.sampled_from(["s", "se", "sea", "i", "del", "w"])).map(
        lambda it: (f"{it[0]}:{it[1]}*".lstrip(":"), said(it[0], [it[1]], start=True))
    ),
    st.tuples(word, word).map(lambda it: (f'"{it[0]} {it[1]}"', said("", list(it)))),
    st.just(("zeearend", lambda _: False)),
    st.lists(st.sampled_from(DAYS), min_size=2, max_size=2)
    .map(sorted)
    .map(lambda it: (f"time:{it[0]}..{it[1]}", during(*it))),
    st.sampled_from(DAYS).map(lambda day: (f"time:{day}..", during(day, ""))),
    st.tuples(*[st.sampled_from(LONGITUDES)] * 2, st.lists(st.sampled_from(LATITUDES), min_size=2, max_size=2)).map(
        lambda it: (f"bbox:{it[0]},{min(it[2])},{it[1]},{max(it[2])}", meets(it[0], min(it[2]), it[1], max(it[2])))
    ),
    st.sampled_from(["open", "partly"]).map(lambda it: (f"openness:{it}", lambda one: one.openness == it)),
    st.sampled_from(["B", "V"]).map(lambda it: (f"waardering:{it}", lambda one: one.waardering == it)),
    st.sampled_from(["there", "damaged"]).map(lambda it: (f"is:{it}", lambda one: one.state == it)),
    st.sampled_from([999, 1000]).map(lambda it: (f"size:{it}..1MB", lambda one: it <= one.size <= 10**6)),
    st.sampled_from(STARTS).map(lambda it: (f"identifier:{it}", starts(it))),
    st.just(("digest:ABABAB", lambda one: one.inputs[:1] == (Input("ice.nc", "ab" * 32),))),
)
queries = st.lists(st.tuples(st.booleans(), condition), max_size=4)


@contextmanager
def few(most: int) -> Iterator[None]:
    """As if so few were already too many to be ranked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_RANKED", most)
        yield


@settings(max_examples=80, deadline=None)
@given(cards(), st.lists(queries, min_size=1, max_size=8), st.integers(0, 5), st.sampled_from([1, 4, 1000]), st.data())
def test_every_search_equals_a_plain_look_at_each_object(
    objects: list[Card], asked: list[Any], limit: int, most: int, data: st.DataObject
) -> None:
    without = data.draw(st.sets(st.integers(1, 14), max_size=3))
    with Index.of(objects) as index, few(most):
        for conditions in asked:
            query = Query.of(" ".join(("" if holds else "-") + text for holds, (text, _) in conditions))
            plain = [
                number
                for number, one in enumerate(objects, 1)
                if number not in without and all(test(one) == holds for holds, (_, test) in conditions)
            ]
            numbers, total = index.found(query, without=without)
            assert (sorted(numbers), total) == (plain, len(plain)), query
            assert index.found(query, limit, without) == (numbers[:limit], total), query
            if len(plain) > most:
                assert numbers == plain, "many come in order"


def test_a_person_is_shown_a_page_and_how_many_there_are_and_all_of_them_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"urn:terp:many:{number}" for number in range(7)]
    for name in names:
        put(tmp_path, name)
    monkeypatch.setenv("TERP_HOME", str(tmp_path))
    monkeypatch.setattr(holdings, "_PAGE", 3)

    def say(*words: str) -> list[str]:
        return CliRunner().invoke(terp, ["ls", *words]).output.splitlines()

    page = say()
    assert [line.split()[0] for line in page[:3]] == names[:3]
    assert page[3:] == ["7 objects are found; these are the first 3: --all lists all"]
    assert [line.split()[0] for line in say("--all")] == names
    assert say("--where", "urn:terp:many:3 title:title") == say("--limit", "4")[3:4]
    rows = json.loads("\n".join(say("--json")))
    assert [row["identifier"] for row in rows] == names
    assert "\n".join(say("--json")) == json.dumps(rows, indent=1)
    assert say("--json", "--where", "zeearend") == ["[]"]


def test_what_several_processes_read_is_what_one_reads_and_one_that_is_killed_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = [put(tmp_path, f"urn:terp:many:{number}").path for number in range(9)]
    archive = tmp_path / "archive"
    paths = [*(str(home.relative_to(archive)) for home in homes), "000/000/000/gone"]
    plain = list(reading.cards_now(archive, paths))
    assert [one and one.identifier for one in plain] == [*(f"urn:terp:many:{number}" for number in range(9)), None]
    monkeypatch.setattr(reading, "_MANY", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    started = list[subprocess.Popen[bytes]]()

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **more)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    with monkeypatch.context() as patch:
        patch.setattr(reading, "card_now", None)  # here nothing is read
        assert list(reading.cards_now(archive, paths)) == plain
    assert len(started) == 3
    begun = reading.cards_now(archive, paths)
    first = next(begun)
    for one in started[3:]:
        one.kill()
    assert [first, *begun] == plain
    assert all(one.returncode is not None for one in started)
