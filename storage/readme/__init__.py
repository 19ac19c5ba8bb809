"""What a reader in some decades needs who has never heard of terp: plain words, in two languages, and every format."""

from importlib.resources import files

from terp.storage.crate import FORMATS, LEESMIJ, README
from terp.storage.provenance import Record
from terp.storage.readme.dutch import leesmij
from terp.storage.readme.english import readme

__all__ = ["formats", "leesmij", "readme", "texts"]


def texts(record: Record, identifier: str = "", signed: bool = False) -> dict[str, str]:
    """Return the texts for people that stand in a crate, by file name; `identifier` is what it can be cited by."""
    return {
        README: readme(record, identifier, signed),
        LEESMIJ: leesmij(record, identifier, signed),
        FORMATS: formats(),
    }


def formats() -> str:
    """Return what each format of an object is: the same text for all."""
    return (files(__name__) / FORMATS).read_text()
