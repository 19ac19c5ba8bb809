"""Repair: what an audit finds is mended from what is sound elsewhere, and noted."""

from terp.storage.repair.repair import Mended, Outcome, repair

__all__ = ["Mended", "Outcome", "repair"]
