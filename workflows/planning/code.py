"""The identity of code: the normalised source of a function and of all it reaches in the user's own files.

Comments, docstrings, annotations, blank lines and line breaks do not count, nor does code that is not reached; what
comes from an installed library counts by name only (a stage names the libraries whose version shall count).
"""

import ast
import functools
import hashlib
import inspect
import re
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

_LIBRARIES = tuple(
    str(Path(sysconfig.get_paths()[name]).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def is_own(module_name: str) -> bool:
    """Say whether a module is the user's own (or one of terp's flows), not an installed library."""
    if module_name.partition(".")[0] == "terp":
        return True
    module = sys.modules.get(module_name)
    place = getattr(module, "__file__", None)
    if place is None:
        return module_name == "__main__"
    return not str(Path(place).resolve()).startswith(_LIBRARIES)


_REORDERED = "another processor may give other last bits. Declare a `tolerance`, or compile without it"


class Code:
    """What a function is made of.

    `parts` maps each reached name to its normalised source or value; `doubts` are sentences about what is
    reached and cannot be named (so that a change of it would go unseen); `compiled` says that some of it is compiled
    when it is first called. `exact`: nobody has said that its bits may differ.
    """

    def __init__(self, function: Callable[..., Any], exact: bool = True) -> None:
        self.parts: dict[str, str] = {}
        self.doubts: list[str] = []
        self.modules: set[str] = set()
        self.compiled, self.exact = False, exact
        self._reach(getattr(function, "__qualname__", repr(function)), function)

    def _reach(self, name: str, thing: Any) -> None:
        self.compiled |= hasattr(thing, "py_func")
        if self.exact and getattr(thing, "targetoptions", {}).get("fastmath"):
            self.doubts.append(f"{thing.__name__} is compiled with fastmath: {_REORDERED}")
        thing = _inner(thing)
        if isinstance(thing, FunctionType):
            self._function(thing)
        elif isinstance(thing, functools.partial):
            for part in (thing.func, thing.args, thing.keywords):
                self._reach(f"{name} (partial)", part)
        elif isinstance(thing, type):
            self._class(thing)
        elif isinstance(thing, ModuleType):
            pass  # its attributes are reached one by one
        else:
            self._value(name, thing)

    def _function(self, function: FunctionType) -> None:
        module = function.__module__ or "__main__"
        label = function.__qualname__
        if not is_own(module) or label in self.parts:
            return
        self.modules.add(module)
        self.parts[label] = normalised(function)
        self.doubts += _impurities(label, function)
        for name, value in _reached(function):
            self._reach(f"{label}:{name}", value)
        for name, default in inspect.signature(function).parameters.items():
            if default.default is not inspect.Parameter.empty:
                self._reach(f"{label}({name})", default.default)
        for imported in _imported_inside(function):
            self.parts[imported] = _normalise(inspect.getsource(sys.modules[imported]))

    def _class(self, kind: type) -> None:
        if not is_own(kind.__module__) or kind.__qualname__ in self.parts:
            return
        self.modules.add(kind.__module__)
        self.parts[kind.__qualname__] = normalised(kind)
        for name, member in vars(kind).items():
            function = getattr(member, "__func__", getattr(member, "fget", member))
            if isinstance(function, FunctionType) and _is_written(function):
                for reached, value in _reached(function):
                    self._reach(f"{kind.__qualname__}.{name}:{reached}", value)

    def _value(self, name: str, value: Any) -> None:
        text = _named(value)
        if text is None:
            self.doubts.append(f"{name} is a {type(value).__name__}, whose value cannot be named: a change goes unseen")
            text = type(value).__qualname__
        self.parts[name] = text


def parts_of(codes: Mapping[str, Code]) -> dict[str, str]:
    """Return all that some functions are made of, by name; others of the same name, as `_`, by their role too."""
    parts: dict[str, str] = {}
    for role, code in codes.items():
        for name, text in code.parts.items():
            parts[name if parts.get(name, text) == text else role + name] = text
    return parts


def _is_written(function: FunctionType) -> bool:
    """Say whether somebody wrote a method, and no library made it (dataclasses make many)."""
    return not function.__code__.co_filename.startswith(("<string>", sysconfig.get_path("stdlib")))


def _inner(thing: Any) -> Any:
    """Return what a wrapper wraps: a cached, compiled (numba) or decorated function, or a stage."""
    if isinstance(thing, type) or not callable(thing):
        return thing
    for name in ("block_function", "py_func", "__wrapped__"):
        if hasattr(thing, name):
            return _inner(getattr(thing, name))
    return thing


def normalised(thing: FunctionType | type) -> str:
    """Return the source of a function or class without what does not change what it does."""
    return _normalise(_source(thing))


@cache
def _source(thing: FunctionType | type) -> str:
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):  # typed in at a prompt: its byte code is all there is
        code = getattr(thing, "__code__", None)
        shown = f"{hashlib.sha256(code.co_code).hexdigest()} {code.co_consts!r}" if code else repr(thing)
        return repr(shown)


@cache
def _normalise(source: str) -> str:
    tree = _Plain().visit(ast.parse(source))
    return ast.unparse(ast.fix_missing_locations(tree))


class _Plain(ast.NodeTransformer):
    """Drop docstrings, annotations and decorators of stages."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.decorator_list = [d for d in node.decorator_list if "stage" not in ast.unparse(d)]
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


def _undocumented(node: ast.FunctionDef | ast.ClassDef | ast.Module) -> ast.AST:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.Pass()]
    return node


def _reached(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the global and enclosing names a function uses, with their values."""
    names = set(_names(function.__code__))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        yield name, value
        if isinstance(value, ModuleType) and is_own(value.__name__):
            yield from ((f"{name}.{a}", getattr(value, a)) for a in sorted(names & vars(value).keys()))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


_OPENERS = re.compile(
    r"^(open|open_(dataset|mfdataset|zarr|dataarray)|read_(csv|parquet|table)|loadtxt|genfromtxt|fromfile)$"
)
_CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "perf_counter", "default_rng", "urandom", "uuid4"}


def _impurities(label: str, function: FunctionType) -> Iterator[str]:
    """Yield what the source shows of reading files, clocks, chance or changing what lies outside."""
    for node in ast.walk(ast.parse(_source(function))):
        if isinstance(node, ast.Global):
            yield f"{label} changes the global {', '.join(node.names)}: another worker will not see that"
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        whole = ast.unparse(node.func)
        if _OPENERS.match(called):
            yield f"{label} calls {whole}: what a block opens by itself is neither recorded nor part of its key"
        seeded = called == "default_rng" and node.args
        chance = re.fullmatch(r"((np|numpy)\.)?random\.\w+", whole)
        if (chance or (called in _CLOCKS and "." in whole)) and not seeded:
            yield f"{label} calls {whole}: its result will not be the same twice"


def _imported_inside(function: FunctionType) -> list[str]:
    """Return the user's own modules that a function imports in its body."""
    tree = ast.parse(_source(function))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return sorted(name for name in names if name in sys.modules and is_own(name))


def _named(value: Any) -> str | None:
    """Return text that is the same exactly where the value is, or None where there is no such text."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, tuple | list | set | frozenset | dict):
        items = list(value.items()) if isinstance(value, dict) else list(value)
        texts = [_named(item) for item in items]
        if None in texts:
            return None
        ordered = sorted(map(str, texts)) if isinstance(value, set | frozenset) else map(str, texts)
        return f"{type(value).__name__}({', '.join(ordered)})"
    if hasattr(value, "tobytes") and hasattr(value, "dtype") and value.dtype.kind != "O":
        return f"{value.dtype.str}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
    return _library_name(value)


def _library_name(value: Any) -> str | None:
    """Return the name of something that an installed library defines, or None."""
    if isinstance(value, ModuleType):
        return value.__name__
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if module is None and type(value).__name__ in ("ufunc", "builtin_function_or_method", "_ArrayFunctionDispatcher"):
        return f"{type(value).__name__} {getattr(value, '__name__', '')}"
    return f"{module}.{name}" if module and name else None
