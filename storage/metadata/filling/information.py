"""MDTO of an archived object and of its files. Texts are in Dutch, as those who read MDTO read it."""

from terp.storage.metadata import mdto
from terp.storage.metadata.coverage import Coverage, Direction
from terp.storage.metadata.filling.decided import bewaartermijn, category, restrictions
from terp.storage.metadata.filling.kept import SOURCE, Kept, time
from terp.storage.metadata.formats import format_of
from terp.storage.metadata.mdto import lists
from terp.storage.provenance import Output

_OWN = "Begrippenlijst terp (FORMATS.md in hetzelfde object)"
_RELATIONS = "Begrippenlijst Relatietypen informatieobject MDTO"
_PARTIES = "Begrippenlijst Relatietypen betrokkene MDTO"
_EARTH = "Omhullende rechthoek in graden (west,zuid,oost,noord), WGS 84"


def informatieobject(kept: Kept) -> mdto.Informatieobject:
    """Return what MDTO tells of the object as a whole."""
    record, policy = kept.told, kept.policy
    return mdto.Informatieobject(
        identificatie=(mdto.Identificatie(kept.identifier, SOURCE), mdto.Identificatie(record.run, f"{SOURCE} (run)")),
        naam=record.title,
        aggregatieniveau=mdto.begrip("Archiefstuk", lists.AGGREGATIENIVEAUS),
        trefwoord=tuple(kept.coverage.variables),
        omschrijving=(record.flow.description,) if record.flow.description.strip() else (),
        dekkingInTijd=_in_time(kept.coverage),
        dekkingInRuimte=_in_space(kept.coverage),
        taal=tuple(kept.languages),
        event=_events(kept),
        waardering=mdto.waardering(policy.waardering),
        bewaartermijn=bewaartermijn(kept.terms),
        informatiecategorie=category(policy),
        heeftRepresentatie=tuple(mdto.verwijzing(one.file, kept.name_of(one.file), SOURCE) for one in kept.payload),
        aanvullendeMetagegevens=tuple(
            mdto.verwijzing(name, kept.name_of(name), SOURCE)
            for name in dict.fromkeys((*kept.beside, *policy.aanvullendeMetagegevens))
        ),
        gerelateerdInformatieobject=_read(kept),
        archiefvormer=(_organisation(kept),),
        betrokkene=_parties(kept),
        activiteit=_activity(kept),
        beperkingGebruik=restrictions(kept.terms),
    )


def bestand(kept: Kept, output: Output) -> mdto.Bestand:
    """Return what MDTO tells of one file of the object."""
    known, when = format_of(output.file), time(kept.record.ended)
    return mdto.Bestand(
        identificatie=(mdto.Identificatie(kept.name_of(output.file), SOURCE),),
        naam=output.file,
        omvang=output.size,
        bestandsformaat=mdto.begrip(known.label, known.register, known.key),
        checksum=(mdto.checksum("SHA-512", output.sha512, when), mdto.checksum("SHA-256", output.sha256, when)),
        isRepresentatieVan=mdto.verwijzing(kept.told.title, kept.identifier, SOURCE),
    )


def _in_time(coverage: Coverage) -> tuple[mdto.DekkingInTijd, ...]:
    if not coverage.begin:
        return ()
    kind = mdto.begrip("Periode waar de gegevens over gaan", _OWN)
    span = mdto.DekkingInTijd(
        dekkingInTijdType=kind,
        dekkingInTijdBegindatum=coverage.begin,
        dekkingInTijdEinddatum=coverage.end or None,
    )
    return (span,)


def _in_space(coverage: Coverage) -> tuple[mdto.Verwijzing, ...]:
    places = [_direction(one) for one in coverage.directions]
    if coverage.is_on_earth:
        west, south, east, north = coverage.west, coverage.south, coverage.east, coverage.north
        told = [_degrees(side) for side in (west, south, east, north) if side is not None]
        name = f"lengte {told[0]}° tot {told[2]}°, breedte {told[1]}° tot {told[3]}°"
        places.append(mdto.verwijzing(name, ",".join(told), _EARTH))
    return tuple(places)


def _degrees(value: float) -> str:
    return f"{round(value, 6) + 0.0:.6f}".rstrip("0").rstrip(".")  # never -0


def _direction(one: Direction) -> mdto.Verwijzing:
    where = f"{_degrees(one.longitude)}°, {_degrees(one.latitude)}°"
    name = f"hemelrichting {where} ({one.frame or 'stelsel onbekend'})"
    return mdto.verwijzing(f"{one.name}, {name}" if one.name else name, one.name, "Naam van het veld in de waarneming")


def _events(kept: Kept) -> tuple[mdto.Event, ...]:
    record = kept.told
    maker = _maker(kept)
    made = mdto.Event(
        eventType=mdto.begrip("Creatie", lists.EVENTS),
        eventTijd=time(record.ended),
        eventVerantwoordelijkeActor=maker,
        eventResultaat=f"Berekend met {record.flow.name} ({record.flow.version}), run {record.run}",
    )
    taken = mdto.Event(
        eventType=mdto.begrip("Opname", lists.EVENTS),
        eventTijd=time(kept.archived),
        eventVerantwoordelijkeActor=maker,
        eventResultaat=f"Opgenomen in het archief als {kept.version}, met terp {record.program}",
    )
    return made, taken


def _maker(kept: Kept) -> mdto.Verwijzing:
    agent = kept.told.agent
    return mdto.verwijzing(agent.name, agent.orcid_url, "ORCID")


def _read(kept: Kept) -> tuple[mdto.GerelateerdInformatieobject, ...]:
    kind = mdto.begrip("Refereert aan", _RELATIONS)
    return tuple(
        mdto.GerelateerdInformatieobject(
            gerelateerdInformatieobjectVerwijzing=mdto.verwijzing(one.name, one.identifier, "Bron die gelezen is"),
            gerelateerdInformatieobjectTypeRelatie=kind,
        )
        for one in kept.told.inputs
    )


def _organisation(kept: Kept) -> mdto.Verwijzing:
    one = kept.policy.archiefvormer
    return mdto.verwijzing(one.naam, one.identificatie, one.bron)


def _parties(kept: Kept) -> tuple[mdto.Betrokkene, ...]:
    policy = kept.policy
    found = [("Maker", _OWN, _maker(kept))]
    if keeper := policy.zorgdrager:
        found.append(("Zorgdrager", _OWN, mdto.verwijzing(keeper.naam, keeper.identificatie, keeper.bron)))
    holders = dict.fromkeys((policy.rights.holder, *policy.rights.third_parties))
    found += [("Rechthebbende", _PARTIES, mdto.verwijzing(name)) for name in holders]
    found += [("Financier", _OWN, mdto.verwijzing(one.naam, one.identificatie, "Financier")) for one in kept.funding]
    found.append(("Besluitnemer", _OWN, mdto.verwijzing(policy.decision.by)))
    return tuple(
        mdto.Betrokkene(betrokkeneTypeRelatie=mdto.begrip(role, known), betrokkeneActor=who)
        for role, known, who in found
    )


def _activity(kept: Kept) -> mdto.Verwijzing | None:
    agent = kept.told.agent
    name = agent.project or agent.grant
    return mdto.verwijzing(name, agent.grant, "Subsidie") if name else None
