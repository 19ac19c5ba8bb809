"""The archive: an OCFL storage root of packages, and all that is done with what rests there."""

from terp.storage.archive.objects import Archive, Receipt

__all__ = ["Archive", "Receipt"]
