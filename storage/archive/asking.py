"""What is missing or wrong in a file that a person wrote, in that person's words: by the name of each field."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

# how what pydantic finds is told to who wrote TOML; by the first part of its kind
_WORDS = {
    "date": "should be a day, without quotation marks or a time, as 2026-11-28",
    "int": "should be a whole number, without quotation marks",
    "tuple": 'should be a list, as ["one", "two"]',
    "dict": 'should be a table, as { name = "value" }',
    "model": "should be a table of its own",
}
_BLANK = "should not be blank"

type Where = tuple[int | str, ...]


def complaints(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Yield a sentence for each thing that a model does not take: what is missing is asked for by name."""
    for one in error.errors():
        where, kind = ".".join(str(part) for part in one["loc"]), one["type"]
        if kind == "missing":
            yield f"{where} is missing{_holds(model, one['loc'])}"
        elif kind == "extra_forbidden":
            yield f"{where} is not known: known are {', '.join(_model_at(model, one['loc'][:-1]).model_fields)}"
        else:
            yield f"{where} {_said(kind, one['msg'])}, not {_shown(one['input'])}"


def _said(kind: str, message: str) -> str:
    if kind in ("string_too_short", "string_pattern_mismatch"):
        return _BLANK
    first = kind.partition("_")[0]
    return _WORDS.get(first) or message.removeprefix("Value error, ").removeprefix("Input ")


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float | list | dict) else str(value)


def _holds(model: type[BaseModel], where: Where) -> str:
    """Say what a table that is missing has to hold."""
    found = _model_at(model, where)
    needed = [name for name, one in found.model_fields.items() if one.is_required()] if found else []
    return f": a table [{where[-1]}] with {', '.join(needed)}" if needed else ""


def _model_at(model: Any, where: Where) -> Any:
    for part in where:
        if isinstance(part, str):
            model = _model_of(model.model_fields[part].annotation)
    return model


def _model_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_of(one) for one in getattr(annotation, "__args__", ()))
    return next((one for one in found if one is not None), None)
