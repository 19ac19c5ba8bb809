"""The decision under which something is archived: what it must say, and what it forbids."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terp.storage.archive.licences import conditions
from terp.storage.archive.policy import Policy, after, template
from terp.storage.errors import BadPolicy

GOOD = (Path(__file__).parents[1] / "policy.toml").read_text()
TODAY = date(2026, 11, 28)


def parsed(old: str = "", new: str = "") -> Policy:
    assert old in GOOD
    return Policy.parse(GOOD.replace(old, new, 1).encode())


def test_a_policy_that_decides_all_has_nothing_against_it() -> None:
    assert parsed().objections(TODAY) == []


def test_the_template_asks_for_all_that_must_be_decided() -> None:
    with pytest.raises(BadPolicy) as refused:
        Policy.parse(template().encode())
    for asked in ("version", "waardering", "archiefvormer.naam", "selectielijst.categorie", "decision.openness"):
        assert asked in str(refused.value)


def test_what_is_missing_is_asked_for_by_name() -> None:
    with pytest.raises(BadPolicy, match=r"selectielijst\.categorie is missing"):
        parsed('categorie = "', '# "')


def test_an_unknown_key_is_an_error_that_lists_the_allowed_ones() -> None:
    with pytest.raises(BadPolicy, match=r"decision\.when is not known: known are openness, by, on, ground, purpose"):
        parsed("[decision]", "[decision]\nwhen = 1")


def test_l4_a_selection_list_past_its_end_forbids_archiving() -> None:
    assert "ended on 2030-12-31" in parsed().objections(date(2031, 1, 1))[0]


def test_m3_what_is_temporary_needs_a_term_and_what_is_for_ever_has_none() -> None:
    without = GOOD.replace('[bewaartermijn]\nlooptijd = "P10Y"\ntrigger = "Creatie"\n', "")
    assert "needs a bewaartermijn" in Policy.parse(without.encode()).objections(TODAY)[0]
    assert "take the bewaartermijn out" in parsed('waardering = "V"', 'waardering = "B"').objections(TODAY)[0]


def test_l6_a_restriction_is_for_75_years_at_most() -> None:
    longer = GOOD + '\n[[beperkingGebruik]]\ntype = "Overig"\ngrond = "a"\nlooptijd = "P76Y"\n'
    assert "P75Y is the longest" in Policy.parse(longer.encode()).objections(TODAY)[0]


def test_rights_of_others_forbid_opening() -> None:
    assert "forbid opening" in parsed("[rights]", '[rights]\nthird_parties = ["A Publisher"]').objections(TODAY)[0]


def test_no_toml_is_said_in_words() -> None:
    with pytest.raises(BadPolicy, match="is no TOML"):
        Policy.parse(b"\xff")


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)), st.integers(0, 200), st.integers(0, 30))
def test_a_term_runs_out_on_the_same_day_of_a_later_year_or_the_last_of_its_month(
    start: date, years: int, months: int
) -> None:
    end = after(start, f"P{years}Y{months}M")
    total = start.year * 12 + start.month - 1 + years * 12 + months
    assert (end.year, end.month) == (total // 12, total % 12 + 1)
    assert end.day == start.day or (end.day < start.day and after(end, "P1D").day == 1)


def test_a_term_that_no_calendar_can_tell_ends_on_its_last_day() -> None:
    assert after(TODAY, "P9999Y") == after(TODAY, "P7900Y99999D") == date.max
    assert after(date.max, "P1D") == date.max


@pytest.mark.parametrize(
    ("licence", "asked"),
    [
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/", {"by", "nc", "nd"}),
        ("HTTPS://CreativeCommons.org/licenses/BY-SA/4.0/", {"by", "sa"}),
        ("https://creativecommons.org/licenses/sa/1.0/", {"sa"}),
        ("CC-BY-NC-ND-4.0", {"by", "nc", "nd"}),
        ("CC BY-SA 4.0", {"by", "sa"}),
        ("https://spdx.org/licenses/CC-BY-ND-4.0.html", {"by", "nd"}),
        ("https://creativecommons.org/publicdomain/zero/1.0/", set()),
        ("CC0-1.0", set()),
        ("Apache-2.0", set()),
    ],
)
def test_conditions_of_a_licence_are_known_by_its_address_and_by_its_name(licence: str, asked: set[str]) -> None:
    assert conditions(licence) == asked
