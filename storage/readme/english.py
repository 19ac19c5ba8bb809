"""README: what a reader in some decades needs to know who has never heard of terp, in plain words."""

from terp.storage.crate import CHECKSUMS, METADATA, SOURCE, contents
from terp.storage.provenance import Output, Record
from terp.storage.scrub import scrub


def readme(record: Record, identifier: str = "", signed: bool = False) -> str:
    """Return the README.md of a crate; `identifier` is the name under which it can be cited and found."""
    record = scrub(record, record.hosts)
    files, terms = _files(record, signed), _terms(record, identifier)
    parts = [_what(record, identifier), _how_made(record), files, _CHECK, _READ, terms]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _what(record: Record, identifier: str) -> str:
    known = f" It is known as `{identifier}`." if identifier else ""
    return f"""
# {record.title}

{record.flow.description}

This folder holds the results of one computation, made on {record.ended:%-d %B %Y}, with everything that is needed to
check, read and understand them. Nothing has to be installed that is particular to the program that made it.{known}
"""


def _how_made(record: Record) -> str:
    lines = [
        f"- Made by {record.agent.name}{_at(record)}, by running the flow `{record.flow.name}` ({_version(record)})."
    ]
    lines += [f"- Read: {one.name}, {one.identifier} (SHA-256 `{one.sha256}`)." for one in record.inputs]
    lines += [f"- Parameter `{name}` = `{value}`." for name, value in sorted(record.parameters.items())]
    lines += [f"- Step `{one.name}`: {one.regions} parts, product `{one.key}`." for one in record.stages]
    lines += [f"- Computed on: {place}." for place in record.places]
    lines += [f"- Take note: {warning}" for warning in record.warnings]
    return f"""
## How it was made

{"\n".join(lines)}

The whole story, for machines: `{METADATA}` (an RO-Crate, https://w3id.org/ro/crate/1.1). The program: `{SOURCE}`.
"""


def _at(record: Record) -> str:
    return f" ({record.agent.affiliation})" if record.agent.affiliation else ""


def _version(record: Record) -> str:
    flow = record.flow
    changed = ", with changes that were not committed" if flow.dirty else ""
    return f"version {flow.version}, git commit {flow.commit}{changed}" if flow.commit else f"version {flow.version}"


def _files(record: Record, signed: bool) -> str:
    rows = [f"| `{one.file}` | {_about(one)} |" for one in record.outputs]
    rows += [f"| `{name}` | {about} |" for name, about in contents(record, signed).items()]
    return "## What each file is\n\n| file | what it is |\n|---|---|\n" + "\n".join(rows)


def _about(one: Output) -> str:
    return f"{one.title}: {one.description} ({one.media_type}, {one.size} bytes)".replace("|", "\\|")


_CHECK = f"""
## How to check that nothing was damaged

    sha512sum -c {CHECKSUMS}
    unzip -t NAME.zarr.zip

The first compares every file with its SHA-512 checksum, the second every part within a package with its CRC-32.
Both programs exist on any Unix. If one part is damaged and there is another copy, that part alone can be restored.
"""

_READ = """
## How to read it

A file `NAME.zarr.zip` is a ZIP archive (with the ZIP64 extension, for its size) in which nothing is compressed by ZIP:
`unzip NAME.zarr.zip` gives a folder, and any program that knows Zarr version 3 can read that folder. Many can read the
archive as it is. In Python, for example:

    import xarray                                   # unzipped: xarray.open_zarr("NAME.zarr", consolidated=False)
    from zarr.storage import ZipStore
    data = xarray.open_zarr(ZipStore("NAME.zarr.zip", read_only=True), consolidated=False)

A large result is in several such files, its bands `NAME.0000.zarr.zip`, `NAME.0001.zarr.zip`, ..., each a part of it
along one dimension (`axis` in the table `NAME.zarr.zip.members.json`) and complete by itself. All of it is what they
hold one behind the other: `xarray.concat([first, second, ...], dim=axis)`. `NAME.whole.zarr.zip` has no values, but the
coordinates of the whole.

Should no such program be left, `FORMATS.md` says what each byte is. In short (specification:
https://zarr-specs.readthedocs.io/, "Zarr core specification, version 3"):

- A folder with a `zarr.json` is a group or an array. The file is JSON; for an array it tells the shape, the number
  type, the names of the dimensions, the units and other attributes, the size of the pieces and how these are encoded.
- The numbers of an array lie in files `c/0/0`, `c/0/1`, ...: one for each piece, counted along each dimension.
- Large arrays have the codec `sharding_indexed`: such a file holds many smaller chunks, and at its very end an index:
  for each chunk, in C order, its offset and its length in bytes, each as an unsigned 64-bit little-endian number;
  then the CRC-32C checksum of that index in 4 bytes. (The first 16 bytes of such a file are the BLAKE3 checksum of
  its numbers, cut short: no offset points at them.) Two numbers with all bits set mean that the chunk is absent.
- Each chunk went through these codecs in order: `bytes` (numbers in C order, little-endian), `blosc` (compression;
  which one, commonly Zstandard with bit shuffling, is told in `zarr.json` and in the chunk's own first 16 bytes),
  `crc32c` (a CRC-32C checksum in the last 4 bytes). To decode, go back from the last to the first.
"""


def _terms(record: Record, identifier: str) -> str:
    licence = record.licence
    where = f" ({licence.url})" if "://" in licence.url else ""
    inputs = [f"- {one.name}: {one.licence}" for one in record.inputs if one.licence]
    of_inputs = "\nWhat was read had its own terms:\n\n" + "\n".join(inputs) + "\n" if inputs else ""
    name = f" {identifier}." if identifier else f" Run {record.run}."
    return f"""
## Licence, and how to cite

{licence.name}{where}. {licence.description}
{of_inputs}
Please cite as: {record.agent.name} ({record.ended:%Y}). {record.title}. Data set.{name}
"""
