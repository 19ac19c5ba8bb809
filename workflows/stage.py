"""What a researcher writes with: `stage`, `ingest`, `iterate`, and the `Product` that goes from one to the next.

Outside a run a stage is just its function. Inside a flow that terp plans or runs, a call on products is a step:
planned from schemas, computed region by region, stored, remembered and reused.
"""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload

from terp.workflows.errors import BadStage, Usage

if TYPE_CHECKING:
    import xarray as xr

    from terp.workflows.step import Call, Step

Block = Callable[..., "xr.Dataset"]


class Session(Protocol):
    """What stands behind the calls of a flow's body: a plan that is being made, or a run."""

    def take(self, steps: Callable[[], "Sequence[Step]"], key: str) -> "Product":
        """Plan or run the steps of one call, whose last has this key; return what they make."""

    def source(self, source: str) -> "tuple[Callable[[], Sequence[Step]], str]":
        """Return the steps, and the key of the last, that take a source in."""

    def values(self, product: "Product") -> "xr.Dataset":
        """Open the values of a product; raises PlanEnds when they do not exist yet."""

    def decide(self, product: "Product", until: Callable[["xr.Dataset"], bool]) -> bool | None:
        """Return the recorded or newly made decision to stop at a product, or None when it cannot be made yet."""

    def at_most(self, product: "Product", times: int) -> None:
        """Note that the call that made a product may be repeated so often."""


session: ContextVar[Session | None] = ContextVar("terp_session", default=None)


class Product:
    """What a stage makes and another takes: real or still only planned.

    `schema` shows dimensions, coordinates and variables without their values, at any time; `product["a/b"]` is one
    of its groups; `open()` gives the values, once they exist.
    """

    def __init__(self, key: str, schemas: "Mapping[str, xr.Dataset]", group: str = "") -> None:
        self.key, self.schemas, self.group = key, schemas, group

    def __repr__(self) -> str:
        return f"Product({self.key}{f'[{self.group!r}]' if self.group else ''})"

    def __getitem__(self, group: str) -> "Product":
        path = f"{self.group}/{group}".strip("/")
        if path not in self.schemas:
            known = ", ".join(sorted(self.schemas))
            raise Usage(f"{self.key} has no group {path!r}; it has {known}")
        return Product(self.key, self.schemas, path)

    @property
    def groups(self) -> tuple[str, ...]:
        """Paths of all groups."""
        return tuple(self.schemas)

    @property
    def schema(self) -> "xr.Dataset":
        """Real coordinates and attributes, variables without values."""
        if self.group not in self.schemas:
            known = ", ".join(self.schemas)
            raise Usage(f"{self.key} has groups ({known}): choose one, as in product[{next(iter(self.schemas))!r}]")
        return self.schemas[self.group]

    @property
    def dims(self) -> dict[str, int]:
        """Sizes of the dimensions."""
        return {str(dim): size for dim, size in self.schema.sizes.items()}

    @property
    def variables(self) -> list[str]:
        """Names of the variables."""
        return [str(name) for name in self.schema.data_vars]

    def open(self) -> "xr.Dataset":
        """Open the values lazily; raises PlanEnds in a flow that is only being planned."""
        return _here("Product.open").values(self)


def _here(what: str) -> Session:
    found = session.get()
    if found is None:
        raise Usage(f"{what} works inside a run: `terp run FLOW INPUT` or terp.workflows.run(flow, input)")
    return found


class Stage:
    """A function on one block, and how the whole may be cut into blocks. Made by `@stage`."""

    def __init__(
        self,
        function: Block,
        cut: tuple[str, ...] | None,
        whole: tuple[str, ...] | None,
        over: tuple[str, ...],
        block: Mapping[str, int],
        libraries: tuple[str, ...],
    ) -> None:
        self.block_function = function
        self.cut, self.whole, self.over, self.block, self.libraries = cut, whole, over, dict(block), libraries
        self._combine: Block | None = None
        self._finish: Block | None = None
        self.__name__ = getattr(function, "__name__", "stage")
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.__signature__ = inspect.signature(function)

    def __repr__(self) -> str:
        return f"<stage {self.__name__}>"

    def combine(self, function: Block) -> Block:
        """Say how two partial results become one (default: their sum). A decorator."""
        self._combine = function
        return function

    def finish(self, function: Block) -> Block:
        """Say how the whole partial result becomes the result (default: it is it). A decorator."""
        self._finish = function
        return function

    @overload
    def __call__(self, first: Product, /, *blocks: Any, **parameters: Any) -> Product: ...
    @overload
    def __call__(self, first: "xr.Dataset", /, *blocks: Any, **parameters: Any) -> "xr.Dataset": ...
    def __call__(self, /, *blocks: Any, **parameters: Any) -> Any:
        """On products: a step of the flow. On datasets: just the function."""
        given = [*blocks, *parameters.values()]
        if not any(isinstance(one, Product) for one in given):
            return self._plain(*blocks, **parameters)
        call = self._bind(blocks, parameters)
        key, build = _described(call)
        return _here(self.__name__).take(build, key)

    def _plain(self, *blocks: Any, **parameters: Any) -> "xr.Dataset":
        result = self.block_function(*blocks, **parameters)
        return self._finish(result, *blocks[1:], **parameters) if self._finish else result

    def _bind(self, blocks: tuple[Any, ...], parameters: dict[str, Any]) -> "Call":
        from terp.workflows.code import Code
        from terp.workflows.step import Call

        try:
            bound = inspect.signature(self.block_function).bind(*blocks, **parameters)
        except TypeError as error:
            raise BadStage(f"{self.__name__} was called with other arguments than it takes: {error}") from None
        bound.apply_defaults()
        order, products, values = _sorted_arguments(self.__name__, bound)
        schemas = tuple(product.schema for product in products)
        inputs = tuple((product.key, product.group) for product in products)
        combine, finish = self._combine or _add, self._finish or _same
        codes = [Code(f) for f in (self.block_function, self._combine, self._finish) if f is not None]
        return Call(
            self.__name__,
            self.block_function,
            combine,
            finish,
            self._ingredients({n: t for code in codes for n, t in code.parts.items()}, values, inputs, order),
            order,
            values,
            inputs,
            schemas,
            self._cut_dims(schemas),
            self.over,
            self.block,
            tuple(f"{self.__name__}: {doubt}" for code in codes for doubt in code.doubts),
        )

    def _cut_dims(self, schemas: "Sequence[xr.Dataset]") -> tuple[str, ...]:
        if self.whole is None:
            return self.cut or ()
        missing = [dim for dim in self.whole if dim not in schemas[0].dims]
        if missing:
            raise BadStage(
                f"{self.__name__} keeps {', '.join(missing)} whole, which its first input does not have; "
                f"it has {', '.join(map(str, schemas[0].dims))}"
            )
        return tuple(str(dim) for dim in _shared_dims(schemas[0]) if dim not in self.whole)

    def _ingredients(
        self,
        code: dict[str, str],
        values: dict[str, Any],
        inputs: tuple[tuple[str, str], ...],
        order: tuple[str | int, ...],
    ) -> dict[str, Any]:
        return {
            "stage": self.__name__,
            "code": code,
            "parameters": values,
            "inputs": [list(one) for one in inputs],
            "order": list(order),
            "libraries": {name: _version(self.__name__, name) for name in self.libraries},
            "cut": [list(self.cut or ()), list(self.whole or ()), list(self.over), self.block],
        }


def _shared_dims(schema: "xr.Dataset") -> list[str]:
    """Return the dimensions that all variables carry, in the order of the first."""
    variables = list(schema.data_vars.values())
    return [str(d) for d in variables[0].dims if all(d in v.dims for v in variables)] if variables else []


def _add(a: "xr.Dataset", b: "xr.Dataset") -> "xr.Dataset":
    return a + b


def _same(partial: "xr.Dataset", *_: Any, **__: Any) -> "xr.Dataset":
    return partial


def _described(call: "Call") -> "tuple[str, Callable[[], list[Step]]]":
    """Return the key of a call's last step, which needs no trial, and how to get the steps."""
    from terp.workflows.step import key_of

    last = {**call.ingredients, "level": "result"} if call.over else call.ingredients
    return key_of(call.name, last), call.steps


def _sorted_arguments(
    name: str, bound: inspect.BoundArguments
) -> tuple[tuple[str | int, ...], tuple[Product, ...], dict[str, Any]]:
    """Tell products from parameters; return the positional order, the products, and the parameters by name."""
    order: list[str | int] = []
    products: list[Product] = []
    values: dict[str, Any] = {}
    for parameter, value in bound.arguments.items():
        kind = bound.signature.parameters[parameter].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            values.update({k: _json(name, k, v) for k, v in value.items()})
            continue
        for one in value if kind is inspect.Parameter.VAR_POSITIONAL else (value,):
            if isinstance(one, Product):
                if kind is inspect.Parameter.KEYWORD_ONLY:
                    raise BadStage(f"{name} takes a product as {parameter}=: let products be positional arguments")
                order.append(len(products))
                products.append(one)
            else:
                values[parameter] = _json(name, parameter, one)
                if kind is not inspect.Parameter.KEYWORD_ONLY:
                    order.append(parameter)
    return tuple(order), tuple(products), values


def _json(stage_name: str, parameter: str, value: Any) -> Any:
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


def _version(stage_name: str, library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        raise BadStage(f"{stage_name} names the library {library}, which is not installed") from None


def stage(
    *,
    cut: Sequence[str] | None = None,
    whole: Sequence[str] | None = None,
    over: Sequence[str] = (),
    block: Mapping[str, int] | None = None,
    libraries: Sequence[str] = (),
) -> Callable[[Block], Stage]:
    """Make a function on one xarray block a stage.

    `cut` names the dimensions along which blocks may be cut (all others stay whole), or `whole` those that stay
    whole (the result may be cut along all others that every variable of the first input has). `over` names
    dimensions that are reduced away: the function then gives the partial result of one block, and partial results are
    combined in a fixed tree. `block` fixes lengths of blocks; `libraries` names those whose version belongs to the key.
    """
    if cut is not None and whole is not None:
        raise BadStage("say cut=... or whole=..., not both: each says the other")
    for name, given in (("cut", cut), ("whole", whole), ("over", over), ("libraries", libraries)):
        if isinstance(given, str):
            raise BadStage(f'{name}="{given}" is text: write {name}=("{given}",)')
    if cut is None and whole is None and not over:
        raise BadStage("say along which dimensions blocks may be cut: cut=(...), whole=(...) or over=(...)")
    as_tuple = (tuple(cut) if cut is not None else None, tuple(whole) if whole is not None else None)

    def decorate(function: Block) -> Stage:
        return Stage(function, *as_tuple, tuple(over), block or {}, tuple(libraries))

    return decorate


def ingest(source: str | Path) -> Product:
    """Take a file or folder of measurements in: a product under CF or MSv4 names.

    Raises BadInput when it is not what it says, or of no kind that is known.
    """
    here = _here("ingest")
    build, key = here.source(str(source))
    return here.take(build, key)


def iterate(
    step: Stage,
    state: Product,
    *others: Any,
    limit: int,
    until: Callable[["xr.Dataset"], bool] | None = None,
    **parameters: Any,
) -> Product:
    """Repeat `state = step(state, *others, **parameters)` until `until(state)` holds, at most `limit` times.

    Each repetition is a product of its own, named by its number; each decision to stop is recorded with it, so that a
    resumed or repeated run takes the same path. While planning, the first repetition stands for those not yet decided.
    """
    here = _here("iterate")
    for number in range(limit):
        before = state
        state = step(before, *others, **parameters)
        if number == 0 and not _like(before, state):
            raise BadStage(f"{step.__name__} is iterated, but returns other variables or sizes than it takes")
        stop = here.decide(state, until) if until else False
        if stop is None:
            here.at_most(state, limit - number)
            return state
        if stop:
            return state
    return state


def _like(a: Product, b: Product) -> bool:
    def shape(product: Product) -> dict[str, Any]:
        return {str(n): (v.sizes, v.dtype) for n, v in product.schema.data_vars.items()}

    return shape(a) == shape(b)
