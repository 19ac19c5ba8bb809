"""The identity of code: the normalised source of a function and of all it reaches in the user's own files.

Comments, docstrings, annotations, blank lines and line breaks do not count, nor does code that is not reached; what
comes from an installed library counts by name only (a stage names the libraries whose version shall count).
"""

import copyreg
import dataclasses
import functools
import hashlib
import inspect
import re
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

import numpy as np

from terp.workflows.planning.source import (
    attributes_in,
    constants,
    imported_inside,
    impurities,
    is_own,
    names_in,
    normalised,
)

_REORDERED = "another processor may give other last bits. Declare a `tolerance`, or compile without it"
_PYTHONS_OWN = re.compile(r"_.*_|_abc_impl")  # of a class
_WRAPPED = ("block_function", "py_func", "__wrapped__")  # of a stage, of what is compiled, of what has a cache


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
        self._labels: dict[int, str] = {}  # of what was reached, by its identity
        self._held: list[Any] = []  # so that no identity is given twice
        name = str(getattr(function, "__qualname__", type(function).__qualname__))
        self._reach(f"{name}:{name}", function)
        self.doubts = list(dict.fromkeys(self.doubts))

    def _reach(self, name: str, thing: Any) -> None:
        """Note what a name stands for, where the name does not say it."""
        text = self._named(name, thing)
        if text is None:
            self.doubts.append(f"{name} is a {type(thing).__name__}, whose value cannot be named: a change goes unseen")
            text = type(thing).__qualname__
        if text != re.split("[:.]", name)[-1] and not name.endswith(f":{text}"):
            self.parts[name] = text

    def _label(self, thing: Any, module: str, name: str) -> str:
        """Return a label that nothing else has: two functions may have one name."""
        taken, label, number = set(self._labels.values()), name, 1
        while label in taken:
            number += 1
            label = f"{module}.{name}" if number == 2 else f"{module}.{name} ({number})"
        self._labels[id(thing)] = label
        self._held.append(thing)
        return label

    def _named(self, name: str, thing: Any) -> str | None:
        """Return text that is the same exactly where the thing is, or None where there is none; reach its code."""
        if id(thing) in self._labels:
            return self._labels[id(thing)]
        if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
            return repr(thing)
        if isinstance(thing, ModuleType):
            return thing.__name__
        if isinstance(thing, FunctionType):
            return self._function(thing)
        if isinstance(thing, type):
            return self._class(thing)
        if isinstance(thing, tuple | list | set | frozenset | dict):
            return self._container(name, thing)
        if isinstance(thing, np.ndarray | np.generic):
            return self._array(name, thing)
        return self._object(name, thing)

    def _joined(self, name: str, kind: str, things: Iterable[Any]) -> str | None:
        texts = [self._named(name, one) for one in things]
        return None if None in texts else f"{kind}({', '.join(map(str, texts))})"

    def _container(self, name: str, thing: Any) -> str | None:
        kind = self._class(type(thing)) if is_own(type(thing).__module__) else type(thing).__name__
        self._labels[id(thing)] = f"that {kind}"  # as it may hold itself
        self._held.append(thing)
        items = list(thing.items()) if isinstance(thing, Mapping) else list(thing)
        if isinstance(thing, set | frozenset):
            items.sort(key=lambda one: str(getattr(one, "__qualname__", one)))
        text = self._joined(name, kind, items)
        del self._labels[id(thing)]
        return text

    def _array(self, name: str, thing: Any) -> str | None:
        if thing.dtype.hasobject:
            return None
        digest = hashlib.sha256(np.asarray(thing).tobytes()).hexdigest()
        text = f"{thing.dtype.descr if thing.dtype.names else thing.dtype.str}{thing.shape}{digest}"
        beside = {} if isinstance(thing, np.memmap) else getattr(thing, "__dict__", {})  # a mask, a unit
        return self._joined(name, text, [type(thing), beside]) if beside else text

    def _wrapper(self, name: str, thing: Any) -> str | None:
        """Return the name of what is cached, compiled (numba) or a stage by that of what is in it."""
        self.compiled |= hasattr(thing, "py_func")
        options = dict(getattr(thing, "targetoptions", None) or {})
        if self.exact and options.get("fastmath"):
            self.doubts.append(f"{thing.__name__} is compiled with fastmath: {_REORDERED}")
        inner = [getattr(thing, one) for one in (*_WRAPPED, "_finish") if getattr(thing, one, None) is not None]
        texts = dict.fromkeys(self._named(name, one) for one in inner)
        return None if None in texts else ", ".join(map(str, [*texts, *([options] if options else [])]))

    def _function(self, function: FunctionType) -> str:
        module = str(function.__globals__.get("__name__", "__main__"))
        code = function.__code__
        if not is_own(module):
            return self._of_library(function)
        named = code.co_qualname if hasattr(function, "__wrapped__") else function.__qualname__  # wraps() gives another
        label = self._label(function, module, named)
        self.modules.add(module)
        self.parts[label] = normalised(code)
        self._body(label, function)
        return label

    def _body(self, label: str, function: FunctionType) -> None:
        self.doubts += impurities(label, function.__code__)
        for name, value in _reached(function):
            self._reach(f"{label}:{name}", value)
        for name, default in inspect.signature(function, follow_wrapped=False).parameters.items():
            if default.default is not inspect.Parameter.empty:
                self._reach(f"{label}({name})", default.default)
        for name, value in vars(function).items():
            self._reach(f"{label}:.{name}", value)

    def _of_library(self, thing: Any) -> str:
        """Return the name of what an installed library defines, with what of the user's own it was given."""
        name = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
        given = [value for _, value in _cells(thing)] if isinstance(thing, FunctionType) else []
        for some in (getattr(thing, "__dict__", {}), getattr(thing, "registry", {})):  # of a singledispatch
            given += some.values() if isinstance(some, Mapping) else []
        own = [one for one in given if _is_own_code(one)]
        return f"{name}({', '.join(dict.fromkeys(str(self._named(name, one)) for one in own))})" if own else name

    def _class(self, kind: type) -> str:
        if id(kind) in self._labels:
            return self._labels[id(kind)]
        if not is_own(kind.__module__):
            return f"{kind.__module__}.{kind.__qualname__}"
        label = self._label(kind, kind.__module__, kind.__qualname__)
        self.modules.add(kind.__module__)
        self.parts[label] = normalised(kind)
        for base in (*kind.__bases__, type(kind)):
            if base not in (object, type):
                self._reach(f"{label}({base.__name__})", base)
        said = constants(kind)
        for name, member in list(vars(kind).items()):
            for function in _functions(member):
                self._method(f"{label}:{name}", kind, function)
            if not _is_apart(name, member) and said.get(name) != repr(member):
                self._reach(f"{label}:{name}", member)
        for one in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
            if one.default_factory is not dataclasses.MISSING:
                self._reach(f"{label}:{one.name}", one.default_factory)
        return label

    def _method(self, label: str, kind: type, function: FunctionType) -> None:
        """Reach what a method does: its own source is in that of its class, one that was put there later is not."""
        if function.__code__.co_qualname.startswith(f"{kind.__qualname__}."):
            self._body(label, function)
        elif _is_written(function):
            self._reach(label, function)

    def _object(self, name: str, thing: Any) -> str | None:
        """Return the name of what belongs to an object, and of the object by all that makes it."""
        owner = getattr(thing, "__self__", None)
        if owner is not None and not isinstance(owner, ModuleType):
            return self._joined(name, "method", (owner, getattr(thing, "__func__", thing.__name__)))
        own = is_own(type(thing).__module__)
        if hasattr(thing, "block_function") or (
            not own and callable(thing) and any(hasattr(thing, one) for one in _WRAPPED)
        ):
            return self._wrapper(name, thing)
        if own:
            return self._instance(name, thing)
        if isinstance(thing, functools.partial):
            return self._joined(name, "partial", (thing.func, thing.args, thing.keywords))
        if getattr(thing, "__qualname__", None) and getattr(thing, "__module__", None):
            return self._of_library(thing)
        if type(thing).__name__ in ("ufunc", "builtin_function_or_method"):
            return None if "(vectorized)" in repr(thing) else f"{type(thing).__name__} {thing.__name__}"
        self._of_library(thing)  # of what it holds an edit is seen
        with suppress(Exception):
            reduce = copyreg.dispatch_table.get(type(thing))
            made = reduce(thing) if reduce else thing.__reduce_ex__(4)
            if isinstance(made, tuple) and not any(one is not None for one in made[2:]):  # nothing else makes it
                return self._joined(name, type(thing).__qualname__, made[:2])
        return None

    def _instance(self, name: str, thing: Any) -> str | None:
        kind = self._class(type(thing))
        if isinstance(thing, threading.local):  # what one thread has put there is no part of what is done
            return kind
        self._labels[id(thing)] = f"that {kind}"
        self._held.append(thing)
        held = object.__getstate__(thing)
        whole = [
            (key, value) for one in (held if isinstance(held, tuple) else (held,)) for key, value in (one or {}).items()
        ]
        lasting = [one for one in whole if not isinstance(vars(type(thing)).get(one[0]), functools.cached_property)]
        del self._labels[id(thing)]
        return self._joined(name, kind, [value for pair in lasting for value in pair])


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


def _is_own_code(thing: Any) -> bool:
    return isinstance(thing, FunctionType | type) and is_own(getattr(thing, "__module__", None) or "")


def _is_apart(name: str, member: Any) -> bool:
    """Say whether what a class holds is Python's own, or was looked at as functions are."""
    return (
        _PYTHONS_OWN.fullmatch(name) is not None
        or isinstance(member, GetSetDescriptorType | MemberDescriptorType)
        or bool(_functions(member))
    )


def _functions(member: Any) -> list[FunctionType]:
    """Return the functions that a member of a class is made of."""
    some = [member, *(getattr(member, one, None) for one in ("__func__", "fget", "fset", "fdel", "func"))]
    return [one for one in some if isinstance(one, FunctionType)]


def _reached(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the global and enclosing names a function uses, and those it imports, with their values."""
    names, taken = names_in(function.__code__), attributes_in(function.__code__)
    there = dict(_cells(function))
    there |= {name: function.__globals__[name] for name in sorted(names & function.__globals__.keys() - there.keys())}
    for name, value in there.items():
        yield from _attributes(name, value, names, taken)
    for name, value in imported_inside(function):
        yield from _attributes(name, value, names)


def _attributes(
    name: str, value: Any, names: set[str], taken: set[str] | None = None, within: tuple[Any, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Yield a value, and what of a module is named: all where it is the user's own, else what they have put there.

    Of a library it has to be `taken` of that by name, where that is known: others have attributes of the same name.
    """
    yield name, value
    if not isinstance(value, ModuleType) or value in within:
        return
    own = is_own(value.__name__)
    for attribute in sorted(names & vars(value).keys()):
        inner = vars(value)[attribute]
        if own or (_is_own_code(inner) and (not taken or f"{name}.{attribute}" in taken)):
            yield from _attributes(f"{name}.{attribute}", inner, names, taken, (*within, value))


def _cells(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # nothing is there yet
            yield name, cell.cell_contents
