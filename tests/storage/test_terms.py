"""A term begins on one day, the same wherever it is told of, and neither a new version nor a new decision moves it."""

import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from filled import KEPT, MADE, POLICY, RESTRICTED

from terp.storage.archive import Archive
from terp.storage.archive.policy import LONGEST, Beperking, Bewaartermijn, Policy, after
from terp.storage.archive.retention import State, standing
from terp.storage.archive.terms import First, Terms, first_version, known_since, made_by
from terp.storage.errors import BadPackage
from terp.storage.home import Home
from terp.storage.metadata import mdto
from terp.storage.metadata.filling import Kept, informatieobject, premis_of
from terp.storage.transfer.openness import Openness
from terp.storage.transfer.outgoing import Outgoing

URN = "urn:terp:anomalies:1"
DAYS = st.dates(date(1900, 1, 1), date(2100, 1, 1))
TEXT = (Path(__file__).parents[1] / "policy.toml").read_text()
CLOSED = '\n[[beperkingGebruik]]\ntype = "Overig"\ngrond = "artikel 15"\nlooptijd = "P20Y"\n'


def decided(openness: str = "open unless", **changed: object) -> Policy:
    decision = POLICY.decision.model_copy(update={"openness": openness})
    return RESTRICTED.model_copy(update={"decision": decision, **changed})


def put(home: Home, told: mdto.Informatieobject | None, created: datetime, policy: str = TEXT + CLOSED) -> str:
    """Archive a version of an object with what its MDTO tells; return its name."""
    work = home.root / "work"
    work.mkdir(parents=True, exist_ok=True)
    data = {"policy.toml": policy.encode(), "README.md": created.isoformat().encode()}
    data |= {"mdto.xml": mdto.write(told)} if told else {}
    for name, content in data.items():
        (work / name).write_bytes(content)
    archive = Archive(home.archive)
    archive.create_if_missing()
    about = {"message": "x", "user_name": "A. Maker", "created": created}
    return archive.ingest(URN, {name: work / name for name in data}, **about).version  # type: ignore[arg-type]


def kept(home: Home, ended: datetime, archived: datetime, policy: Policy) -> Kept:
    """What is known of a next version, as it is known when it is archived."""
    first = known_since(home.archive, URN) if home.archive.is_dir() else None
    return replace(
        KEPT, identifier=URN, record=replace(KEPT.record, ended=ended), policy=policy, archived=archived, first=first
    )


def test_a_second_version_under_a_second_decision_moves_no_term_of_the_first(tmp_path: Path) -> None:
    home, told = Home(tmp_path), []
    later = TEXT.replace("on = 2026-01-01", "on = 2028-01-01") + CLOSED
    for text, ended, archived in (
        (TEXT + CLOSED, datetime(2026, 11, 21, 23, 30, tzinfo=UTC), datetime(2026, 11, 28, 20, tzinfo=UTC)),
        (later, datetime(2028, 3, 1, tzinfo=UTC), datetime(2028, 3, 2, tzinfo=UTC)),
    ):
        one = kept(home, ended, archived, Policy.parse(text.encode()))
        told.append(informatieobject(one))
        put(home, told[-1], archived, text)
        assert "from 2026-11-21 to 2046-11-21" in repr(premis_of(one))
    for version in told:
        [restriction], term = version.beperkingGebruik, version.bewaartermijn
        assert term
        assert restriction.beperkingGebruikTermijn
        assert term.termijnStartdatumLooptijd == restriction.beperkingGebruikTermijn.termijnStartdatumLooptijd
        assert (term.termijnStartdatumLooptijd, term.termijnEinddatum) == ("2026-11-21", "2036-11-21")
        assert restriction.beperkingGebruikTermijn.termijnEinddatum == "2046-11-21"
    assert first_version(home.archive, URN) == First(date(2026, 11, 21), date(2026, 11, 28))
    about, out = standing(home, URN, date(2046, 11, 21)), Outgoing.of(Archive(home.archive), URN)
    assert (about.start, about.end, out.version) == (date(2026, 11, 21), date(2036, 11, 21), "v2")
    assert about.lapsed == ("the restriction 'Overig' (artikel 15) lapsed on 2046-11-21",)
    assert [str(one) for one in out.closed(date(2046, 11, 20))] == ["artikel 15, until 2046-11-21"]
    assert out.closed(date(2046, 11, 21)) == []


@settings(max_examples=40)
@given(DAYS, st.integers(0, 900), DAYS, st.none() | DAYS, st.integers(1, 100), st.booleans(), DAYS)
def test_mdto_retention_and_openness_tell_one_end_on_any_dates(
    made: date, wait: int, on: date, start: date | None, years: int, private: bool, decided_on: date
) -> None:
    one = Beperking(type="Overig", grond="x", looptijd=f"P{years}Y", start=start)
    decision = POLICY.decision.model_copy(update={"on": decided_on})
    decision = decision.model_copy(update={"openness": "private unless" if private else "open unless"})
    policy = POLICY.model_copy(update={"beperkingGebruik": (one,), "decision": decision})
    terms = Terms(policy, First(made, made + timedelta(wait)))
    first, *rest = informatieobject(replace(KEPT, policy=policy, first=terms.first)).beperkingGebruik
    assert first.beperkingGebruikTermijn
    end = min(after(start or made, f"P{years}Y"), after(start or made, LONGEST))
    assert first.beperkingGebruikTermijn.termijnStartdatumLooptijd == (start or made).isoformat()
    assert first.beperkingGebruikTermijn.termijnEinddatum == end.isoformat()
    assert [item.beperkingGebruikTermijn.termijnEinddatum for item in rest if item.beperkingGebruikTermijn] == (
        [after(made, LONGEST).isoformat()] if private else []
    )
    until = [closed.until for closed in Openness(terms, on).closed]
    assert until == [day for day in (end, *([after(made, LONGEST)] if private else [])) if on < day]
    assert len(terms.over(on)) == len([1 for day in (end, *([after(made, LONGEST)] if private else [])) if day <= on])


@pytest.mark.parametrize(
    ("trigger", "start", "begins"),
    [
        ("Creatie", None, date(2026, 1, 2)),
        ("creatie", None, date(2026, 1, 2)),
        ("Opname", None, date(2026, 3, 4)),
        ("Einde project", None, None),
        ("Einde project", date(2027, 5, 6), date(2027, 5, 6)),
        ("Creatie", date(2027, 5, 6), date(2027, 5, 6)),
    ],
)
def test_m2_a_bewaartermijn_begins_with_the_event_that_it_names(
    trigger: str, start: date | None, begins: date | None
) -> None:
    term = Bewaartermijn(looptijd="P10Y", trigger=trigger, start=start)
    policy = POLICY.model_copy(update={"bewaartermijn": term})
    terms = Terms(policy, First(date(2026, 1, 2), date(2026, 3, 4)))
    told = informatieobject(replace(KEPT, policy=policy, first=terms.first)).bewaartermijn
    assert told
    assert terms.kept_from == begins
    assert told.termijnStartdatumLooptijd == (begins.isoformat() if begins else None)
    assert told.termijnEinddatum == (after(begins, "P10Y").isoformat() if begins else None)


def test_l5_what_waits_for_an_event_without_a_day_is_kept_and_says_what_makes_it_begin(tmp_path: Path) -> None:
    text = TEXT.replace('trigger = "Creatie"', 'trigger = "Einde project"')
    put(Home(tmp_path), None, datetime(2000, 1, 1, tzinfo=UTC), text)
    found = standing(Home(tmp_path), URN, date(2026, 11, 28))
    assert (found.state, found.end) == (State.KEEP, None)
    assert "does not tell when 'Einde project' was" in found.why[0]
    assert "bewaartermijn.start" in found.why[0]


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("2011-07-21T13:20:00", date(2011, 7, 21)),
        ("2011-07-21T23:30:00-02:00", date(2011, 7, 22)),
        ("2011-07-21", date(2011, 7, 21)),
        ("2011-07-21+02:00", date(2011, 7, 21)),
        ("2012-02", date(2012, 2, 29)),
        ("2011", date(2011, 12, 31)),
        ("9999", None),
        ("-0044-03-15", None),
        ("long ago", None),
    ],
)
def test_an_object_of_others_was_made_when_its_mdto_says_and_of_a_year_its_last_day_counts(
    tmp_path: Path, said: str, day: date | None
) -> None:
    made = mdto.Event(eventType=mdto.begrip("Creatie", "Begrippenlijst EventTypeLijst MDTO"), eventTijd=said)
    told = replace(informatieobject(KEPT), event=(made,))
    assert made_by(told) == day
    put(Home(tmp_path), told, datetime(2026, 11, 28, 12, tzinfo=UTC))
    assert first_version(Home(tmp_path).archive, URN).made == (day or date(2026, 11, 28))


def test_no_object_was_made_after_it_was_archived(tmp_path: Path) -> None:
    put(Home(tmp_path), informatieobject(KEPT), datetime(2020, 1, 1, tzinfo=UTC))
    assert first_version(Home(tmp_path).archive, URN).made == date(2020, 1, 1)


def test_a_day_that_was_altered_in_the_archive_begins_no_term(tmp_path: Path) -> None:
    home = Home(tmp_path)
    put(home, informatieobject(KEPT), datetime(2026, 11, 28, tzinfo=UTC))
    path = Archive(home.archive).files(URN)["mdto.xml"]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"2026-11-21T", b"1926-11-21T"))
    with pytest.raises(BadPackage, match="is not what was stored"):
        first_version(home.archive, URN)
    assert standing(home, URN, date(2026, 11, 28)).state == State.UNDECIDED


def test_l6_a_restriction_that_would_close_nothing_is_refused_in_words() -> None:
    embargo = Beperking(type="Overig", grond="embargo", looptijd="P2Y")
    opened = Beperking(type="Geen beperking", grond="ok", looptijd="P1Y", variables=("a",))
    terms = Terms(decided(beperkingGebruik=(embargo, opened)), First(MADE.date(), MADE.date()))
    assert terms.over(date(2028, 11, 20)) == []
    [said] = terms.over(date(2028, 11, 21))
    assert "the restriction 'embargo' is over since 2028-11-21 (its P2Y began on 2026-11-21, when the object" in said
    assert "beperkingGebruik.start" in said
    old = Terms(decided("private unless", beperkingGebruik=()), First(date(1940, 1, 1), date(2026, 1, 1)))
    assert "`private unless` closes nothing since 2015-01-01" in old.over(date(2026, 11, 28))[0]
