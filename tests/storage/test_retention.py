"""Retention: what may or must become of what is archived, by its own policy; holds, and people who may sign."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import custody_of

from terp.storage.archive.custody import Events
from terp.storage.archive.hold import DESTROYING, WITHDRAWN, begun, holds, lay, release
from terp.storage.archive.people import REGISTER, People
from terp.storage.archive.retention import Standing, State, standing, standings
from terp.storage.errors import BadKey, BadPackage, Destroyed
from terp.storage.home import Home
from terp.storage.signature import SigningKey, signer

TRANSFER = '\n[overbrenging]\nlooptijd = "{}"\ngrond = "{}"\n'
RESTRICTED = '\n[[beperkingGebruik]]\ntype = "Privacy"\ngrond = "artikel 15, 1a"\nlooptijd = "{}"\n{}\n'


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def stands(home: Home, on: str, *changed: tuple[str, str], more: str = "") -> Standing:
    custody_of.put(home, custody_of.policy(*changed, more=more))
    return standing(home, custody_of.URN, date.fromisoformat(on))


PERMANENT = (('waardering = "V"', 'waardering = "B"'), ('[bewaartermijn]\nlooptijd = "P10Y"\ntrigger = "Creatie"', ""))


@pytest.mark.parametrize(
    ("on", "state"),
    [
        ("2024-02-29", State.KEEP),
        ("2024-03-01", State.MAY_GO),
        ("2024-12-31", State.MAY_GO),
        ("2025-01-01", State.MUST_GO),
    ],
)
def test_l1_what_has_run_out_may_go_and_must_when_its_year_is_over(home: Home, on: str, state: State) -> None:
    found = stands(home, on)
    assert (found.state, found.created, found.start, found.end) == (
        state,
        date(2014, 3, 1),
        date(2014, 3, 1),
        date(2024, 3, 1),
    )


def test_l1_personal_data_must_go_as_soon_as_they_may(home: Home) -> None:
    found = stands(home, "2024-03-01", ('"open unless"', '"private unless"'))
    assert found.state == State.MUST_GO
    assert "AVG" in found.why[0]


def test_l1_the_term_counts_from_the_start_that_the_policy_names(home: Home) -> None:
    found = stands(home, "2026-11-28", ('trigger = "Creatie"', 'trigger = "Einde project"\nstart = 2016-11-29'))
    assert (found.state, found.end) == (State.KEEP, date(2026, 11, 29))


@pytest.mark.parametrize(("term", "due"), [("P10Y", date(2024, 3, 1)), ("P20Y", date(2034, 3, 1))])
def test_l2_the_term_of_transfer_is_the_one_of_the_policy(home: Home, term: str, due: date) -> None:
    found = stands(home, str(due), *PERMANENT, more=TRANSFER.format(term, "Archiefwet"))
    assert (found.state, found.transfer) == (State.TRANSFER, due)
    assert term in found.why[0]
    before = standing(home, custody_of.URN, date(due.year - 1, 12, 31))
    assert before.state == State.KEEP


def test_l2_of_two_versions_the_policy_of_the_newer_counts_and_the_term_from_the_first(home: Home) -> None:
    custody_of.put(home, custody_of.policy(*PERMANENT, more=TRANSFER.format("P20Y", "Archiefwet 1995, artikel 12")))
    found = stands(
        home, "2026-11-28", *PERMANENT, ('version = "1"', 'version = "2"'), more=TRANSFER.format("P10Y", "new")
    )
    assert (found.state, found.transfer) == (State.TRANSFER, date(2024, 3, 1))
    assert found.to_json()["policy"] == "version 2 of 2026-01-01"


def test_l2_what_goes_is_not_transferred(home: Home) -> None:
    assert stands(home, "2026-11-28", more=TRANSFER.format("P10Y", "Archiefwet")).transfer is None


def test_l4_a_list_past_its_end_is_told_of(home: Home) -> None:
    assert any("ended on 2030-12-31" in why for why in stands(home, "2031-01-01").why)


@pytest.mark.parametrize(
    ("term", "start", "last"),
    [("P5Y", "", "2019-03-01"), ("P5Y", "start = 2015-01-01", "2020-01-01"), ("P110Y", "", "2089-03-01")],
)
def test_l6_a_restriction_lapses_on_its_day_and_after_75_years_at_the_latest(
    home: Home, term: str, start: str, last: str
) -> None:
    found = stands(home, last, more=RESTRICTED.format(term, start))
    assert found.lapsed == (f"the restriction 'Privacy' (artikel 15, 1a) lapsed on {last}",)
    day = date.fromisoformat(last)
    assert standing(home, custody_of.URN, day.replace(year=day.year - 1)).lapsed == ()


def test_what_is_yet_to_be_decided_and_what_has_no_policy_is_undecided(home: Home) -> None:
    found = stands(home, "2026-11-28", ('waardering = "V"', 'waardering = "N"'))
    assert found.state == State.UNDECIDED
    custody_of.put(home, b"not = [toml", "urn:terp:other:2")
    damaged = standing(home, "urn:terp:other:2", custody_of.TODAY)
    assert damaged.state == State.UNDECIDED
    assert "is no TOML" in damaged.why[0]


def test_one_object_that_cannot_be_read_does_not_hide_the_others(home: Home) -> None:
    custody_of.put(home, custody_of.policy())
    (custody_of.put(home, custody_of.policy(), "urn:terp:other:2") / "inventory.json").unlink()
    (home.archive / "extensions").mkdir(exist_ok=True)
    rows = {row.identifier: row.state for row in standings(home, custody_of.TODAY)}
    assert rows[custody_of.URN] == State.MUST_GO
    assert len(rows) == 2


# holds


def test_a_hold_keeps_what_would_go_until_it_is_released(home: Home) -> None:
    custody_of.put(home, custody_of.policy())
    events = Events(home.custody)
    lay(events, custody_of.URN, "court case 12", "A Lawyer")
    found = standing(home, custody_of.URN, custody_of.TODAY)
    assert found.state == State.HELD
    assert any("court case 12" in why for why in found.why)
    assert any("must be destroyed" in why for why in found.why)
    release(events, custody_of.URN, "the case is over", "A Lawyer")
    assert standing(home, custody_of.URN, custody_of.TODAY).state == State.MUST_GO
    assert [one["event"] for one in events.of(custody_of.URN)] == ["hold", "release"]


def test_of_several_holds_one_is_released_by_its_number(home: Home) -> None:
    events = Events(home.custody)
    first, second = (lay(events, custody_of.URN, reason, "A Lawyer") for reason in ("one", "two"))
    with pytest.raises(BadPackage, match=r"name one of its holds with --hold: .*hold 1.*hold 2"):
        release(events, custody_of.URN, "over", "A Lawyer")
    release(events, custody_of.URN, "over", "A Lawyer", first.number)
    assert holds(events.of(custody_of.URN)) == [second]
    with pytest.raises(BadPackage, match="not held"):
        release(events, "urn:terp:other:2", "over", "A Lawyer")


def test_a_hold_that_comes_after_a_destruction_has_begun_is_too_late(home: Home) -> None:
    events = Events(home.custody)
    events.append(custody_of.URN, DESTROYING, {})
    with pytest.raises(Destroyed, match="too late"):
        lay(events, custody_of.URN, "wait", "A Lawyer")
    events.append(custody_of.URN, WITHDRAWN, {})
    assert begun(events.of(custody_of.URN)) is None
    assert lay(events, custody_of.URN, "wait", "A Lawyer").reason == "wait"


# people


def test_a_person_is_registered_with_a_key_of_their_own(home: Home, tmp_path: Path) -> None:
    one, private = custody_of.person(home, tmp_path, "A. Archivist")
    assert [person.name for person in People(home.custody).all()] == ["A. Archivist"]
    assert signer(b"data", SigningKey.load(private).sign(b"data")) == one.fingerprint
    assert People(home.custody).with_key(one.fingerprint) == one
    shown = subprocess.run(["ssh-keygen", "-lf", f"{private}.pub"], capture_output=True, text=True, check=True)
    assert one.fingerprint in shown.stdout
    assert "somebody@host" not in (home.custody / "people.toml").read_text()


def test_one_key_under_two_names_is_refused_and_one_name_with_two_keys(home: Home, tmp_path: Path) -> None:
    _, private = custody_of.person(home, tmp_path, "A. Archivist")
    with pytest.raises(BadKey, match=r"is that of A\. Archivist already"):
        People(home.custody).add("Somebody Else", Path(f"{private}.pub").read_text(), [], "tests")
    with pytest.raises(BadKey, match="registered already"):
        custody_of.person(home, tmp_path, "a. archivist")


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ=="])
def test_what_is_no_ed25519_key_is_refused(home: Home, line: str) -> None:
    with pytest.raises(BadKey):
        People(home.custody).add("A. Archivist", line, [], "tests")
    assert People(home.custody).all() == []


def test_a_revoked_key_signs_nothing_and_stays_in_the_register(home: Home, tmp_path: Path) -> None:
    one, private = custody_of.person(home, tmp_path, "A. Archivist")
    people = People(home.custody)
    gone = people.revoke("A. Archivist", "left", "tests")
    assert gone.revoked
    with pytest.raises(BadKey, match=r"was revoked on .*: left"):
        people.with_key(one.fingerprint)
    with pytest.raises(BadKey, match="is that of"):
        people.add("A. Archivist", Path(f"{private}.pub").read_text(), [], "tests")
    custody_of.person(home, tmp_path, "A. Archivist")  # with another key
    assert [bool(person.revoked) for person in people.all()] == [True, False]
    assert [one["event"] for one in Events(home.custody).of(REGISTER)] == [
        *("person added", "person revoked", "person added")
    ]


def test_who_was_written_into_the_register_by_hand_is_found(home: Home, tmp_path: Path) -> None:
    custody_of.person(home, tmp_path, "A. Archivist")
    line = Path(f"{custody_of.key(tmp_path, 'b')}.pub").read_text().strip()
    path = home.custody / "people.toml"
    path.write_text(f'{path.read_text()}\n[[people]]\nname = "B"\nkey = {json.dumps(line)}\nadded = "2026"\n')
    with pytest.raises(BadPackage, match="has 'B', whom nobody registered"):
        People(home.custody).all()
    path.unlink()  # what counts are the events
    assert [one.name for one in People(home.custody).all()] == ["A. Archivist"]


def test_an_altered_event_of_the_register_is_found(home: Home, tmp_path: Path) -> None:
    custody_of.person(home, tmp_path, "A. Archivist")
    custody_of.person(home, tmp_path, "B. Archivist")
    first = next((home.custody / "events").glob("*/000001.json"))
    first.write_bytes(first.read_bytes().replace(b"A. Archivist", b"C. Archivist"))
    with pytest.raises(BadPackage, match="altered"):
        People(home.custody).all()
