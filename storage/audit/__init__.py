"""Fixity: all that is kept is read again, in every place, by code that shares nothing with what wrote it."""

from terp.storage.audit.damage import Damage, Spot
from terp.storage.audit.report import Report
from terp.storage.audit.run import Order, audit

__all__ = ["Damage", "Order", "Report", "Spot", "audit"]
