"""The decision under which something is archived: what it must say, and what it forbids."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terp.storage.archive.licences import Read, conditions
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


def fields() -> list[tuple[str, str]]:
    """Each field of the policy of the tests by its name, with its line; what may be left out is not among them."""
    found, table = [], ""
    for line in GOOD.splitlines():
        if line.startswith("["):
            table = f"{line[1:-1]}."
        elif name := line.partition(" = ")[0] if " = " in line else "":
            found.append((f"{table}{name}", line))
    return [one for one in found if one[0] != "rights.inputs"]


@pytest.mark.parametrize(("name", "line"), fields())
def test_each_field_that_is_missing_is_asked_for_by_name_and_in_its_file(name: str, line: str) -> None:
    with pytest.raises(BadPolicy) as refused:
        Policy.parse(GOOD.replace(f"{line}\n", "", 1).encode(), "/home/policy.toml")
    assert str(refused.value).splitlines() == [
        "/home/policy.toml does not decide all that must be decided:",
        f"  {name} is missing",
    ]


@pytest.mark.parametrize("line", [line for _, line in fields() if line.endswith('"')])
def test_each_field_that_is_blank_is_refused_by_name(line: str) -> None:
    name = line.partition(" = ")[0]
    with pytest.raises(BadPolicy, match=rf"\b{name} .*not '  '"):
        Policy.parse(GOOD.replace(line, f'{name} = "  "', 1).encode())


@pytest.mark.parametrize(
    ("table", "holds"),
    [
        ("archiefvormer", "naam, identificatie, bron"),
        ("selectielijst", "naam, categorie, vastgesteld, geldigTot"),
        ("decision", "openness, by, on, ground, purpose"),
        ("copies", "at_least, at_most"),
        ("rights", "holder, licence, licence_name"),
    ],
)
def test_a_table_that_is_missing_is_asked_for_with_all_it_has_to_hold(table: str, holds: str) -> None:
    before, _, after_ = GOOD.partition(f"[{table}]\n")
    rest = after_.partition("\n[")
    with pytest.raises(BadPolicy, match=rf"{table} is missing: a table \[{table}\] with {holds}$"):
        Policy.parse(f"{before}{'[' if rest[1] else ''}{rest[2]}".encode())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("dated = 2026-01-01", 'dated = "soon"', "dated should be a day, without quotation marks or a time, as 2026-"),
        ("dated = 2026-01-01", "dated = 2026-01-01T10:00:00Z", "as 2026-11-28, not 2026-01-01 10:00:00"),
        ("at_most = 3", 'at_most = "many"', "copies.at_most should be a whole number, without quotation marks, not 'm"),
        ("at_most = 3", 'at_most = 3\nplaces = "tape"', 'copies.places should be a list, as \\["one", "two"\\], not'),
        ("dated = 2026-01-01", 'dated = 2026-01-01\ntaal = "nl"', "taal should be a list"),
        ("inputs = {", 'inputs = "CC0" # {', "rights.inputs should be a table"),
        ("[copies]", 'copies = "three"\n[x]', "x is not known: known are version, dated, "),
        (
            'openness = "open unless"',
            'openness = "open"',
            "decision.openness should be 'open unless' or 'private",
        ),
        ('by = "A Tester"', 'by = ""', "decision.by should not be blank, not ''"),
    ],
)
def test_what_is_of_another_kind_is_told_as_it_is_written(old: str, new: str, said: str) -> None:
    with pytest.raises(BadPolicy, match=said):
        parsed(old, new)


def test_an_empty_file_is_asked_for_all_of_it() -> None:
    with pytest.raises(BadPolicy) as refused:
        Policy.parse(b"", "/home/policy.toml")
    said = str(refused.value)
    for name in ("version", "dated", "archiefvormer", "waardering", "selectielijst", "decision", "copies", "rights"):
        assert f"\n  {name} is missing" in said


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


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("dated = 2026-01-01", "dated = 2026-11-30", "dated is 2026-11-30, which is yet to come: write the day"),
        ("on = 2026-01-01", "on = 2027-01-01", "the decision is of 2027-01-01, which is yet to come: write the day"),
        ("vastgesteld = 2020-01-01", "vastgesteld = 2026-12-01", "is of 2026-12-01, which is yet to come"),
        ("geldigTot = 2030-12-31", "geldigTot = 2019-12-31", "is of 2020-01-01, and ended before: 2019-12-31"),
        ("geldigTot = 2030-12-31", "geldigTot = 2026-11-27", "ended on 2026-11-27: name one that is in force"),
        ("at_most = 3", "at_most = 0", "at_most "),
        ("at_least = 1", "at_least = 4", "at most 3 copies are less than the 4"),
        ("at_least = 1", 'at_least = 3\nplaces = ["tape", "tape"]', "the archive and tape, tape hold 2 at most"),
        ("[rights]", '[overbrenging]\nlooptijd = "P20Y"\ngrond = "x"\n[rights]', "take overbrenging out"),
    ],
)
def test_days_and_numbers_that_cannot_be_are_refused_in_words(old: str, new: str, said: str) -> None:
    try:
        against = "\n".join(parsed(old, new).objections(TODAY))
    except BadPolicy as refused:
        against = str(refused)
    assert said in against


@given(st.dates(date(2020, 1, 2), date(2030, 12, 1)), st.integers(-400, 400))
def test_a_policy_of_tomorrow_is_refused_where_no_zone_of_time_has_that_day(on: date, days: int) -> None:
    dated = on + timedelta(days)
    policy = parsed("dated = 2026-01-01", f"dated = {dated}")
    assert ("dated is" in "\n".join(policy.objections(on))) == (days > 1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[[beperkingGebruik]]\ntype = "Overig"\ngrond = " "\nlooptijd = "P1Y"', r"beperkingGebruik\.0\.grond"),
        ('[[beperkingGebruik]]\ntype = "Overig"\ngrond = "a"\nlooptijd = "P0Y"', "longer than no time at all"),
        ('[[beperkingGebruik]]\ntype = "Overig"\ngrond = "a"\nlooptijd = "10 years"', "years, months and days"),
        ('[[beperkingGebruik]]\ntype = "Overig"\ngrond = "a"', r"beperkingGebruik\.0\.looptijd is missing"),
        (
            '[[beperkingGebruik]]\ntype = "x"\ngrond = "a"\nlooptijd = "P1Y"\nuntil = 1',
            r"beperkingGebruik\.0\.until is not known: known are type, grond, looptijd, start, toelichting, variables",
        ),
        ('[[beperkingGebruik]]\ntype = "x"\ngrond = "a"\nlooptijd = "P1Y"\nvariables = [""]', "variables"),
        ('[lossy]\nt = ""', r"lossy\.t"),
        ('[[funding]]\naward = "1"', r"funding\.0\.naam is missing"),
    ],
)
def test_a_reason_that_is_empty_and_a_term_that_is_none_are_refused(more: str, said: str) -> None:
    with pytest.raises(BadPolicy, match=said):
        Policy.parse(f"{GOOD}\n{more}\n".encode())


@pytest.mark.parametrize("code", ["xx", "english", "EN", "e", "en_GB", ""])
def test_m2_a_language_is_a_code_of_iso_639(code: str) -> None:
    with pytest.raises(BadPolicy, match=r"taal\.0 must be a language by its code in ISO 639"):
        parsed("dated = 2026-01-01", f'dated = 2026-01-01\ntaal = ["{code}"]')


def test_rights_of_others_forbid_opening_a_part_too() -> None:
    opened = '\n[[beperkingGebruik]]\ntype = "Geen beperking"\ngrond = "ok"\nlooptijd = "P1Y"\nvariables = ["a"]\n'
    text = GOOD.replace('"open unless"', '"private unless"').replace("[rights]", '[rights]\nthird_parties = ["A"]')
    assert Policy.parse(text.encode()).objections(TODAY) == []
    assert "forbid opening, also in part" in Policy.parse((text + opened).encode()).objections(TODAY)[0]


BY, SA, NC, ND = (f"https://creativecommons.org/licenses/by{kind}/4.0/" for kind in ("", "-sa", "-nc", "-nd"))
ZERO, NC_SA = "https://creativecommons.org/publicdomain/zero/1.0/", "https://creativecommons.org/licenses/by-nc-sa/4.0/"


@pytest.mark.parametrize(
    ("read", "own", "openness", "said"),
    [
        (ZERO, BY, "open unless", ""),
        (BY, BY, "open unless", ""),
        (BY, NC, "open unless", ""),
        (BY, ZERO, "open unless", "its makers are to be named"),
        (BY, "CC0", "private unless", "its makers are to be named"),
        (NC, BY, "open unless", "has to say nc too"),
        (NC, BY, "private unless", "has to say nc too"),
        (NC, NC, "open unless", ""),
        (SA, BY, "open unless", "shared alike, so rights.licence has to say by, sa and nothing else"),
        (SA, NC_SA, "open unless", "shared alike"),
        (SA, SA, "open unless", ""),
        (ND, BY, "open unless", "allows no derivatives"),
        (ND, BY, "private unless", ""),
        ("All rights reserved", BY, "open unless", "lets nobody share it"),
        ("https://rightsstatements.org/vocab/InC/1.0/", BY, "open unless", "lets nobody share it"),
        ("Niet verspreiden", BY, "open unless", "lets nobody share it"),
        ("All rights reserved", BY, "private unless", ""),
        ("Apache-2.0", BY, "open unless", ""),
    ],
)
def test_the_licence_of_an_input_follows_into_the_output(read: str, own: str, openness: str, said: str) -> None:
    text = GOOD.replace("https://creativecommons.org/licenses/by/4.0/", own).replace("open unless", openness)
    against = Policy.parse(text.encode()).licence_objections([Read("obs.nc", "", read)])
    assert (said in against[0] if against else "") if said else against == []
    assert bool(against) == bool(said)


def test_what_opens_a_part_opens_what_forbids_derivatives() -> None:
    opened = '\n[[beperkingGebruik]]\ntype = "Geen beperking"\ngrond = "ok"\nlooptijd = "P1Y"\nvariables = ["a"]\n'
    policy = Policy.parse((GOOD.replace("open unless", "private unless") + opened).encode())
    assert "allows no derivatives" in policy.licence_objections([Read("obs.nc", "", ND)])[0]


def test_two_inputs_of_one_name_are_two() -> None:
    policy = parsed()
    assert len(policy.licence_objections([Read("obs.nc", "1", NC), Read("obs.nc", "2", ZERO)])) == 1


def test_what_an_input_tells_of_itself_goes_before_what_is_said_of_all_and_after_what_is_said_of_it() -> None:
    told = Read("obs.nc", "ab" * 32, NC, "private unless, decided by A on 2026-01-01")
    against = parsed().licence_objections([told])
    assert "the input obs.nc is not open to all (private unless, decided by A on 2026-01-01)" in against[0]
    assert "has to say nc too" in against[1]
    for name in ("obs.nc", "ab" * 32):
        named = parsed('inputs = { "*" =', f'inputs = {{ "{name}" =')
        assert named.licence_objections([told]) == []


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
