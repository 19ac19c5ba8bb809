"""What was decided over an object, in MDTO: for how long it is kept, what is restricted, why, and until when."""

from collections.abc import Iterator

from terp.storage.archive.policy import FREE, LONGEST, OPENNESS, Beperking, Policy
from terp.storage.archive.terms import MADE, TAKEN, Terms
from terp.storage.metadata import mdto
from terp.storage.metadata.mdto import lists

_EVENTS = (MADE, "Ontvangst", TAKEN, "Bevriezing", "Overbrenging", "Publicatie")  # a term may begin with


def bewaartermijn(terms: Terms) -> mdto.Termijn | None:
    """Return for how long it is kept; when that ends where it is known when it began."""
    term, start, end = terms.policy.bewaartermijn, terms.kept_from, terms.kept_until
    if term is None:
        return None
    known = lists.EVENTS if term.trigger in _EVENTS else list_of(terms.policy)
    return mdto.Termijn(
        termijnTriggerStartLooptijd=mdto.begrip(term.trigger, known),
        termijnStartdatumLooptijd=start.isoformat() if start else None,
        termijnLooptijd=term.looptijd,
        termijnEinddatum=end.isoformat() if end else None,
    )


def list_of(policy: Policy) -> str:
    """Return the selection list in words."""
    chosen = policy.selectielijst
    return f"{chosen.naam} (vastgesteld {chosen.vastgesteld}, geldig tot {chosen.geldigTot})"


def category(policy: Policy) -> mdto.Begrip:
    """Return the category of the selection list on which the appraisal rests."""
    chosen = policy.selectielijst
    known = mdto.verwijzing(list_of(policy), chosen.verwijzing, "vindplaats van de selectielijst")
    return mdto.Begrip(begripLabel=chosen.categorie, begripCode=chosen.categorie, begripBegrippenlijst=known)


def restrictions(terms: Terms) -> tuple[mdto.BeperkingGebruik, ...]:
    """Return the restrictions of a decision; what is open or private as a whole is one that says so."""
    return tuple(_restrictions(terms))


def _restrictions(terms: Terms) -> Iterator[mdto.BeperkingGebruik]:
    policy = terms.policy
    for one in policy.beperkingGebruik:
        yield _restriction(terms, one)
    if terms.private_until or not policy.beperkingGebruik:
        yield _whole(terms)


def _whole(terms: Terms) -> mdto.BeperkingGebruik:
    policy, decided, until = terms.policy, terms.policy.decision, terms.private_until
    told = f"{OPENNESS[decided.openness]}: besloten door {decided.by} op {decided.on}, op grond van: {decided.ground}. "
    told += f"Doel van het gebruik: {decided.purpose}. Licentie: {policy.rights.licence_name}."
    made = mdto.Termijn(
        termijnTriggerStartLooptijd=mdto.begrip(MADE, lists.EVENTS),
        termijnStartdatumLooptijd=terms.first.made.isoformat(),
        termijnLooptijd=LONGEST,
        termijnEinddatum=until.isoformat() if until else None,
    )
    return mdto.BeperkingGebruik(
        beperkingGebruikType=mdto.begrip("Overig" if until else FREE, lists.BEPERKINGEN),
        beperkingGebruikNadereBeschrijving=told,
        beperkingGebruikDocumentatie=(licence(policy),),
        beperkingGebruikTermijn=made if until else None,
    )


def _restriction(terms: Terms, one: Beperking) -> mdto.BeperkingGebruik:
    about = f"Geldt voor: {', '.join(one.variables)}." if one.variables else ""
    known = lists.BEPERKINGEN if one.type in lists.BEPERKING_LABELS else "Beperkingen van de archiefvormer"
    term = mdto.Termijn(
        termijnTriggerStartLooptijd=None if one.start else mdto.begrip(MADE, lists.EVENTS),
        termijnStartdatumLooptijd=terms.closed_from(one).isoformat(),
        termijnLooptijd=one.looptijd,
        termijnEinddatum=terms.closed_until(one).isoformat(),
    )
    return mdto.BeperkingGebruik(
        beperkingGebruikType=mdto.begrip(one.type, known),
        beperkingGebruikNadereBeschrijving=" ".join(filter(None, (one.grond, one.toelichting, about))),
        beperkingGebruikDocumentatie=(licence(terms.policy),),
        beperkingGebruikTermijn=term,
    )


def licence(policy: Policy) -> mdto.Verwijzing:
    """Return the licence, as what documents the use."""
    return mdto.verwijzing(policy.rights.licence_name, policy.rights.licence, "Licentie")
