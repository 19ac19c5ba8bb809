"""What the catalog costs: `python -m benchmarks.catalog [--objects 100000] [--place DIR] [--like FOLDER]`.

An archive of so many objects is written, each a copy of a real one (made by the flow `climatology`, or the object in
the folder that --like names) under its own identifier, title and input; what they have in common are hard links. Then
the catalog is made from nothing, an object is added, and things are looked up as `terp show`, `terp open` and `terp ls
--where` do: a page of hits, each held against its object, and how many there are in all. The objects' files are in the
page cache, as they were just written: disks that have to seek are slower.

Beside them, in the same run: reading, hashing and parsing the files that a card is made of, and nothing else; SQLite
asked for a card by its key, and nothing else; a look at the text of all cards. Whole commands are told apart from what
they ask: what they take beyond it is Python's start.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from terp.storage.archive import Archive
from terp.storage.archive.catalog import Catalog, Query
from terp.storage.archive.catalog.reader import card_of
from terp.storage.archive.catalog.walking import seen
from terp.storage.archive.ocfl import OBJECT, place
from terp.storage.home import Home

LOOK_UPS, SEARCHES, READ = 1000, 100, 500  # times each is done; objects that the limit is measured on
PAGE, BESIDE = 50, 150
LINKS = 30_000  # of one file; ext4 allows 65,000
WORDS = (
    *("salinity", "wind", "wave", "tide", "current", "level", "depth", "storm"),
    *("coast", "delta", "river", "basin", "shelf", "gulf", "strait", "fjord"),
)

POLICY = """
version = "1"
dated = 2026-01-01
waardering = "V"
archiefvormer = { naam = "Universiteit Voorbeeld", identificatie = "https://ror.org/00example0", bron = "ROR" }
bewaartermijn = { looptijd = "P10Y", trigger = "Creatie" }
copies = { at_least = 1, at_most = 3 }

[selectielijst]
naam = "Selectielijst voorbeeld"
categorie = "12.3"
vastgesteld = 2020-01-01
geldigTot = 2030-12-31

[decision]
openness = "open unless"
by = "A Benchmark"
on = 2026-01-01
ground = "made to measure with"
purpose = "benchmarks"

[rights]
holder = "A Benchmark"
licence = "https://creativecommons.org/licenses/by/4.0/"
licence_name = "CC BY 4.0"
inputs = { "*" = "https://creativecommons.org/publicdomain/zero/1.0/" }
"""
MDTO = (
    """<MDTO xmlns="https://www.nationaalarchief.nl/mdto"><informatieobject><naam>{}</naam></informatieobject></MDTO>"""
)
QUERIES = {
    "all": "",
    "all that was not destroyed, as terp ls": "-is:destroyed",
    "a word that all have": "temperature",
    "a word in an eighth": "salinity",
    "a word that none has": "zeeearend",
    "one title": '"number 4711"',
    "words that begin so, in all": "n* cl*",
    "an identifier that begins so, in all": "urn:terp",
    "a digest": "digest:4a44dc15364204a80f",
    "words that are not there": "-salinity -storm",
    "a box, in all": "bbox:-10,-10,10,10",
    "a period, in all": "time:2006..2009",
    "text, box, period and classification, in all": "temperature bbox:-10,-10,10,10 time:2008 waardering:V",
    "the same, in a few": "title:salinity title:storm bbox:-10,-10,10,10 time:2008 waardering:V",
    "all of it at once": "urn:terp temperature -salinity bbox:-10,-10,10,10 time:2008 waardering:V size:1KB.. is:there",
}


def real_object(folder: Path) -> Path:
    """Make a real object; return its folder."""
    from terp.workflows import api

    (folder / "policy.toml").write_text(POLICY)
    run = api.run("climatology", "ostia", home=folder / "home", workers=1, policy=folder / "policy.toml")
    return Path(run.record.archived["path"])


class Copies:
    """Writes objects that are copies of one, without a sync: they are there to be read once."""

    def __init__(self, like: Path, root: Path) -> None:
        self.root, self.own = root, root.parent / "common"
        archive = Archive(root)
        archive.create_if_missing()
        self.inventory = json.loads((like / "inventory.json").read_bytes())
        state = self.inventory["versions"]["v1"]["state"]
        self.files = {names[0]: digest for digest, names in state.items()}
        self.sources = {name: like / self.inventory["manifest"][digest][0] for name, digest in self.files.items()}
        self.made = 0

    def identifier(self, number: int) -> str:
        """The identifier of an object by its number."""
        return f"urn:terp:climatology:{hashlib.sha256(str(number).encode()).hexdigest()[:20]}"

    def add(self, number: int, title: str = "") -> str:
        """Write the object of a number; return its identifier."""
        identifier = self.identifier(number)
        home = self.root / place(identifier)
        content = home / "v1/content"
        content.mkdir(parents=True)
        chosen = random.Random(number).sample(WORDS, 2)
        own = {
            "mdto.xml": MDTO.format(title or f"Normals of {chosen[0]} and {chosen[1]}, number {number}").encode(),
            "inputs.sha256": f"{hashlib.sha256(b'%d' % number).hexdigest()}  ostia_{number}.nc\n".encode(),
        }
        for name, data in own.items():
            (content / name).write_bytes(data)
        for name in self.files.keys() - own.keys():
            os.link(self._common(name), content / name)
        self._describe(home, identifier, own)
        self.made += 1
        return identifier

    def _common(self, name: str) -> Path:
        shared = self.own / str(self.made // LINKS) / name
        if not shared.exists():
            shared.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.sources[name], shared)
        return shared

    def _describe(self, home: Path, identifier: str, own: dict[str, bytes]) -> None:
        digests = self.files | {name: hashlib.sha512(data).hexdigest() for name, data in own.items()}
        state: dict[str, list[str]] = {}
        for name, digest in sorted(digests.items()):
            state.setdefault(digest, []).append(name)
        plain = self.inventory | {"id": identifier}
        plain["manifest"] = {digest: [f"v1/content/{names[0]}"] for digest, names in state.items()}
        plain["versions"] = {"v1": self.inventory["versions"]["v1"] | {"state": state}}
        data = json.dumps(plain, indent=2, sort_keys=True).encode()
        sums = f"{hashlib.sha512(data).hexdigest()}  inventory.json\n".encode()
        for name, content in (
            (f"0={OBJECT}", f"{OBJECT}\n".encode()),
            ("inventory.json", data),
            ("inventory.json.sha512", sums),
        ):
            (home / name).write_bytes(content)
        for name, content in (("inventory.json", data), ("inventory.json.sha512", sums)):
            (home / "v1" / name).write_bytes(content)


def generate(copies: Copies, objects: int) -> None:
    """Write so many objects."""
    for number in range(objects):
        copies.add(number)


def timed(what: Callable[[], Any]) -> float:
    """Return seconds that something took."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def spread(seconds: list[float]) -> str:
    """Return median, 99th percentile and largest, in milliseconds."""
    ordered = [1000 * one for one in sorted(seconds)]
    at = [ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], ordered[-1]]
    return " ".join(f"{name} {value:8.2f} ms " for name, value in zip(("p50", "p99", "max"), at, strict=True))


def figures(home: Home, copies: Copies, objects: int) -> Iterator[tuple[str, str]]:
    """Yield what was measured, each as what it is and how much."""
    new = partial(Catalog, home.archive, home.cache, home.custody)
    yield from made(new, home, objects)
    first = digest(home.cache / "catalog.sqlite")
    yield "a walk that finds nothing new", f"{timed(new().refresh):.2f} s"
    added = copies.add(objects, title="Added since")
    yield "an ingest adds one", f"{1000 * timed(lambda: new().noted(added)):.1f} ms"
    assert [card.identifier for card in new().search(Query.of('"added since"'))[0]] == [added]
    yield "a walk that finds it, and the catalog made again", f"{timed(new().refresh):.1f} s"
    grown = digest(home.cache / "catalog.sqlite")
    shutil.rmtree(home.archive / place(added))
    new().refresh()
    last = digest(home.cache / "catalog.sqlite")
    yield "the same bytes as before it was added", str(first == last != grown)
    yield from asked(new, home, copies, objects)


def made(new: Callable[[], Catalog], home: Home, objects: int) -> Iterator[tuple[str, str]]:
    """Yield what it takes to make the catalog from nothing, beside reading what it is made of in one process."""
    some = [home.archive / path for path in list(seen(home.archive))[:READ]]
    took = timed(lambda: [*map(read, some)]) / len(some)
    yield "limit: the files of a card read, hashed, parsed, one process", f"{1000 * took:.2f} ms an object"
    took = timed(lambda: [card_of(home.archive, str(path.relative_to(home.archive))) for path in some]) / len(some)
    yield "a card made of them, one process", f"{1000 * took:.2f} ms an object"
    took = timed(new().make)
    yield "made from nothing", f"{took:.1f} s, {1000 * took / objects:.2f} ms an object"
    size = (home.cache / "catalog.sqlite").stat().st_size
    yield "its file", f"{size / 1e6:,.1f} MB, {size / objects:,.0f} bytes an object"


def read(folder: Path) -> None:
    """Read what a card is made of."""
    told = ("policy.toml", "mdto.xml", "ro-crate-metadata.json", "replay.json", "inputs.sha256", "values.json")
    data = [(folder / name).read_bytes() for name in ("inventory.json", "inventory.json.sha512")]
    content = folder / "v1/content"
    names = [name for name in os.listdir(content) if name in told or name.endswith(".members.json")]
    data += [(content / name).read_bytes() for name in names]
    for one in data:
        hashlib.sha512(one).digest()
        if one[:1] == b"{":
            orjson.loads(one)


def asked(new: Callable[[], Catalog], home: Home, copies: Copies, objects: int) -> Iterator[tuple[str, str]]:
    """Yield how long look-ups and searches take in a process that has imported all, each with a fresh catalog."""
    file = home.cache / "catalog.sqlite"
    some = random.Random(1).sample(range(objects), min(objects, LOOK_UPS))
    names = [copies.identifier(number) for number in some]
    yield "peer: SQLite opened and asked for a card", spread([timed(partial(_by_key, file, name)) for name in names])
    yield "look-up of an identifier", spread([timed(partial(_find, new, name)) for name in names])
    yield "look-up of its beginning", spread([timed(partial(_begins, new, name[:36])) for name in names])
    yield (
        "peer: a look at the text of all cards",
        spread([timed(partial(_by_text, file)) for _ in range(3)]),
    )
    for what, text in QUERIES.items():
        yield from searched(new, what, text)
    for number in range(objects, objects + BESIDE):
        assert new().noted(copies.add(number))
    yield from searched(new, f"all of it at once, {BESIDE} newer beside it", QUERIES["all of it at once"])


def searched(new: Callable[[], Catalog], what: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield how long a search takes."""
    total = new().search(Query.of(text), PAGE)[1]
    times, own = list[float](), list[float]()
    for _ in range(SEARCHES):
        began = time.process_time()
        times.append(timed(partial(_search, new, text)))
        own.append(1000 * (time.process_time() - began))
    processor = sorted(own)[min(SEARCHES - 1, SEARCHES * 99 // 100)]
    yield f"search: {what} ({total:,})", f"{spread(times)} of the processor p99 {processor:.2f} ms"


def _by_key(file: Path, name: str) -> None:
    connection = sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)
    sql = "SELECT card FROM card WHERE number = (SELECT number FROM object WHERE identifier = ?)"
    assert connection.execute(sql, [name]).fetchone()
    connection.close()


def _by_text(file: Path) -> None:
    connection = sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)
    connection.execute("SELECT count(*) FROM card WHERE CAST(card AS TEXT) LIKE '%salinity%'").fetchone()
    connection.close()


def _find(new: Callable[[], Catalog], name: str) -> None:
    found = new().find(name)
    assert found is not None
    assert found.identifier == name


def _begins(new: Callable[[], Catalog], start: str) -> None:
    assert len(new().beginning(start)) == 1


def _search(new: Callable[[], Catalog], text: str) -> None:
    new().search(Query.of(text), PAGE)


def commands(home: Home, copies: Copies, objects: int) -> Iterator[tuple[str, str]]:
    """Yield how long whole commands take, with the start of Python."""
    identifier = copies.identifier(objects // 2)
    for words in (
        ["--help"],
        ["show", identifier],
        ["ls", "--where", "salinity"],
        ["open", identifier, "index"],
    ):
        command = [str(Path(sys.executable).with_name("terp")), "--home", str(home.root), *words]
        run = partial(subprocess.run, command, check=True, capture_output=True)
        times = [timed(run) for _ in range(5)]
        yield f"command: terp {' '.join(words)[:40]}", spread(times)


def main() -> None:
    """Print all figures."""
    asking = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asking.add_argument("--objects", type=int, default=2000, help="100,000 is what is claimed (default: %(default)s)")
    asking.add_argument("--place", type=Path, default=Path(".bench"), help="where the archive is while it is measured")
    asking.add_argument("--like", type=Path, help="the folder of an archived object to copy")
    given = asking.parse_args()
    given.place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.place) as folder:
        like = given.like or real_object(Path(folder))
        home = Home(Path(folder) / "many").open()
        copies = Copies(like, home.archive)
        took = timed(lambda: generate(copies, given.objects))
        print(f"{given.objects:,} objects, written in {took:.0f} s")
        for what, how_much in chain(figures(home, copies, given.objects), commands(home, copies, given.objects)):
            print(f"{what:<78} {how_much}", flush=True)


if __name__ == "__main__":
    main()
