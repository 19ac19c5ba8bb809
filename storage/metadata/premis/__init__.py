"""PREMIS 3.0, what the keeper of an archive notes: what is kept, what happened to it, by whom, on what rights.

Source: PREMIS Data Dictionary for Preservation Metadata, version 3.0, and its XML schema (Library of Congress).
"""

from terp.storage.metadata.premis.model import Agent, Event, Premis, Rights, RightsGranted, RightsStatement, read, write
from terp.storage.metadata.premis.names import Term
from terp.storage.metadata.premis.objects import File, IntellectualEntity, Representation
from terp.storage.metadata.premis.rules import complaints
from terp.storage.metadata.premis.short import (
    EVENT_TYPES,
    agent,
    entity,
    event,
    file,
    relation,
    representation,
    rights,
)

__all__ = [
    "EVENT_TYPES",
    "Agent",
    "Event",
    "File",
    "IntellectualEntity",
    "Premis",
    "Representation",
    "Rights",
    "RightsGranted",
    "RightsStatement",
    "Term",
    "agent",
    "complaints",
    "entity",
    "event",
    "file",
    "read",
    "relation",
    "representation",
    "rights",
    "write",
]
