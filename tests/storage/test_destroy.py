"""Destruction: only when all conditions are met, then everywhere, proven, and told of for ever; never by halves."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import custody_of

from terp.storage.archive import Archive, tombstone
from terp.storage.archive.catalog.reader import tombstone_card
from terp.storage.archive.custody import Events, slug
from terp.storage.archive.destroying import execute
from terp.storage.archive.hold import DESTROYING, lay, release
from terp.storage.archive.known import Copy, Known
from terp.storage.archive.ocfl import place
from terp.storage.archive.people import People
from terp.storage.archive.proposal import Scope
from terp.storage.archive.proposing import load, propose, sign
from terp.storage.errors import BadKey, BadPackage, Destroyed, DiskTrouble, MustStay, PlaceTrouble, Unfinished
from terp.storage.home import Home
from terp.storage.places import Folder, Stored


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return custody_of.scene(tmp_path_factory.mktemp("template")).root.parent


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Home:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Home(tmp_path / "home")


@pytest.fixture
def scope(home: Home) -> Scope:
    return custody_of.scope(home)


@pytest.fixture
def people(home: Home) -> list[Path]:
    return [home.root.parent / name for name in custody_of.PEOPLE]


def signed(home: Home, scope: Scope, people: list[Path]) -> None:
    assert propose(home, custody_of.URN, scope, "A. Archivist", custody_of.TODAY)[1] == []
    for one in people:
        sign(home, custody_of.URN, scope, one, custody_of.TODAY)


def destroy(home: Home, scope: Scope) -> tombstone.Tombstone:
    return execute(home, custody_of.URN, scope, "B. Archivist", custody_of.TODAY)


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(MustStay) as refused:
        work()
    return str(refused.value)


# what would go


def test_l5_a_proposal_lists_every_file_and_byte_and_touches_nothing(home: Home, scope: Scope, tmp_path: Path) -> None:
    before = everything(tmp_path)
    found, wrong, proposal = propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    after = everything(tmp_path)
    assert wrong == []
    assert proposal is not None
    assert before.items() <= after.items()
    parts = {part.where: dict(part.files) for part in found.parts}
    rests = place(custody_of.URN).as_posix()
    assert parts["archive"] == {
        str(path.relative_to(home.root)): path.stat().st_size
        for path in (home.archive / rests).rglob("*")
        if path.is_file()
    }
    assert len(parts["place second"]) == len(parts["archive"])
    assert set(parts["folder products/key"]) == {"products/key/data.zarr/c/0", "products/key/product.json"}
    listed = [json.loads(line) for line in proposal.path.with_suffix(".files").read_text().splitlines()]
    assert {(where, name): size for where, name, size in listed} == {
        (where, name): size for where, files in parts.items() for name, size in files.items()
    }
    assert proposal.plain["derived"] == ["urn:terp:derived:3"]


def test_the_same_bytes_elsewhere_in_the_home_are_found_by_digest_and_go_with_it(
    home: Home, scope: Scope, people: list[Path]
) -> None:
    stray = home.cache / "left/renamed"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(Archive(home.archive).files(custody_of.URN)["result.zarr.zip"].read_bytes())
    found, _, _ = propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    assert ("cache/left/renamed", stray.stat().st_size) in [one for part in found.parts for one in part.files]
    signed(home, scope, people)
    destroy(home, scope)
    assert not stray.exists()


def test_what_a_repair_has_moved_aside_goes_with_it_and_an_export_is_named(
    home: Home, scope: Scope, people: list[Path]
) -> None:
    aside = home.custody / "quarantine" / slug(custody_of.URN) / "archive/20261128T120000Z-abc/more"
    aside.parent.mkdir(parents=True)
    aside.write_bytes(b"it was in the object and not of it")
    Events(home.custody).append(custody_of.URN, "exported", {"as": "bagit", "to": "/somewhere/else"})
    signed(home, scope, people)
    stone = destroy(home, scope)
    assert not aside.parents[2].exists()
    assert "bagit of 20" in stone.path.with_suffix(".md").read_text().partition("buiten bereik:")[2]


def test_another_object_with_the_same_files_is_named_and_stays(home: Home, scope: Scope, people: list[Path]) -> None:
    data = Archive(home.archive).files(custody_of.URN)["result.zarr.zip"].read_bytes()
    custody_of.put(home, custody_of.policy(), "urn:terp:both:3", {"first.zarr.zip": data})
    found, _, proposal = propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    assert proposal is not None
    assert found.also_held == ("urn:terp:both:3",)
    signed(home, scope, people)
    stone = destroy(home, scope)
    assert "urn:terp:both:3" in stone.path.with_suffix(".md").read_text()
    assert Archive(home.archive).verify("urn:terp:both:3") == []


# when it may not


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([('waardering = "V"', 'waardering = "N"')], "waardering N: only V is destroyed"),
        ([('trigger = "Creatie"', 'trigger = "Einde"\nstart = 2020-01-01')], "kept until 2030-01-01"),
        ([("geldigTot = 2030-12-31", "geldigTot = 2026-01-01")], "ended on 2026-01-01"),
        ([('[bewaartermijn]\nlooptijd = "P10Y"\ntrigger = "Creatie"', "")], "no bewaartermijn"),
    ],
)
def test_l5_what_its_policy_keeps_is_not_destroyed(
    home: Home, scope: Scope, changed: list[tuple[str, str]], said: str
) -> None:
    custody_of.put(home, custody_of.policy(*changed))
    _, wrong, proposal = propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    assert proposal is None
    assert said in "\n".join(wrong)


def test_l5_waardering_b_is_never_destroyed(home: Home, scope: Scope) -> None:
    no_term = ('[bewaartermijn]\nlooptijd = "P10Y"\ntrigger = "Creatie"', "")
    custody_of.put(home, custody_of.policy(('waardering = "V"', 'waardering = "B"'), no_term))
    assert propose(home, custody_of.URN, scope, "A", date(2999, 1, 1))[1] == ["waardering B: only V is destroyed"]


def test_l5_one_person_is_not_two(home: Home, scope: Scope, people: list[Path], tmp_path: Path) -> None:
    signed(home, scope, people[:1])
    assert "2 people have to sign" in refusal(lambda: destroy(home, scope))
    with pytest.raises(BadKey, match=r"A\. Archivist has signed already"):
        sign(home, custody_of.URN, scope, people[0], custody_of.TODAY)
    with pytest.raises(BadKey, match="is nobody's here"):
        sign(home, custody_of.URN, scope, custody_of.key(tmp_path, "stranger"), custody_of.TODAY)
    assert Archive(home.archive).verify(custody_of.URN) == []


@pytest.mark.parametrize("name", ["a. archivist", "A.  Archivist ", "\uff21. Archivist", "A.\u00a0Archivist"])
def test_l5_a_name_that_looks_the_same_is_no_other_person(home: Home, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadKey, match=r"A\. Archivist is registered already"):
        custody_of.person(home, tmp_path, name)


def test_bytes_that_a_repair_left_on_their_way_are_found(home: Home, scope: Scope) -> None:
    part = home.custody / "repairs/.terp-part-1"
    part.parent.mkdir()
    part.write_bytes(Archive(home.archive).files(custody_of.URN)["result.zarr.zip"].read_bytes())
    found, _, _ = propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    assert "custody/repairs/.terp-part-1" in [name for part in found.parts for name, _ in part.files]


def test_l5_who_was_revoked_after_signing_does_not_count(home: Home, scope: Scope, people: list[Path]) -> None:
    signed(home, scope, people)
    People(home.custody).revoke("B. Archivist", "left", "tests")
    assert "signed has A. Archivist" in refusal(lambda: destroy(home, scope))


def test_l5_a_hold_stops_it_at_each_step(home: Home, scope: Scope, people: list[Path]) -> None:
    events = Events(home.custody)
    signed(home, scope, people)
    lay(events, custody_of.URN, "court case", "A Lawyer")
    assert "it is held" in refusal(lambda: destroy(home, scope))
    assert "court case" in "\n".join(propose(home, custody_of.URN, scope, "A", custody_of.TODAY)[1])
    release(events, custody_of.URN, "over", "A Lawyer")
    destroy(home, scope)


def test_nothing_is_destroyed_that_was_not_proposed(home: Home, scope: Scope, people: list[Path]) -> None:
    assert "nobody has proposed" in refusal(lambda: destroy(home, scope))
    assert "nobody has proposed" in refusal(lambda: sign(home, custody_of.URN, scope, people[0], custody_of.TODAY))
    with pytest.raises(BadPackage, match="no object"):
        propose(home, "urn:terp:none:9", scope, "A", custody_of.TODAY)


def new_version(home: Home, _: Scope) -> Scope | None:
    custody_of.put(home, custody_of.policy(), more={"more": b"more"})
    return None


def longer_copy(_: Home, scope: Scope) -> Scope | None:
    scope.places["second"].write(f"{place(custody_of.URN).as_posix()}/v1/content/more", b"more")
    return None


def new_product_file(home: Home, _: Scope) -> Scope | None:
    (home.products / "key/more").write_bytes(b"more")
    return None


def derived_meanwhile(_: Home, scope: Scope) -> Scope | None:
    return replace(scope, derived=[*scope.derived, "urn:terp:derived:4"])


@pytest.mark.parametrize("change", [new_version, longer_copy, new_product_file, derived_meanwhile])
def test_what_changed_since_it_was_proposed_voids_the_proposal(
    home: Home, scope: Scope, people: list[Path], change: Callable[[Home, Scope], Scope | None]
) -> None:
    signed(home, scope, people)
    scope = change(home, scope) or scope
    assert "since it was proposed" in refusal(lambda: destroy(home, scope))
    assert "since it was proposed" in refusal(lambda: sign(home, custody_of.URN, scope, people[0], custody_of.TODAY))
    propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    assert "signed has nobody" in refusal(lambda: destroy(home, scope))  # these signatures were of another proposal
    signed(home, scope, people)
    destroy(home, scope)


def test_a_proposal_that_says_the_same_keeps_its_signatures(home: Home, scope: Scope, people: list[Path]) -> None:
    signed(home, scope, people)
    before = load(home, custody_of.URN).data
    propose(home, custody_of.URN, scope, "C", custody_of.TODAY)
    assert load(home, custody_of.URN).data == before
    destroy(home, scope)


def test_an_altered_proposal_is_refused(home: Home, scope: Scope, people: list[Path]) -> None:
    signed(home, scope, people)
    path = load(home, custody_of.URN).path
    path.write_bytes(path.read_bytes().replace(b"12.3", b"12.4"))
    assert "2 people have to sign" in refusal(lambda: destroy(home, scope))
    path.write_bytes(b"{}")
    with pytest.raises(BadPackage, match="was altered"):
        destroy(home, scope)


def test_a_file_with_a_name_outside_of_the_home_is_told_of(home: Home, scope: Scope, tmp_path: Path) -> None:
    stored = Archive(home.archive).files(custody_of.URN)["result.zarr.zip"]
    (tmp_path / "elsewhere").mkdir()
    os.link(stored, tmp_path / "elsewhere/mine.zip")
    _, wrong, _ = propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    assert "has 2 names (hard links), and 1 of them are known here" in wrong[0]


def test_a_product_hard_linked_to_the_package_goes_with_it(home: Home, scope: Scope, people: list[Path]) -> None:
    stored = Archive(home.archive).files(custody_of.URN)["result.zarr.zip"]
    os.link(stored, home.products / "key/linked")
    signed(home, scope, people)
    destroy(home, scope)
    assert not home.products.joinpath("key").exists()


def test_a_copy_in_a_place_that_nobody_registered_is_told_of(home: Home, scope: Scope) -> None:
    told = home.custody / "copies/third" / f"{slug(custody_of.URN)}.json"
    told.parent.mkdir(parents=True)
    told.write_text("{}")
    assert "the place third is not registered" in propose(home, custody_of.URN, scope, "A", custody_of.TODAY)[1][0]


def test_what_is_being_worked_on_stays(home: Home, scope: Scope) -> None:
    busy = replace(scope, busy=["the product key is being worked on"])
    assert propose(home, custody_of.URN, busy, "A", custody_of.TODAY)[1] == ["the product key is being worked on"]


# what it does


def test_l5_it_leaves_nothing_but_a_statement(home: Home, scope: Scope, people: list[Path], tmp_path: Path) -> None:
    files = Archive(home.archive).files(custody_of.URN)
    payload = {hashlib.sha512(files[name].read_bytes()).hexdigest() for name in ("result.zarr.zip", "values.json")}
    signed(home, scope, people)
    stone = destroy(home, scope)
    left = {hashlib.sha512(data).hexdigest() for data in everything(tmp_path / "home").values()}
    left |= {hashlib.sha512(data).hexdigest() for data in everything(tmp_path / "copies").values()}
    assert payload & left == set()
    assert not (home.archive / place(custody_of.URN).parts[0]).exists()
    assert not (home.archive / "extensions/terp-destroying").exists()
    assert sorted(path.name for path in home.root.iterdir()) == ["archive", "custody", "products", "runs"]
    assert os.listdir(home.products) == os.listdir(home.runs) == []
    assert Archive(home.archive).list() == [custody_of.OTHER]
    assert Archive(home.archive).verify(custody_of.OTHER) == []
    assert payload <= {one["sha512"] for one in stone.plain["specification"]["files"].values()}
    assert stone.plain["proof"]["places"]["second"] == len(everything(tmp_path / "copies")) > 0
    assert os.listdir(home.custody / "destructions") == []


def test_l5_the_statement_tells_what_when_why_how_and_by_whom_in_two_languages(
    home: Home, scope: Scope, people: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERP_SIGNING_KEY", str(custody_of.key(tmp_path, "archive")))
    signed(home, scope, people)
    stone = destroy(home, scope)
    dutch, _, english = stone.path.with_suffix(".md").read_text().partition("\n---\n")
    for text in (dutch, english):
        for fact in (
            custody_of.URN,
            "Selectielijst voorbeeld",
            "12.3",
            "P10Y",
            "2024-03-01",
            "v1 2014-03-01",
            "SHA-512",
        ):
            assert fact in text
        for fact in ("A. Archivist", "B. Archivist", stone.plain["destroyed"], "place second", "urn:terp:derived:3"):
            assert fact in text
    assert "Verklaring van vernietiging" in dutch
    assert stone.path.with_suffix(".md.sig").read_bytes().startswith(b"-----BEGIN SSH SIGNATURE")


def test_l5_openssh_verifies_both_signatures_as_the_statement_says(
    home: Home, scope: Scope, people: list[Path]
) -> None:
    signed(home, scope, people)
    stone = destroy(home, scope)
    text = stone.path.with_suffix(".md").read_text().rpartition("```text\n")[2].partition("```")[0]
    done = subprocess.run(["sh", "-e", "-c", text], cwd=stone.path.parent, capture_output=True, text=True)
    assert done.stdout.count('Good "file" signature') == 2, done.stderr
    (stone.path.parent / "signer").unlink()


def test_a_person_may_sign_with_openssh_itself(home: Home, scope: Scope, people: list[Path]) -> None:
    _, _, proposal = propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    assert proposal is not None
    for one in people:
        command = ["ssh-keygen", "-Y", "sign", "-f", one, "-n", "file", proposal.path]
        subprocess.run(command, capture_output=True, check=True)
        made = Path(f"{proposal.path}.sig")
        sign(home, custody_of.URN, scope, made, custody_of.TODAY)
        made.unlink()
    destroy(home, scope)


def test_d4_the_identifier_of_what_was_destroyed_tells_of_it(home: Home, scope: Scope, people: list[Path]) -> None:
    signed(home, scope, people)
    destroy(home, scope)
    for ask in (
        lambda: tombstone.demand_none(home.custody, custody_of.URN),
        lambda: propose(home, custody_of.URN, scope, "A", custody_of.TODAY),
        lambda: destroy(home, scope),
    ):
        with pytest.raises(
            Destroyed, match=r"was destroyed on 20.*ground: Selectielijst voorbeeld 12\.3, statement at"
        ):
            ask()
    card = tombstone_card(tombstone.path_of(home.custody, custody_of.URN))
    assert card is not None, "the catalog reads the same tombstones"
    assert (card.identifier, card.state, card.title) == (custody_of.URN, "destroyed", "Results of the flow noise")
    events = Events(home.custody).of(custody_of.URN)
    assert events[-1]["facts"]["signed"] == ["A. Archivist", "B. Archivist"]
    assert [one["event"] for one in events] == [
        *("destruction proposed", "destruction signed", "destruction signed", "destroying", "destroyed")
    ]


# when something is in the way


class Away(Folder):
    """A place that does not answer."""

    def list(self, prefix: str = "") -> Iterator[Stored]:
        raise PlaceTrouble(f"the place {self.name} does not answer")


def test_a_place_that_does_not_answer_leaves_it_unfinished_and_the_same_goes_on(
    home: Home, scope: Scope, people: list[Path], tmp_path: Path
) -> None:
    signed(home, scope, people)
    away = replace(scope, places={"second": Away("second", tmp_path / "copies")})
    with pytest.raises(Unfinished, match="the place second does not answer"):
        destroy(home, away)
    stone = tombstone.find(home.custody, custody_of.URN)
    assert stone is not None
    assert stone.plain["remains"] == ["the place second does not answer"]
    assert Archive(home.archive).list() == [custody_of.OTHER]
    with pytest.raises(Destroyed, match="is being destroyed since"):
        tombstone.demand_none(home.custody, custody_of.URN)
    with pytest.raises(Unfinished, match="is not registered any more"):
        destroy(home, replace(scope, places={}))
    assert destroy(home, scope).state == tombstone.DESTROYED


def test_all_places_have_to_answer_once_before_anything_is_proposed(home: Home, scope: Scope, tmp_path: Path) -> None:
    away = replace(scope, places={"second": Away("second", tmp_path / "copies")})
    _, wrong, proposal = propose(home, custody_of.URN, away, "A", custody_of.TODAY)
    assert (wrong, proposal) == (["all has to be seen once: the place second does not answer"], None)


def test_what_appears_meanwhile_is_found_by_the_proof(
    home: Home, scope: Scope, people: list[Path], tmp_path: Path
) -> None:
    data = Archive(home.archive).files(custody_of.URN)["result.zarr.zip"].read_bytes()
    signed(home, scope, people)
    with pytest.raises(Unfinished):
        destroy(home, replace(scope, places={"second": Away("second", tmp_path / "copies")}))
    (home.root / "mine.zip").write_bytes(data)
    (tmp_path / "copies/lost.zip").write_bytes(data)
    with pytest.raises(Unfinished) as unfinished:
        destroy(home, scope)
    assert "mine.zip, which is v1/content/result.zarr.zip" in str(unfinished.value)
    assert "lost.zip in the place second, which is v1/content/result.zarr.zip" in str(unfinished.value)
    (home.root / "mine.zip").unlink()
    (tmp_path / "copies/lost.zip").unlink()
    assert destroy(home, scope).plain["remains"] == []


def test_a_folder_that_cannot_be_removed_leaves_it_unfinished(
    home: Home, scope: Scope, people: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    signed(home, scope, people)
    honest = os.rmdir

    def refuse(path: object, **options: object) -> None:
        if "key" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        honest(path, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", refuse)
        with pytest.raises(DiskTrouble):
            destroy(home, scope)
    assert destroy(home, scope).state == tombstone.DESTROYED


def test_an_altered_tombstone_leads_nowhere_else(home: Home, scope: Scope, people: list[Path], tmp_path: Path) -> None:
    signed(home, scope, people)
    with pytest.raises(Unfinished):
        destroy(home, replace(scope, places={"second": Away("second", tmp_path / "copies")}))
    (tmp_path / "precious").write_text("mine")
    stone = tombstone.find(home.custody, custody_of.URN)
    assert stone is not None
    tombstone.write(home.custody, {**stone.plain, "paths": ["../precious"]})
    with pytest.raises(BadPackage, match="leads elsewhere"):
        destroy(home, scope)
    assert (tmp_path / "precious").read_text() == "mine"


def known_copy(home: Home) -> None:
    Known(home.custody).write(Copy(custody_of.URN, "second", "folder", "whole", "v1", "ab"))


def test_a_known_copy_that_is_not_seen_where_it_should_be_is_no_copy_that_is_gone(
    home: Home, scope: Scope, tmp_path: Path
) -> None:
    known_copy(home)
    (tmp_path / "not mounted").mkdir()
    moved = replace(scope, places={"second": Folder("second", tmp_path / "not mounted")})
    _, wrong, proposal = propose(home, custody_of.URN, moved, "A", custody_of.TODAY)
    assert proposal is None
    assert "the place second has nothing of it, though a whole copy is known to be there" in wrong[0]


@pytest.mark.parametrize("inner", ["", "data.zarr"])
def test_a_product_that_is_a_link_is_refused_for_its_bytes_would_stay(
    home: Home, scope: Scope, tmp_path: Path, inner: str
) -> None:
    one = home.products / "key" / inner
    one.rename(tmp_path / "scratch")
    one.symlink_to(tmp_path / "scratch")
    _, wrong, proposal = propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    assert proposal is None
    assert f"is a link to {tmp_path / 'scratch'}: the bytes there would stay" in wrong[0]


def test_what_is_left_is_looked_for_where_products_are_on_scratch(
    home: Home, scope: Scope, people: list[Path], tmp_path: Path
) -> None:
    home.products.rename(tmp_path / "scratch")
    home.products.symlink_to(tmp_path / "scratch")
    stray = home.products / "other"
    stray.write_bytes(Archive(home.archive).files(custody_of.URN)["result.zarr.zip"].read_bytes())
    signed(home, scope, people)
    destroy(home, scope)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_decision_that_was_altered_in_the_archive_decides_nothing(home: Home, scope: Scope) -> None:
    no_term = ('[bewaartermijn]\nlooptijd = "P10Y"\ntrigger = "Creatie"', "")
    custody_of.put(home, custody_of.policy(('waardering = "V"', 'waardering = "B"'), no_term))
    path = Archive(home.archive).files(custody_of.URN)["policy.toml"]
    path.chmod(0o644)
    path.write_bytes(custody_of.policy())
    _, wrong, proposal = propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    assert proposal is None
    assert "is not the decision that was stored" in wrong[0]


def test_a_product_of_others_is_not_broken_for_a_file_that_is_the_same(home: Home, scope: Scope) -> None:
    other = home.products / "other"
    other.mkdir()
    (other / "product.json").write_text("{}")
    (other / "c0").write_bytes(Archive(home.archive).files(custody_of.URN)["result.zarr.zip"].read_bytes())
    _, wrong, proposal = propose(home, custody_of.URN, scope, "A", custody_of.TODAY)
    assert proposal is None
    assert "products/other/c0 is the same as v1/content/result.zarr.zip, and a part of the product other" in wrong[0]


def test_what_is_something_else_when_it_goes_on_stays(
    home: Home, scope: Scope, people: list[Path], tmp_path: Path
) -> None:
    stray = home.cache / "stray"
    stray.parent.mkdir()
    stray.write_bytes(Archive(home.archive).files(custody_of.URN)["result.zarr.zip"].read_bytes())
    signed(home, scope, people)
    with pytest.raises(Unfinished):
        destroy(home, replace(scope, places={"second": Away("second", tmp_path / "copies")}))
    assert not stray.exists()
    stray.write_text("somebody's work of today")
    assert destroy(home, scope).state == tombstone.DESTROYED
    assert stray.read_text() == "somebody's work of today"


def test_what_is_archived_again_while_it_is_looked_at_stays(
    home: Home, scope: Scope, people: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    signed(home, scope, people)
    append = Events.append

    def archive_meanwhile(self: Events, identifier: str, event: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        if event == DESTROYING:
            custody_of.put(home, custody_of.policy(('waardering = "V"', 'waardering = "N"')))
        return append(self, identifier, event, facts)

    monkeypatch.setattr(Events, "append", archive_meanwhile)
    assert "its versions changed since it was proposed" in refusal(lambda: destroy(home, scope))
    assert Archive(home.archive).head(custody_of.URN) == "v2"
    assert tombstone.find(home.custody, custody_of.URN) is None
