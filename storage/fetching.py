"""Take a source in that is at a URL: fetched once, kept under its digest, asked for again by its ETag.

What was fetched before is never replaced: a run that reads it goes on with it, and the next one has what is there then.
"""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import orjson
from blake3 import blake3

from terp.storage import files
from terp.storage.errors import BadInput
from terp.storage.meter import Meter, Tell, silent
from terp.storage.scrub import scrub
from terp.storage.source import Identity, identify

if TYPE_CHECKING:
    import httpx

_PATIENCE = 60.0  # seconds without a byte after which a server is taken for gone
_TOLD = "fetched.json"


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched: where it rests below its folder, size, SHA-256, and what the server said of it."""

    url: str
    file: str
    size: int
    sha256: str
    etag: str
    modified: str


def is_url(source: str) -> bool:
    """Say whether a source is to be fetched."""
    return source.startswith(("http://", "https://"))


def identified(source: str, cache: Path, tell: Tell = silent) -> Identity:
    """Identify what a flow calls a source: a URL, which is fetched into `cache`, a file or folder, or a sample.

    `tell` is given words on how far that is, where it takes long. Raises BadInput where it is not there, or of no kind
    that is known.
    """
    from terp.storage.ingest import locate

    if not is_url(source):
        return identify(locate(source), cache, tell)
    folder = cache / "fetched" / blake3(source.encode()).hexdigest()[:20]
    found = _fetched(source, folder, tell)
    there = identify(folder / found.file, cache, tell)
    if there.sha256 != found.sha256:
        raise BadInput(f"{there.path} is not as it was fetched from {found.url}: remove it and run again")
    return replace(there, url=found.url, etag=found.etag)


def _fetched(url: str, folder: Path, tell: Tell) -> Fetched:
    """Return what is at a URL now; it is fetched unless the server says that it is what was fetched before."""
    known = _known(folder)
    asked = {"Accept-Encoding": "identity"}  # bytes as they are stored there: these are what has the digest
    if known:
        asked |= {"If-None-Match": known.etag} if known.etag else {"If-Modified-Since": known.modified}
    with _answer(url, asked, folder / known.file if known else None) as answer:
        if answer.status_code == 304 and known:
            return known
        if answer.status_code != 200:
            said = f"{answer.status_code} {answer.reason_phrase}"
            raise BadInput(f"{scrub(url)} cannot be fetched: the server says {said}")
        return _keep(url, answer, folder, tell)


def _known(folder: Path) -> Fetched | None:
    """Return what was fetched last, if that is still there and can be asked for again."""
    try:
        found = Fetched(**orjson.loads((folder / _TOLD).read_bytes()))
        whole = (folder / found.file).stat().st_size == found.size
    except (OSError, ValueError, TypeError):
        return None
    return found if whole and (found.etag or found.modified) else None


@contextmanager
def _answer(url: str, asked: Mapping[str, str], before: Path | None) -> "Iterator[httpx.Response]":
    import httpx

    try:
        with httpx.stream("GET", url, headers=asked, follow_redirects=True, timeout=_PATIENCE) as answer:
            yield answer
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        kept = f"; what was fetched of it before is {before}: name that file to do without the server" if before else ""
        said = str(error) or type(error).__name__
        raise BadInput(
            f"{scrub(url)} cannot be fetched ({said}): look whether it can be reached from here{kept}"
        ) from None


def _keep(url: str, answer: "httpx.Response", folder: Path, tell: Tell) -> Fetched:
    """Have the bytes of an answer on the disk, under their digest."""
    fresh, digest = folder / f"{secrets.token_hex(8)}.part", hashlib.sha256()
    length = answer.headers.get("Content-Length", "")
    meter = Meter(tell, f"fetching {scrub(url)}", int(length) if length.isdecimal() else 0)

    def write(descriptor: int) -> int:
        if answer.is_stream_consumed:
            raise OSError(errno.EIO, "the disk did not take what was fetched")
        size = 0
        for data in answer.iter_raw(1 << 20):
            files.write_all(descriptor, data)
            digest.update(data)
            size += len(data)
            meter.add(len(data))
        return size

    with files.disk(folder):
        files.make_folders(folder)
        size = files.write_file(fresh, write)
        name = f"{digest.hexdigest()}/{_name(url)}"
        files.make_folders((folder / name).parent)
        _settle(fresh, folder / name)
    told = answer.headers
    found = Fetched(
        str(scrub(url)), name, size, digest.hexdigest(), told.get("ETag", ""), told.get("Last-Modified", "")
    )
    files.replace(folder / _TOLD, orjson.dumps(asdict(found)))
    return found


def _settle(fresh: Path, final: Path) -> None:
    """Give a file its name; where its content is known already, that stays: another in its place would stop a run."""
    try:
        os.link(fresh, final)
    except FileExistsError:
        pass
    except OSError:  # no hard links here
        files.rename(fresh, final)
    files.forget([fresh])
    files.sync_folder(final.parent)


def _name(url: str) -> str:
    """Return what a file is called at a URL: readers look at names too."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return name if name and name not in (".", "..") and "/" not in name and "\0" not in name else "data"
