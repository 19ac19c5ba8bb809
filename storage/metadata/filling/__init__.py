"""The metadata of an archived object, filled from what is known of it: its record, its policy, and what it covers.

Pure functions of a `Kept`: the same values give the same metadata. `missing` tells beforehand what nobody has
said, and `with_history` adds to PREMIS what happened afterwards.
"""

from terp.storage.metadata.filling.citation import datacite_of
from terp.storage.metadata.filling.history import with_history
from terp.storage.metadata.filling.information import bestand, informatieobject
from terp.storage.metadata.filling.kept import Kept
from terp.storage.metadata.filling.lacking import missing
from terp.storage.metadata.filling.preservation import migration, premis_of

__all__ = ["Kept", "bestand", "datacite_of", "informatieobject", "migration", "missing", "premis_of", "with_history"]
