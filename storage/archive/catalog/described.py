"""What the metadata of an object tell for its card: RO-Crate, recipe, MDTO, policy, digests of inputs.

Each takes the bytes of one file and adds to a draft. Files may be of anyone's making: what is not of the form that is
looked for tells nothing. Raises ValueError where a file is not JSON, XML or TOML at all.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree as ET

import orjson

from terp.storage.archive.catalog.card import Draft, Input, Person, text

_MDTO = "{https://www.nationaalarchief.nl/mdto}"
_MOST_INPUTS = 10_000
_ORCID = re.compile(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _json(data: bytes) -> dict[str, Any]:
    found = orjson.loads(data)
    return found if isinstance(found, dict) else {}


# RO-Crate


def crate(data: bytes, draft: Draft) -> None:
    """Title, description, licence, run and people, as the root of an RO-Crate tells them."""
    graph = _list(_json(data).get("@graph"))
    entities = {one["@id"]: one for one in graph if isinstance(one, dict) and isinstance(one.get("@id"), str)}
    about = _named(entities.get("ro-crate-metadata.json", {}).get("about"), entities) or entities.get("./", {})
    draft.say(
        title=text(about.get("name")),
        description=text(about.get("description")),
        run=text(about.get("identifier")),
        licence=", ".join(_licences(about, entities)),
    )
    draft.add("people", _people(about, entities))
    draft.add("identifiers", filter(None, map(_identifier, _list(about.get("cite-as")))))


def _named(reference: Any, entities: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the entity that a reference names, or what stands there itself."""
    if isinstance(reference, dict) and isinstance(reference.get("@id"), str):
        return entities.get(reference["@id"], reference)
    return {}


def _licences(about: dict[str, Any], entities: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    for one in _list(about.get("license")):
        entity = _named(one, entities)
        names = (text(entity.get("name")), text(entity.get("@id")) if not isinstance(one, str) else text(one))
        yield " ".join(name for name in names if name and not name.startswith("#"))


def _people(about: dict[str, Any], entities: Mapping[str, dict[str, Any]]) -> Iterator[Person]:
    for role, name in (("author", "author"), ("author", "creator"), ("publisher", "publisher")):
        for one in _list(about.get(name)):
            entity = _named(one, entities)
            where = [text(_named(part, entities).get("name")) for part in _list(entity.get("affiliation"))]
            orcid = _ORCID.search(text(entity.get("@id")) or "")
            if (who := text(entity.get("name"))) and _stated(entity):
                stated = [part for part in where if part and part != "No organisation stated"]
                yield Person(who, role, orcid.group() if orcid else "", ", ".join(stated))


def _stated(entity: dict[str, Any]) -> bool:
    """Say whether it is someone; the crate has an organisation for those who stated none."""
    return ".invalid/" not in text(entity.get("@id"))


def _identifier(value: Any) -> str:
    return text(value.get("@id") if isinstance(value, dict) else value)


# terp's own files


def recipe(data: bytes, draft: Draft) -> None:
    """Flow and run, as `replay.json` tells them."""
    plain = _json(data)
    draft.say(flow=text(plain.get("flow")), run=text(plain.get("run")))


def inputs(data: bytes, draft: Draft) -> None:
    """The files that were read, as `inputs.sha256` tells them (lines of sha256sum)."""
    lines = (line.partition("  ") for line in data.decode(errors="replace").splitlines()[:_MOST_INPUTS])
    draft.add("inputs", (Input(text(name), digest) for digest, _, name in lines if len(digest) == 64))


# MDTO and the policy


def mdto(data: bytes, draft: Draft) -> None:
    """Title, classification, coverage in time and people, as an MDTO informatieobject tells them."""
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("it has a document type, which MDTO has not")
    try:
        root = ET.fromstring(data).find(f"{_MDTO}informatieobject")  # noqa: S314 (document types, and so entities, are refused)
    except ET.ParseError as error:
        raise ValueError(f"it is no XML: {error}") from None
    if root is None:
        return
    inside: Callable[[str], str] = lambda path: text(root.findtext(_path(path)))  # noqa: E731
    draft.say(
        title=inside("naam"),
        description=inside("omschrijving"),
        waardering=inside("waardering/begripCode"),
        category=" ".join(
            filter(None, map(inside, ("informatiecategorie/begripCode", "informatiecategorie/begripLabel")))
        ),
        keep_until=inside("bewaartermijn/termijnEinddatum"),
        openness=_openness(_all(root, "beperkingGebruik/beperkingGebruikType/begripLabel")),
        ground=", ".join(_all(root, "beperkingGebruik/beperkingGebruikNadereBeschrijving")),
        begin=min(_all(root, "dekkingInTijd/dekkingInTijdBegindatum"), default=""),
        end=max(
            _all(root, "dekkingInTijd/dekkingInTijdEinddatum") or _all(root, "dekkingInTijd/dekkingInTijdBegindatum"),
            default="",
        ),
    )
    draft.add("identifiers", _all(root, "identificatie/identificatieKenmerk"))
    draft.add("people", (Person(one, "archiefvormer") for one in _all(root, "archiefvormer/verwijzingNaam")))
    draft.add("people", (Person(one, "betrokkene") for one in _all(root, "betrokkene/betrokkeneActor/verwijzingNaam")))


def _path(path: str) -> str:
    return "/".join(f"{_MDTO}{part}" for part in path.split("/"))


def _all(root: ET.Element, path: str) -> list[str]:
    return list(filter(None, (text(one.text) for one in root.iterfind(_path(path)))))


def _openness(kinds: list[str]) -> str:
    free = [kind.casefold().startswith("geen beperking") for kind in kinds]
    return "" if not kinds else "open" if all(free) else "restricted"


def policy(data: bytes, draft: Draft) -> None:
    """Classification, licence and who answers for it, as the decision to archive tells them (`policy.toml`)."""
    plain = _decision(data)
    part: Callable[[str], dict[str, Any]] = lambda name: found if isinstance(found := plain.get(name), dict) else {}  # noqa: E731
    restrictions = [one for one in _list(plain.get("beperkingGebruik")) if isinstance(one, dict)]
    chosen, decision, rights = part("selectielijst"), part("decision"), part("rights")
    draft.say(
        waardering=text(plain.get("waardering")),
        category=" ".join(filter(None, (text(chosen.get("naam")), text(chosen.get("categorie"))))),
        openness=_decided(text(decision.get("openness")), restrictions),
        ground=", ".join(
            filter(None, [text(decision.get("ground")), *(text(one.get("grond")) for one in restrictions)])
        ),
        licence=" ".join(filter(None, (text(rights.get("licence_name")), text(rights.get("licence"))))),
    )
    roles = {"archiefvormer": part("archiefvormer").get("naam"), "zorgdrager": part("zorgdrager").get("naam")}
    roles |= {"decided": decision.get("by"), "rights": rights.get("holder")}
    draft.add("people", (Person(name, role) for role, one in roles.items() if (name := text(one))))


@lru_cache(maxsize=64)  # many objects are archived under one decision
def _decision(data: bytes) -> dict[str, Any]:
    return tomllib.loads(data.decode())


def _decided(openness: str, restrictions: list[dict[str, Any]]) -> str:
    """Return open, partly (restrictions on some variables) or restricted; "" where nothing is decided."""
    if not openness:
        return ""
    whole = any(not one.get("variables") for one in restrictions)
    return "restricted" if whole or openness != "open unless" else "partly" if restrictions else "open"
