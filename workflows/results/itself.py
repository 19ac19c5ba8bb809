"""terp's own code as it is here, which a crate keeps: a run is made again by the terp that made it.

That is what a wheel holds and a run may need: the three packages, the sites that come with them, version and licence.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import distribution
from pathlib import Path

import terp.cluster
import terp.storage
import terp.workflows
from terp.cluster.site_layers import SHIPPED
from terp.storage.package.smallzip import write_zip
from terp.storage.scrub import scrub_known

ITSELF = "terp.zip"
_LICENCE = "licenses/LICENSE"


@dataclass(frozen=True)
class Itself:
    """terp's files by their names in a folder of Python's path; `withheld` could not be kept as they are."""

    files: Mapping[str, bytes]
    withheld: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of what `sha256sum` prints of the files in the order of their names."""
        return digest_of_files(self.files)

    @cached_property
    def packed(self) -> bytes:
        """They as a ZIP."""
        made = io.BytesIO()
        write_zip(made, sorted(self.files.items()), deflated=True)
        return made.getvalue()


def digest_of_files(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of what `sha256sum` prints of files in the order of their names."""
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def itself() -> Itself:
    """Return terp's code as it is here, read once: what is edited later is not what this process computes with."""
    found = dict(_files())
    kept = found
    everything = _text(b"\n".join(found.values()))
    if scrub_known(everything) != everything:
        kept = {name: scrub_known(_text(data)).encode(errors="surrogateescape") for name, data in found.items()}
    return Itself(kept, tuple(name for name, data in kept.items() if data != found[name]))


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _files() -> Iterator[tuple[str, bytes]]:
    for room in (terp.workflows, terp.cluster, terp.storage):
        top = Path(room.__path__[0])
        for here, within, names in top.walk():
            within[:] = [name for name in within if not name.startswith((".", "__pycache__"))]
            for path in [here / name for name in names if not name.startswith(".")]:
                yield f"terp/{top.name}/{path.relative_to(top)}", path.read_bytes()
    for site in SHIPPED.glob("*.toml"):
        yield f"terp/slurm/sites/{site.name}", site.read_bytes()
    about = distribution("terp")
    folder = f"terp-{about.version}.dist-info"
    yield f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: terp\nVersion: {about.version}\n".encode()
    licence = about.read_text(_LICENCE)
    if licence:
        yield f"{folder}/{_LICENCE}", licence.encode()
