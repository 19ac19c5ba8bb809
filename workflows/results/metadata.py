"""The metadata of what is about to be archived, in the words of MDTO, PREMIS and DataCite: filled by themselves."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from terp.storage import files
from terp.storage.archive import Archive
from terp.storage.archive.policy import Policy
from terp.storage.archive.terms import known_since
from terp.storage.errors import BadMetadata
from terp.storage.home import Home
from terp.storage.metadata import datacite, mdto, premis
from terp.storage.metadata.coverage import covered
from terp.storage.metadata.filling import Kept, bestand, datacite_of, informatieobject, migration, missing, premis_of
from terp.storage.product import StoredProduct
from terp.storage.provenance import Record

MDTO, PREMIS, DATACITE = "mdto.xml", "premis.xml", "datacite.xml"
OF_FILE = ".mdto.xml"  # behind the name of a package: what MDTO tells of that file


def write_metadata(
    home: Home,
    identifier: str,
    record: Record,
    policy: Policy,
    products: Iterable[StoredProduct],
    migrations: Iterable[Mapping[str, Any]],
    folder: Path,
    archived: datetime,
) -> None:
    """Write what the standards ask for into the folder of an object: of the outputs of the record, its files by now.

    `archived` is when it is taken into the archive. Raises BadMetadata that names what nobody has said.
    """
    if lacking := missing(policy, record, archived):
        wanted = "\n".join(f"  {one}" for one in lacking)
        raise BadMetadata(f"{record.run} is not archived: its metadata would not be complete:\n{wanted}")
    covers = covered(product.open(group.path) for product in products for group in product.groups)
    version = f"v{Archive(home.archive).newest(identifier) + 1}"
    first = known_since(home.archive, identifier)
    kept = Kept(identifier, record, policy, archived, covers, version, first=first)
    written = {
        MDTO: mdto.write(informatieobject(kept)),
        PREMIS: premis.write(premis_of(kept, [migration(kept, told) for told in migrations])),
        DATACITE: datacite.write(datacite_of(kept)),
        **{f"{one.file}{OF_FILE}": mdto.write(bestand(kept, one)) for one in kept.payload},
    }
    for name, data in written.items():
        files.replace(folder / name, data)
