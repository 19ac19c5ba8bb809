"""Places: where copies of archived objects are, of different kinds, behind one small set of words."""

from terp.storage.places.folder import Folder
from terp.storage.places.place import Place, Stored

__all__ = ["Folder", "Place", "Stored"]
