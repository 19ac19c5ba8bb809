"""The content of an OCFL object: all of it in the manifests, all of the manifests there, and every byte as it was."""

from collections.abc import Iterator
from dataclasses import dataclass

from terp.storage.validate.findings import LET_IN, RESTORE, TAKE_OUT, Findings
from terp.storage.validate.inventory import VERSION, number
from terp.storage.validate.kept import Object
from terp.storage.validate.package import STANDARD, check_package
from terp.storage.validate.reading import Reader
from terp.storage.validate.table import SUFFIX, read_table, tables_for


def check_listed(one: Object, there: list[str]) -> None:
    """OCFL section 3.3.1: each file of the content is in the manifest of its version's inventory, and of later ones."""
    known = set(there)
    stored = [(name, *name.split("/", 2)[:2]) for name in one.tree.files if name.count("/") > 1]
    accused = set[str]()
    for kept in one.believed:
        said = kept.said
        assert said is not None
        upto = number(said.head) if VERSION.fullmatch(said.head) else len(there)
        for name, version, folder in stored:
            if folder != said.content or version not in known or number(version) > upto or name in said.manifest:
                continue
            if name not in accused:
                what = "is in no inventory" if kept is one.believed[0] else f"is not in the manifest of {kept.where}"
                one.found.error("E023", name, what, TAKE_OUT)
            accused.add(name)


@dataclass(frozen=True)
class _Wanted:
    rule: str
    algorithm: str
    digest: str
    where: str


def _wanted(one: Object) -> dict[str, list[_Wanted]]:
    """Return which digests each content path must have, as all believed inventories say, each once."""
    wanted: dict[str, dict[tuple[str, str, str], _Wanted]] = {}
    for kept in one.believed:
        assert kept.said is not None
        algorithm = kept.said.algorithm
        said = [("E092", path, algorithm, digest) for path, digest in kept.said.manifest.items() if algorithm]
        said += [("E093", *fixity) for fixity in kept.said.fixity]
        for rule, path, name, digest in said:
            wanted.setdefault(path, {}).setdefault((rule, name, digest), _Wanted(rule, name, digest, kept.where))
    return {path: list(digests.values()) for path, digests in wanted.items()}


def check_content(one: Object, reader: Reader) -> None:
    """Read all content and compare it with every digest that any inventory gives."""
    wanted = _wanted(one)
    for path in sorted(wanted.keys() - one.tree.files.keys()):
        for rule in sorted({each.rule for each in wanted[path]}):
            one.found.error(rule, path, "is missing", RESTORE)
    read = {path: {each.algorithm for each in wanted[path]} for path in wanted.keys() & one.tree.files.keys()}
    for path, digests in reader.digests(one.home, read, one.tree.files):
        if isinstance(digests, str):
            one.found.error("E092", path, f"cannot be read: {digests}", LET_IN)
            continue
        wrong = [each for each in wanted[path] if digests[each.algorithm] != each.digest]
        for each in wrong:
            name = each.algorithm.upper().replace("SHA", "SHA-", 1)
            what = f"is not what was stored: its {name} is another than {each.where} says"
            one.found.error(each.rule, path, what, RESTORE)
        if wrong and path.endswith(SUFFIX):
            _locate(one, path)


def _locate(one: Object, path: str) -> None:
    """Say which members of a package that is not what was stored are damaged: another copy may have these."""
    tables = (read_table(one.home / name, Findings(STANDARD)) for name in _tables(one, path) if name in one.tree.files)
    found = one.found.below(path.rpartition("/")[0], STANDARD)
    check_package(one.home / path, next(filter(None, tables), None), found, whole=False)


def _tables(one: Object, path: str) -> Iterator[str]:
    """Yield where the table of a package's members may be: content is stored once, so not always beside it."""
    said = one.believed[0].said
    assert said is not None
    for version in reversed(said.versions.values()):
        names = [name for name, digest in version.state.items() if digest == said.manifest.get(path)]
        tables = {version.state.get(table) for name in names for table in tables_for(name)}
        yield from (stored for stored, digest in said.manifest.items() if digest in tables)
