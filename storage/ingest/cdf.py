"""How long a classic netCDF file says it is.

The netCDF library fills what is missing at the end of a classic file with zeros and says nothing; so its header
is read here. Source: NetCDF User's Guide, appendix B.1 "The NetCDF Classic Format Specification", and the CDF-5
specification of PnetCDF.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from terp.storage.errors import BadInput

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}  # bytes of each nc_type
_MOST_NAME = 1 << 16


def promised_size(path: Path) -> int:
    """Bytes up to the end of the last value that the header promises; 0 where it is not a classic file.

    Raises BadInput for a header that ends early or makes no sense.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        if magic[:3] != b"CDF" or magic[3:] not in (b"\x01", b"\x02", b"\x05"):
            return 0
        try:
            return _Header(file, version=magic[3]).end()
        except (struct.error, KeyError, IndexError, OverflowError, MemoryError) as error:
            raise BadInput(
                f"{path} begins as classic netCDF but its header is cut short or damaged; fetch it again."
            ) from error


@dataclass(frozen=True)
class _Header:
    file: BinaryIO
    version: int

    def end(self) -> int:
        """The largest offset of any value."""
        records = self._count()
        lengths = self._dims()
        self._attributes()
        variables = [self._variable(lengths) for _ in range(self._list())]
        streaming = records == (1 << (64 if self.version == 5 else 32)) - 1
        return self._last(variables, 0 if streaming else records)

    @staticmethod
    def _last(variables: list[tuple[bool, int, int]], records: int) -> int:
        """Each variable is (per record?, bytes, offset); records interleave the padded slices of all that have them."""
        sliced = [size for per_record, size, _ in variables if per_record]
        step = sliced[0] if len(sliced) == 1 else sum(_padded(size) for size in sliced)
        ends = [begin + size for per_record, size, begin in variables if not per_record]
        ends += [begin + (records - 1) * step + size for per_record, size, begin in variables if per_record and records]
        return max(ends, default=0)

    def _variable(self, lengths: list[int]) -> tuple[bool, int, int]:
        self._name()
        shape = [lengths[self._count()] for _ in range(self._count())]
        self._attributes()
        size = _SIZES[self._int()]
        self._count()  # vsize: wrong by design for large variables, so not used
        begin = self._unpack(">i") if self.version == 1 else self._unpack(">q")
        per_record = bool(shape) and shape[0] == 0
        return per_record, size * math.prod(shape[1:] if per_record else shape), begin

    def _dims(self) -> list[int]:
        return [self._named_count() for _ in range(self._list())]

    def _named_count(self) -> int:
        self._name()
        return self._count()

    def _attributes(self) -> None:
        for _ in range(self._list()):
            self._name()
            kind = self._int()
            self.file.seek(_padded(_SIZES[kind] * self._count()), 1)

    def _list(self) -> int:
        self._int()  # the tag; an absent list is a zero tag and a zero count
        return self._count()

    def _name(self) -> None:
        length = self._count()
        if length > _MOST_NAME:
            raise OverflowError("no name is that long")
        self.file.seek(_padded(length), 1)

    def _int(self) -> int:
        return self._unpack(">I")

    def _count(self) -> int:
        return self._unpack(">Q") if self.version == 5 else self._unpack(">I")

    def _unpack(self, form: str) -> int:
        (value,) = struct.unpack(form, self.file.read(struct.calcsize(form)))
        return int(value)


def _padded(size: int) -> int:
    return -(-size // 4) * 4
