"""The code of a run as it was when the run was planned: the flow's file and all of the user's own modules it imports.

Beside it, terp itself as it computes. The code is in a ZIP that only stores, with fixed dates and modes: the same code
gives the same bytes. What must not be archived (home paths, logins, secrets) is taken out, and the files that this
changed are named.
"""

import ast
import importlib.util
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from terp.storage.canonical import canonical
from terp.storage.package.smallzip import write_zip
from terp.storage.scrub import scrub
from terp.workflows.planning.load import SHIPPED
from terp.workflows.planning.source import is_own
from terp.workflows.results.itself import ITSELF, itself
from terp.workflows.running.repository import terp_itself

if TYPE_CHECKING:
    from prefect import Flow

SOURCES, RECORD = "source.zip", "code.json"


@dataclass(frozen=True)
class Bundle:
    """The files of a run's code by their names, and what they are.

    `target` is what names the flow when the files are there, or "" where it was typed at a prompt; `main` the file the
    flow stands in; `withheld` are files that could not be kept as they were. `itself` is the ZIP of terp's own code, of
    which `terp` tells version, commit and digest; a run from before that was kept has none.
    """

    files: Mapping[str, str]
    target: str
    main: str
    withheld: tuple[str, ...]
    terp: Mapping[str, Any]
    itself: bytes = b""

    def packed(self) -> bytes:
        """Return the ZIP."""
        made = io.BytesIO()
        write_zip(made, ((name, text.encode()) for name, text in sorted(self.files.items())))
        return made.getvalue()


def code_of(flow: "Flow[Any, Any]", target: str) -> Bundle:
    """Return the code of a flow that was loaded and planned, so that all it imports is there."""
    main = sys.modules.get(flow.fn.__module__)
    kept, withheld = {}, []
    for module in _own_modules(main):
        path = Path(str(module.__file__))
        text = path.read_text(errors="replace") if path.suffix == ".py" else None
        if text is not None:
            kept[_name(module)] = str(scrub(text))
        if kept.get(_name(module)) != text or text is None:
            withheld.append(_name(module))
    name = _name(main) if main is not None and _name(main) in kept else ""
    own = itself()
    told = {**terp_itself(), "sha256": own.digest}
    return Bundle(kept, _target(flow, target, name), name, (*sorted(withheld), *own.withheld), told, own.packed)


def _target(flow: "Flow[Any, Any]", target: str, main: str) -> str:
    """Return what names the flow where the files of its code are: a file among them, or what is installed."""
    if target in SHIPPED:
        return target
    if main and "." not in flow.fn.__module__:
        return f"{main}:{flow.fn.__name__}"
    return "" if flow.fn.__module__ == "__main__" else f"{flow.fn.__module__}:{flow.fn.__name__}"


def _own_modules(main: ModuleType | None) -> list[ModuleType]:
    """Return a module and all it imports, directly or not, that are the user's own."""
    found: dict[str, ModuleType] = {}
    left = [main.__name__] if main is not None else []
    while left:
        name = left.pop()
        module = sys.modules.get(name)
        if name in found or module is None or name.partition(".")[0] == "terp" or not is_own(name):
            continue
        found[name] = module
        left += _reached(module)
    return [module for module in found.values() if getattr(module, "__file__", None)]


def _reached(module: ModuleType) -> Iterator[str]:
    """Yield the names of modules that a module may need: those it imports, and those that what it holds comes from."""
    for value in vars(module).values():
        home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(home, str):
            yield from _with_parents(home)
    path = Path(str(getattr(module, "__file__", "")))
    if path.suffix != ".py" or not path.is_file():
        return
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(above, module.__package__ or "") if node.level else above
            for alias in node.names:  # which may be a module too
                yield from _with_parents(f"{base}.{alias.name}")


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(len(parts), 0, -1))


def _name(module: ModuleType) -> str:
    """Return the name of a module's file where it can be imported from: a file is called as it was."""
    parts = module.__name__.split(".")
    above = parts if hasattr(module, "__path__") else parts[:-1]
    return "/".join([*above, Path(str(module.__file__)).name]) if getattr(module, "__file__", None) else ""


# beside a run


def as_files(code: Bundle) -> dict[str, bytes]:
    """Return a run's code as the files of its folder: what is archived later is what was planned then."""
    about = {"target": code.target, "main": code.main, "withheld": list(code.withheld), "terp": dict(code.terp)}
    itself = {ITSELF: code.itself} if code.itself else {}
    return {**itself, SOURCES: code.packed(), RECORD: canonical(about)}


def kept(folder: Path) -> Bundle | None:
    """Return what is in a run's folder, or None where there is nothing."""
    try:
        about = json.loads((folder / RECORD).read_bytes())
        with zipfile.ZipFile(folder / SOURCES) as held:
            texts = {name: held.read(name).decode() for name in held.namelist()}
        own = (folder / ITSELF).read_bytes() if about["terp"].get("sha256") else b""
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return Bundle(texts, about["target"], about["main"], tuple(about["withheld"]), about["terp"], own)
