"""ZIPs of small files that only have to stay together: the same content gives the same bytes.

What holds a Zarr group, and may be of any size, is a package (see package.py).
"""

import zipfile
from collections.abc import Iterable
from typing import IO

_DATE = (1980, 1, 1, 0, 0, 0)
_STORED_AS = 0o100644 << 16  # a plain file that its owner may write


def write_zip(target: IO[bytes], members: Iterable[tuple[str, bytes]], deflated: bool = False) -> None:
    """Write members, by name and content, in the order in which they come: stored as they are, or deflated.

    What is deflated has the same bytes where zlib is the same.
    """
    method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w") as made:
        for name, data in members:
            member = zipfile.ZipInfo(name, _DATE)
            member.create_system, member.external_attr = 3, _STORED_AS  # else it is that of this machine
            made.writestr(member, data, method)
