"""MDTO of an archived object and of its files. Texts are in Dutch, as those who read MDTO read it."""

from datetime import date

from terp.storage.archive.policy import OPENNESS, Beperking, after
from terp.storage.metadata import mdto
from terp.storage.metadata.coverage import Coverage, Direction
from terp.storage.metadata.filling.kept import SOURCE, Kept, time
from terp.storage.metadata.formats import format_of
from terp.storage.metadata.mdto import lists
from terp.storage.provenance import Output

_OWN = "Begrippenlijst terp (FORMATS.md in hetzelfde object)"
_RELATIONS = "Begrippenlijst Relatietypen informatieobject MDTO"
_PARTIES = "Begrippenlijst Relatietypen betrokkene MDTO"
_EARTH = "Omhullende rechthoek in graden (west,zuid,oost,noord), WGS 84"
_EVENTS = ("Creatie", "Ontvangst", "Opname", "Bevriezing", "Overbrenging", "Publicatie")  # a term may begin with


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
        event=_events(kept),
        waardering=mdto.waardering(policy.waardering),
        bewaartermijn=_term(kept),
        informatiecategorie=_category(kept),
        heeftRepresentatie=tuple(mdto.verwijzing(one.file, kept.name_of(one.file), SOURCE) for one in kept.payload),
        aanvullendeMetagegevens=tuple(
            mdto.verwijzing(name, kept.name_of(name), SOURCE)
            for name in dict.fromkeys((*kept.beside, *policy.aanvullendeMetagegevens))
        ),
        gerelateerdInformatieobject=_read(kept),
        archiefvormer=(_organisation(kept),),
        betrokkene=_parties(kept),
        activiteit=_activity(kept),
        beperkingGebruik=_restrictions(kept),
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


def _term(kept: Kept) -> mdto.Termijn | None:
    """Return for how long it is kept; when that ends where it is known when it began."""
    term = kept.policy.bewaartermijn
    if term is None:
        return None
    begins = {"Creatie": kept.record.ended.date(), "Opname": kept.archived.date()}
    start = term.start or begins.get(term.trigger)
    return mdto.Termijn(
        termijnTriggerStartLooptijd=mdto.begrip(term.trigger, lists.EVENTS if term.trigger in _EVENTS else _list(kept)),
        termijnStartdatumLooptijd=start.isoformat() if start else None,
        termijnLooptijd=term.looptijd,
        termijnEinddatum=after(start, term.looptijd).isoformat() if start else None,
    )


def _list(kept: Kept) -> str:
    chosen = kept.policy.selectielijst
    return f"{chosen.naam} (vastgesteld {chosen.vastgesteld}, geldig tot {chosen.geldigTot})"


def _category(kept: Kept) -> mdto.Begrip:
    chosen = kept.policy.selectielijst
    known = mdto.verwijzing(_list(kept), chosen.verwijzing, "vindplaats van de selectielijst")
    return mdto.Begrip(begripLabel=chosen.categorie, begripCode=chosen.categorie, begripBegrippenlijst=known)


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
    found.append(("Besluitnemer", _OWN, mdto.verwijzing(policy.decision.by)))
    return tuple(
        mdto.Betrokkene(betrokkeneTypeRelatie=mdto.begrip(role, known), betrokkeneActor=who)
        for role, known, who in found
    )


def _activity(kept: Kept) -> mdto.Verwijzing | None:
    agent = kept.told.agent
    name = agent.project or agent.grant
    return mdto.verwijzing(name, agent.grant, "Subsidie") if name else None


def _restrictions(kept: Kept) -> tuple[mdto.BeperkingGebruik, ...]:
    """Return the restrictions of the policy; without any, whether it is open or private."""
    policy, rights = kept.policy, kept.policy.rights
    licence = (mdto.verwijzing(rights.licence_name, rights.licence, "Licentie"),)
    if policy.beperkingGebruik:
        return tuple(_restriction(kept, one, licence) for one in policy.beperkingGebruik)
    is_open, decided = policy.decision.openness == "open unless", policy.decision
    told = f"{OPENNESS[decided.openness]}: besloten door {decided.by} op {decided.on}, op grond van: {decided.ground}. "
    told += f"Doel van het gebruik: {decided.purpose}. Licentie: {rights.licence_name}."
    kind = mdto.begrip("Geen beperking" if is_open else "Overig", lists.BEPERKINGEN)
    only = mdto.BeperkingGebruik(
        beperkingGebruikType=kind, beperkingGebruikNadereBeschrijving=told, beperkingGebruikDocumentatie=licence
    )
    return (only,)


def _restriction(kept: Kept, one: Beperking, licence: tuple[mdto.Verwijzing, ...]) -> mdto.BeperkingGebruik:
    start: date = one.start or kept.archived.date()
    about = f"Geldt voor: {', '.join(one.variables)}." if one.variables else ""
    term = mdto.Termijn(
        termijnStartdatumLooptijd=start.isoformat(),
        termijnLooptijd=one.looptijd,
        termijnEinddatum=after(start, one.looptijd).isoformat(),
    )
    return mdto.BeperkingGebruik(
        beperkingGebruikType=mdto.begrip(
            one.type, lists.BEPERKINGEN if one.type in lists.BEPERKING_LABELS else "Beperkingen van de archiefvormer"
        ),
        beperkingGebruikNadereBeschrijving=" ".join(filter(None, (one.grond, one.toelichting, about))),
        beperkingGebruikDocumentatie=licence,
        beperkingGebruikTermijn=term,
    )
