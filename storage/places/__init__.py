"""Places: where copies of archived objects are, of different kinds, behind one small set of words."""

from terp.storage.places.config import About, Places
from terp.storage.places.folder import Folder
from terp.storage.places.place import Place, Stored
from terp.storage.places.tape import Tape

__all__ = ["About", "Folder", "Place", "Places", "Stored", "Tape"]
