"""Find a flow by what the user typed, and make its parameters of what else was typed."""

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from terp.storage.scrub import know
from terp.workflows.errors import Usage

if TYPE_CHECKING:
    from prefect import Flow

SHIPPED = ("climatology", "imaging")


def load_flow(target: str) -> "Flow[Any, Any]":
    """Return the flow that `target` names: a shipped one, `path/to/file.py:flow` or `package.module:flow`.

    Raises Usage when there is none, with what there is.
    """
    if target in SHIPPED:
        return _flow_in(import_module(f"terp.workflows.flows.{target}"), target, target)
    place, _, name = target.partition(":")
    if not place.endswith(".py") and not name:
        raise Usage(f"there is no flow {target!r}: terp has {', '.join(SHIPPED)}; your own is path/to/file.py:flow")
    module = _module_at(Path(place)) if place.endswith(".py") else _module_named(place)
    return _flow_in(module, name, place)


def _module_at(path: Path) -> ModuleType:
    path = path.expanduser().absolute()
    if not path.is_file():
        raise Usage(f"there is no file {path}")
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        del sys.modules[name]  # it may have been edited since
    elif loaded is not None or _names_another(name, path):
        name = f"flow_{name}"  # an installed module has this name
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # so that it can import what lies beside it
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise Usage(f"{path} is not Python{f', line {error.lineno}' if error.lineno else ''}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise Usage(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _names_another(name: str, path: Path) -> bool:
    found = importlib.util.find_spec(name)
    return found is not None and found.origin != str(path)


def _module_named(name: str) -> ModuleType:
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        raise Usage(f"the module {name} cannot be imported: {type(error).__name__}: {error}") from error


def _flow_in(module: ModuleType, name: str, place: str) -> "Flow[Any, Any]":
    from prefect import Flow

    flows = {n: thing for n, thing in vars(module).items() if isinstance(thing, Flow)}
    if not name and len(flows) == 1:
        name = next(iter(flows))
    known = f"it has {', '.join(sorted(flows))}" if flows else "it has none (decorate a function with @flow)"
    if not name:
        raise Usage(f"{place} names no flow, as in {place}:flow; {known}")
    if name not in flows:
        raise Usage(f"{place} has no flow {name!r}: {known}")
    flow: Flow[Any, Any] = flows[name]
    if flow.isasync:
        raise Usage(f"the flow {name} is async: write it as a plain function")
    return flow


def parameters_of(flow: "Flow[Any, Any]", inputs: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a flow: inputs in its order, settings by name; raises Usage for what it lacks."""
    import inspect

    from prefect.exceptions import ParameterTypeError

    names = list(inspect.signature(flow.fn).parameters)
    unknown = sorted(settings.keys() - set(names))
    if unknown:
        raise Usage(f"{flow.name} has no parameter {', '.join(unknown)}: it has {', '.join(names)}")
    if len(inputs) > len(names):
        raise Usage(f"{flow.name} takes at most {len(names)} inputs ({', '.join(names)}), not {len(inputs)}")
    given = {**dict(zip(names, inputs, strict=False)), **settings}
    know(given)  # before any of it is told
    try:
        inspect.signature(flow.fn).bind(**given)
        checked: dict[str, Any] = flow.validate_parameters(given)
    except (TypeError, ParameterTypeError) as error:
        raise Usage(f"{flow.name}: {_sentence(error)}; its parameters are {', '.join(names)}") from None
    bound = inspect.signature(flow.fn).bind(**checked)
    bound.apply_defaults()
    know(bound.arguments)
    return dict(bound.arguments)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()).removeprefix("Flow run received invalid parameters: - ")
    quoted = """; text that looks like a number has to be in quotes: --set 'name="5"'"""
    return text + (quoted if "valid string" in text else "")


def setting(text: str) -> tuple[str, Any]:
    """Read `name=value`, the value as JSON where it is that, as text else; raises Usage without a `=`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Usage(f"--set {text}: write name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
