"""The source of functions and classes: normalised, what it imports, and what it shows of being no pure function."""

import ast
import hashlib
import importlib.util
import inspect
import re
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

_LIBRARIES = tuple(
    f"{Path(sysconfig.get_paths()[name]).resolve()}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def is_own(module_name: str) -> bool:
    """Say whether a module is the user's own (or one of terp's flows), not an installed library."""
    if module_name.partition(".")[0] == "terp":
        return True
    module = sys.modules.get(module_name)
    place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return module_name == "__main__" if place is None else _lies_outside(place)


@cache
def _lies_outside(place: str) -> bool:
    return not str(Path(place).resolve()).startswith(_LIBRARIES)


def normalised(thing: CodeType | type) -> str:
    """Return the source of a function's code, or of a class, without what does not change what it does."""
    return _normalise(source_of(thing))


@cache
def source_of(thing: CodeType | type) -> str:
    """Return the source; of what was typed in at a prompt, or was made by a program, text that is as good."""
    with suppress(OSError, TypeError, SyntaxError, IndentationError):
        if isinstance(thing, CodeType) and thing.co_name == "<lambda>":
            return _lambda(thing)
        text = textwrap.dedent(inspect.getsource(thing))
        ast.parse(text)
        return text
    return f"compiled = {_compiled(thing)!r}" if isinstance(thing, CodeType) else f"compiled = {thing!r}"


@cache
def _tree(thing: CodeType | type) -> ast.Module:
    """Return the source as it was parsed, to be looked at and never changed."""
    return ast.parse(source_of(thing))


def _lambda(code: CodeType) -> str:
    """Return a lambda's own source, not the lines that it stands in with others."""
    text = "".join(inspect.findsource(code)[0])
    inside = {(line, column) for line, _, column, _ in code.co_positions() if column}
    found = [one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Lambda) and _span(one.body) & inside]
    return ast.unparse(min(found, key=lambda one: len(_span(one)))) if found else f"compiled = {_compiled(code)!r}"


def _span(node: ast.AST) -> set[tuple[int, int]]:
    return {(one.lineno, one.col_offset) for one in ast.walk(node) if isinstance(one, ast.expr)}


def _compiled(code: CodeType) -> tuple[Any, ...]:
    inner = tuple(_compiled(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts)
    return hashlib.sha256(code.co_code).hexdigest(), code.co_names, code.co_varnames, inner


@cache
def _normalise(source: str) -> str:
    tree = _Plain().visit(ast.parse(source))
    return ast.unparse(ast.fix_missing_locations(tree))


class _Plain(ast.NodeTransformer):
    """Drop docstrings, annotations and decorators of stages."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.decorator_list = [one for one in node.decorator_list if not _is_stage(one)]
        node.returns = None
        return _undocumented(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        return _undocumented(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.generic_visit(node)
        return _undocumented(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


def _is_stage(decorator: ast.expr) -> bool:
    """Say whether a decorator makes a stage: how that is cut is in its key by itself."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) == "stage"


def _undocumented(node: ast.FunctionDef | ast.ClassDef | ast.Module) -> ast.AST:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.Pass()]
    return node


def constants(kind: type) -> dict[str, str]:
    """Return what the source of a class gives its attributes where that is plain to see, as `repr` writes it."""
    body = _tree(kind).body[0]
    said = [one for one in getattr(body, "body", ()) if isinstance(one, ast.Assign | ast.AnnAssign)]
    pairs = [(t, one.value) for one in said for t in (one.targets if isinstance(one, ast.Assign) else [one.target])]
    return {t.id: repr(v.value) for t, v in pairs if isinstance(t, ast.Name) and isinstance(v, ast.Constant)}


def names_in(code: CodeType) -> set[str]:
    """Return the global names and attributes that code uses; where it calls getattr, also what that may be given."""
    names = {*code.co_names}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
        elif isinstance(constant, str) and "getattr" in code.co_names:
            names.add(constant)
    return names


def attributes_in(code: CodeType) -> set[str]:
    """Return the attributes that source takes of what, as `os.rename`: what is only called `rename` is another's."""
    return {ast.unparse(one) for one in ast.walk(_tree(code)) if isinstance(one, ast.Attribute)}


def imported_inside(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function imports in its body of the user's own modules, by name: these are imported for that."""
    package = function.__globals__.get("__package__") or ""
    for node in ast.walk(_tree(function.__code__)):
        if isinstance(node, ast.Import):
            for name in dict.fromkeys(alias.name for alias in node.names):
                if (module := _own_module(name)) is not None:
                    yield name, module
        elif isinstance(node, ast.ImportFrom):
            with suppress(ImportError):
                above = "." * node.level + (node.module or "")
                base = importlib.util.resolve_name(above, package) if node.level else above
                yield from _imported_from(base, [alias.name for alias in node.names])


def _imported_from(base: str, names: list[str]) -> Iterator[tuple[str, Any]]:
    module = _own_module(base)
    for name in names if module else ():
        yield f"{base}.{name}", getattr(module, name, None) or _own_module(f"{base}.{name}")


def _own_module(name: str) -> ModuleType | None:
    top = name.partition(".")[0]
    with suppress(Exception):  # as whatever it does: the function itself will say so when it is tried
        spec = None if top in sys.modules else importlib.util.find_spec(top)
        places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
        if is_own(top) or any(place and Path(place).exists() and _lies_outside(place) for place in places):
            import_module(name)
            return sys.modules[top] if "." in name and top == name else sys.modules[name]
    return None


_OPENERS = re.compile(
    r"^(open|open_(dataset|mfdataset|zarr|dataarray|datatree)|read_(csv|parquet|table|excel|hdf|json|text|bytes|feather)|"
    r"loadtxt|genfromtxt|fromfile|memmap|loadmat)$"
)
_LOADS = re.compile(r"(np|numpy|xr|xarray)\.load\w*|h5py\.File|(netCDF4\.)?Dataset")
_CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "perf_counter", "default_rng", "urandom", "uuid4"}
_VARIABLES = re.compile(r"(os\.)?(environ\b.*|getenv)")


def impurities(label: str, code: CodeType) -> Iterator[str]:
    """Yield what the source shows of reading files, variables, clocks, chance or changing what lies outside."""
    for node in ast.walk(_tree(code)):
        if isinstance(node, ast.Global):
            yield f"{label} changes the global {', '.join(node.names)}: another worker will not see that"
        elif isinstance(node, ast.Attribute | ast.Name) and _VARIABLES.fullmatch(ast.unparse(node)):
            yield f"{label} reads environment variables: what they hold is neither recorded nor part of its key"
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        whole = ast.unparse(node.func)
        if _OPENERS.match(called) or _LOADS.fullmatch(whole):
            yield f"{label} calls {whole}: what a block opens by itself is neither recorded nor part of its key"
        seeded = called == "default_rng" and node.args
        chance = re.fullmatch(r"((np|numpy)\.)?random\.\w+", whole)
        if (chance or (called in _CLOCKS and "." in whole)) and not seeded:
            yield f"{label} calls {whole}: its result will not be the same twice"
