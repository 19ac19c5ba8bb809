"""PREMIS: what is written is valid and read as it was, and what is missing, wrong or leads nowhere is told."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from lxml import etree

sys.path.insert(0, str(Path(__file__).parent))
from bound import anything, schema, wrong

from terp.storage.errors import BadMetadata
from terp.storage.metadata import premis
from terp.storage.metadata.premis import model, names, objects

OBJECT, ZIP, TERP, MAKER = "urn:terp:climatology:12", "result.zarr.zip", "terp", "https://orcid.org/0000-0002-1825-0097"
WHEN = "2026-11-28T20:00:00Z"
FILE = premis.file(
    ZIP,
    name=ZIP,
    size=12 << 40,
    digests={"SHA-512": "ab" * 64},
    format_name="Zarr",
    format_version="3",
    registry=("PRONOM", "x-fmt/263"),
    related=[premis.relation("structural", "is part of", ["representation"])],
)


def happened(kind: str) -> premis.Event:
    agents = [(TERP, "executing program"), (MAKER, "implementer")]
    return premis.event(f"event-{kind}", kind, WHEN, objects=[ZIP], agents=agents, detail="by hand", note="all of it")


def whole() -> premis.Premis:
    """An archived object with all kinds of events."""
    statement = premis.rights("rights", [OBJECT], licence=("https://creativecommons.org/licenses/by/4.0/", "CC BY 4.0"))
    restricted = premis.rights("restriction", [OBJECT], ground="Archiefwet 1995, artikel 15")
    return premis.Premis(
        object=(
            premis.entity(OBJECT, "Zeetemperatuur"),
            premis.representation("representation", OBJECT, [ZIP]),
            FILE,
        ),
        event=tuple(happened(kind) for kind in premis.EVENT_TYPES),
        agent=(
            premis.agent(TERP, "terp", "software", "0.1.0"),
            premis.agent(MAKER, "A. Maker", "person", note="of the institute"),
        ),
        rights=(statement, restricted),
    )


@pytest.fixture(scope="module")
def official(shared: Path) -> etree.XMLSchema:
    path = shared / "vectors/premis/premis-v3-0.xsd"
    if not path.is_file():
        pytest.skip("needs the schema of PREMIS (../shared/vectors/premis), which is not here")
    return schema(path)


def test_p1_an_object_with_all_that_may_happen_to_it_is_valid(official: etree.XMLSchema) -> None:
    assert premis.complaints(whole()) == []
    assert wrong(official, premis.write(whole())) == []
    assert {"ingestion", "fixity check", "replication", "recovery", "deletion"} <= premis.EVENT_TYPES.keys()


def test_p1_the_same_values_are_the_same_bytes_for_people_to_read() -> None:
    told = premis.write(whole())
    assert told == premis.write(whole())
    assert told.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<premis xmlns="http://www.loc.gov/premis/v3"')
    assert b'\n  <object xsi:type="file">\n    <objectIdentifier>\n' in told


@settings(max_examples=10, deadline=None)
@given(anything(premis.Premis))
def test_any_document_is_read_as_it_was_written(document: premis.Premis) -> None:
    assert premis.read(premis.write(document)) == document


URLS = some.sampled_from(["http://id.loc.gov/x"] * 20 + ["%zz"])
ALMOST_GOOD = anything(
    premis.Premis,
    most=1,
    text=some.sampled_from(["naam"] * 200 + [" "]),
    version=some.just("3.0"),
    authorityURI=URLS,
    valueURI=URLS,
    eventDateTime=some.sampled_from([WHEN, "2026", "2026-11-28"] * 9 + ["gisteren"]),
)


@settings(max_examples=50, deadline=None)
@given(ALMOST_GOOD)
def test_what_has_no_complaints_but_of_its_links_is_valid(official: etree.XMLSchema, document: premis.Premis) -> None:
    told = [one for one in premis.complaints(document) if one.startswith("premis/")]
    if document.object and not told:
        assert wrong(official, premis.write(document)) == []


def with_file(**facts: Any) -> premis.Premis:
    (known,) = FILE.objectCharacteristics
    return replace(
        whole(), object=(*whole().object[:2], replace(FILE, objectCharacteristics=(replace(known, **facts),)))
    )


def with_event(**facts: Any) -> premis.Premis:
    return replace(whole(), event=(replace(happened("ingestion"), **facts),))


NOBODY = names.LinkingAgentIdentifier(premis.Term("local"), "nobody")
WRONG: dict[str, tuple[Callable[[], premis.Premis], str]] = {
    "no_object": (lambda: premis.Premis(object=()), "premis/object is missing"),
    "no_characteristics": (
        lambda: replace(whole(), object=(*whole().object[:2], replace(FILE, objectCharacteristics=()))),
        "premis/object[3]/objectCharacteristics is missing",
    ),
    "no_format": (lambda: with_file(format=()), "objectCharacteristics/format is missing"),
    "empty_format": (lambda: with_file(format=(objects.Format(),)), "asks for formatDesignation or formatRegistry"),
    "negative_size": (lambda: with_file(size=-1), "objectCharacteristics/size is -1"),
    "no_time": (lambda: with_event(eventDateTime="gisteren"), "premis/event/eventDateTime is 'gisteren'"),
    "blank": (lambda: with_event(eventType=premis.Term(" ")), "premis/event/eventType is blank"),
    "no_outcome": (lambda: with_event(eventOutcomeInformation=(model.EventOutcomeInformation(),)), "is empty: PREMIS"),
    "nobody": (lambda: with_event(linkingAgentIdentifier=(NOBODY,)), "a link leads to the agent nobody"),
    "twice": (lambda: replace(whole(), agent=whole().agent * 2), "is there 2 times"),
    "control": (lambda: replace(whole(), object=(premis.entity(OBJECT, "a\x00"),)), "has the character U+0000"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_missing_or_wrong_is_told_with_its_path(case: str) -> None:
    make, words = WRONG[case]
    assert any(words in told for told in premis.complaints(make()))


def test_what_premis_does_not_know_is_refused_in_words() -> None:
    with pytest.raises(BadMetadata, match="'explosion' is no kind of event; known are creation, deletion"):
        premis.event("e", "explosion", WHEN, objects=[], agents=[])
    with pytest.raises(BadMetadata, match="no 'ghost'"):
        premis.agent("a", "A", "ghost")
    with pytest.raises(BadMetadata, match="premis/event/eventType has the character"):
        premis.write(with_event(eventType=premis.Term("a\x1b")))


REFUSED = {
    'xsi:type="file"': ('xsi:type="bitstream"', "it can be intellectualEntity, representation, file"),
    ' xsi:type="file"': ("", "says with xsi:type that it is 'nothing'"),
    ' version="3.0"': ("", "has no version, which it must have"),
    "<eventType ": ('<eventType xmlID="a" ', "has the attribute xmlID"),
    "</object>\n  <event>": ("</object>\n  <agent/>\n  <event>", "the order is object, event, agent, rights"),
    "<size>13194139533312</size>": ("<size>12 TB</size>", "size is '12 TB', and should be a whole number"),
    "http://www.loc.gov/premis/v3": ("info:lc/xmlns/premis-v2", "is no PREMIS 3"),
}


@pytest.mark.parametrize("old", REFUSED)
def test_what_is_not_read_whole_is_refused(old: str) -> None:
    new, words = REFUSED[old]
    text = premis.write(whole()).decode()
    assert old in text
    with pytest.raises(BadMetadata) as refused:
        premis.read(text.replace(old, new).encode())
    assert words in str(refused.value)
