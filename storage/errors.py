"""What can go wrong with bytes. Exit codes are those of BSD sysexits.

StorageError
├── BadInput        a source is not what it says, or lacks what was asked for
├── BadProduct      a product cannot be read as what it should be
│   ├── OtherFormat a product was made by a terp that writes another format
│   ├── Damaged     a stored shard is not the one that was recorded
│   └── Missing     a shard was never recorded
├── Busy            another controller works on the product
├── Fenced          a newer controller took the product over
├── DiskTrouble     the file system refused: full, read-only, I/O error
├── BadPackage      a package or archive object does not hold together
│   └── Destroyed   an archived object was destroyed: its statement tells when and why
├── MustStay        what is archived may not be destroyed, or not yet
├── Unfinished      something has begun that the same command finishes later
├── BadQuery        what was asked of the catalog cannot be read
├── CannotMigrate   another form cannot hold all of a product, or is not the same
├── BadPolicy       a policy lacks a decision, or forbids what was asked
├── BadPlaces       the file of places of copies does not say where they are
├── PlaceTrouble    a place of copies does not answer, or refused
│   └── NotStaged   what was asked for is still on tape
├── BadMetadata     metadata cannot be written, or read, as the standard has it
└── BadKey          a key cannot be used to sign, or a signature is not one
"""


class StorageError(Exception):
    """Base of all that storage raises; the message is for people."""

    exit_code = 1


class BadInput(StorageError):
    """A source is not what it says, or lacks what was asked for."""

    exit_code = 65


class BadProduct(StorageError):
    """A product cannot be read as what it should be."""

    exit_code = 65


class OtherFormat(BadProduct):
    """A product was made by a terp that writes another format."""


class Damaged(BadProduct):
    """A stored shard is not the one that was recorded."""

    def __init__(self, message: str, product: str = "") -> None:
        super().__init__(message)
        self.product = product  # its key, where known

    def __reduce__(self) -> tuple[type["Damaged"], tuple[str, str]]:
        return type(self), (str(self), self.product)


class Missing(Damaged):
    """A shard was never recorded, or its file is gone."""


class Busy(StorageError):
    """Another controller works on the product."""

    exit_code = 69


class Fenced(StorageError):
    """A newer controller took the product over; this one must stop."""

    exit_code = 69


class DiskTrouble(StorageError):
    """The file system refused: full, read-only, an I/O error."""

    exit_code = 74


class BadPackage(StorageError):
    """A package or archive object does not hold together."""

    exit_code = 65


class CannotMigrate(StorageError):
    """Another form cannot hold all that a product is, or does not hold the same."""

    exit_code = 65


class BadMetadata(StorageError):
    """Metadata cannot be written, or read, as the standard has it."""

    exit_code = 65


class Destroyed(BadPackage):
    """An archived object was destroyed, or is being destroyed: its tombstone tells when, why and by whom."""


class MustStay(StorageError):
    """What is archived may not be destroyed, or not yet: each condition that is not met is named."""

    exit_code = 77


class Unfinished(StorageError):
    """Something has begun and cannot be ended now; the same command goes on."""

    exit_code = 75


class BadKey(StorageError):
    """A key cannot be used to sign, or a signature is not one."""

    exit_code = 65


class BadQuery(StorageError):
    """What was asked of the catalog cannot be read."""

    exit_code = 64


class BadPolicy(StorageError):
    """A policy lacks a decision, or forbids what was asked."""

    exit_code = 78


class BadPlaces(StorageError):
    """The file of places of copies does not say where they are."""

    exit_code = 78


class PlaceTrouble(StorageError):
    """A place of copies does not answer, or refused."""

    exit_code = 74


class NotStaged(PlaceTrouble):
    """What was asked for is still on tape; exit code 75: the same command goes on later."""

    exit_code = 75
