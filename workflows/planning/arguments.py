"""The arguments of a stage's call: which are products, which parameters, and in what order they stood."""

import inspect
import json
from typing import Any

from terp.workflows.errors import BadStage
from terp.workflows.session import Product


def sorted_arguments(
    name: str, bound: inspect.BoundArguments
) -> tuple[tuple[str | int, ...], tuple[Product, ...], dict[str, Any]]:
    """Tell products from parameters; return the positional order, the products, and the parameters by name."""
    order: list[str | int] = []
    products: list[Product] = []
    values: dict[str, Any] = {}
    for parameter, value in bound.arguments.items():
        kind = bound.signature.parameters[parameter].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            values.update({k: json_value(name, k, v) for k, v in value.items()})
            continue
        for one in value if kind is inspect.Parameter.VAR_POSITIONAL else (value,):
            if isinstance(one, Product):
                if kind is inspect.Parameter.KEYWORD_ONLY:
                    raise BadStage(f"{name} takes a product as {parameter}=: let products be positional arguments")
                order.append(len(products))
                products.append(one)
            else:
                values[parameter] = json_value(name, parameter, one)
                if kind is not inspect.Parameter.KEYWORD_ONLY:
                    order.append(parameter)
    return tuple(order), tuple(products), values


def json_value(stage_name: str, parameter: str, value: Any) -> Any:
    """Return a parameter as what JSON holds of it; raises BadStage when it holds something else."""
    try:
        plain = json.loads(json.dumps(value))
    except (TypeError, ValueError):
        plain = None
    same = plain == (list(value) if isinstance(value, tuple) else value)
    if not same and json.dumps(plain) != json.dumps(value, default=str):
        raise BadStage(
            f"{stage_name} takes {parameter}={value!r} ({type(value).__name__}): parameters are numbers, text, "
            "truth values, lists and dicts of these, so that they can be recorded and repeated"
        )
    return plain
