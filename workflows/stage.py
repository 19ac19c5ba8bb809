"""What a researcher writes with: `stage`, `ingest`, `iterate`, and the `Product` that goes from one to the next.

Outside a run a stage is just its function. Inside a flow that terp plans or runs, a call on products is a step:
planned from schemas, computed region by region, stored, remembered and reused.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from terp.workflows.cutting import Cutting, names, tolerated
from terp.workflows.errors import BadStage
from terp.workflows.planning.arguments import sorted_arguments
from terp.workflows.session import Product, here, repetition

if TYPE_CHECKING:
    import xarray as xr

    from terp.workflows.planning.call import Call

Block = Callable[..., "xr.Dataset"]
Kernel = Callable[..., "xr.Dataset | Mapping[str, Any]"]


class Stage:
    """A function on one block, and how the whole may be cut into blocks. Made by `@stage`."""

    def __init__(self, function: Block, how: Cutting, libraries: tuple[str, ...]) -> None:
        self.block_function, self.how, self.libraries = function, how, libraries
        self._kernel: Kernel | None = None
        self._combine: Block | None = None
        self._finish: Block | None = None
        self.__name__ = getattr(function, "__name__", "stage")
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.__signature__ = inspect.signature(function)

    def __repr__(self) -> str:
        return f"<stage {self.__name__}>"

    def kernel(self, function: Kernel) -> Kernel:
        """Say what computes the same on a block, compiled and faster: runs use it. A decorator.

        It returns a Dataset, or just its arrays by name, whose dimensions are then those that the stage's own function
        gives: to make a Dataset takes some 0.2 ms, and parts are many.

        The stage's own function stays the reference: every plan compares the two on a made-up block, and outside a run
        it is what is called. A region is handed to a kernel in parts that stay in the caches of a core.
        """
        self._kernel = function
        return function

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
        from terp.workflows.planning.step import key_of

        call = self._bind(blocks, parameters)
        return here(self.__name__).take(call.steps, key_of(call.name, call.ingredients))

    def _plain(self, *blocks: Any, **parameters: Any) -> "xr.Dataset":
        result = self.block_function(*blocks, **parameters)
        return self._finish(result, *blocks[1:], **parameters) if self._finish else result

    def _bind(self, blocks: tuple[Any, ...], parameters: dict[str, Any]) -> "Call":
        from terp.workflows.planning.call import Call
        from terp.workflows.planning.code import Code, parts_of

        try:
            bound = inspect.signature(self.block_function).bind(*blocks, **parameters)
        except TypeError as error:
            raise BadStage(f"{self.__name__} was called with other arguments than it takes: {error}") from None
        bound.apply_defaults()
        order, products, values = sorted_arguments(self.__name__, bound)
        schemas = tuple(product.schema for product in products)
        inputs = tuple((product.key, product.group) for product in products)
        combine, finish = self._combine or _add, self._finish or _same
        functions = {"": self.block_function, "kernel ": self._kernel}
        functions |= {"combine ": self._combine, "finish ": self._finish}
        codes = {role: Code(f, not self.how.tolerance) for role, f in functions.items() if f is not None}
        return Call(
            self.__name__,
            self.block_function,
            self._kernel,
            combine,
            finish,
            self._ingredients(parts_of(codes), values, inputs, order),
            order,
            values,
            inputs,
            schemas,
            replace(self.how, cut=self._cut_dims(schemas), whole=None),
            any(code.compiled for code in codes.values()),
            tuple(f"{self.__name__}: {doubt}" for code in codes.values() for doubt in code.doubts),
        )

    def _cut_dims(self, schemas: "Sequence[xr.Dataset]") -> tuple[str, ...]:
        whole = self.how.whole
        if whole is None:
            return self.how.cut or ()
        missing = [dim for dim in whole if dim not in schemas[0].dims]
        if missing:
            raise BadStage(
                f"{self.__name__} keeps {', '.join(missing)} whole, which its first input does not have; "
                f"it has {', '.join(map(str, schemas[0].dims))}"
            )
        return tuple(str(dim) for dim in _shared_dims(schemas[0]) if dim not in whole)

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
            **self.how.ingredients(),
        }


def _shared_dims(schema: "xr.Dataset") -> list[str]:
    """Return the dimensions that all variables carry, in the order of the first."""
    variables = list(schema.data_vars.values())
    return [str(d) for d in variables[0].dims if all(d in v.dims for v in variables)] if variables else []


def _add(a: "xr.Dataset", b: "xr.Dataset") -> "xr.Dataset":
    return a + b


def _same(partial: "xr.Dataset", *_: Any, **__: Any) -> "xr.Dataset":
    return partial


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
    halo: Mapping[str, int] | None = None,
    coarsen: Mapping[str, int] | None = None,
    block: Mapping[str, int] | None = None,
    chunk: Mapping[str, int] | None = None,
    copies: float = 0.0,
    libraries: Sequence[str] = (),
    codec: str = "",
    tolerance: float | Sequence[float] | None = None,
    overhead: float = 0.0,
) -> Callable[[Block], Stage]:
    """Make a function on one xarray block a stage.

    `cut` names the dimensions along which blocks may be cut (all others stay whole), or `whole` those that stay
    whole (the result may be cut along all others that every variable of the first input has). `over` names
    dimensions that are reduced away: the function then gives the partial result of one block, and partial results are
    combined in a fixed tree. `halo` says how many elements beyond a block, on both sides of a dimension that is cut,
    the function looks at: it gets them too (fewer at the ends of the whole), and returns as much as it got.
    `coarsen` says of how many elements of a dimension that is cut the function makes one. A block has a multiple of
    these; what is left at the end of the whole becomes one too, as `coarsen(..., boundary="pad")` of xarray does.

    `block` fixes lengths of blocks, in elements of the result, `chunk` those of the inner chunks in which they are
    stored; `libraries` names those whose version belongs to the key; `codec` how the result is stored, such as
    "lz4-5-bitshuffle" for what was digitised or "none" (default: what suits its type, smaller for what the flow returns
    than for what it only goes through).
    `copies` says how many times its inputs and its result a worker holds at once, for who has measured it.
    `tolerance` is for who cannot give the same bits twice: how far floating-point values may be from those of an
    earlier run, relative to them, or (relative, absolute); `terp replay` holds results to it.
    `overhead` is for a reduction whose calls take long whatever they get, as the Fourier transforms of a gridder do:
    that time, in those in which it goes through as many bytes as its partial result has. Blocks are then so long
    that a call spends a fifth on it at most, or half where data are few.
    """
    how = Cutting(
        cut=names("cut", cut),
        whole=names("whole", whole),
        over=names("over", over) or (),
        halo=dict(halo or {}),
        coarsen=dict(coarsen or {}),
        block=dict(block or {}),
        chunk=dict(chunk or {}),
        copies=copies,
        codec=codec,
        tolerance=tolerated(tolerance),
        overhead=overhead,
    )
    named = names("libraries", libraries) or ()
    return lambda function: Stage(function, how, named)


def rechunk(
    product: Product,
    cut: Sequence[str],
    *,
    block: Mapping[str, int] | None = None,
    chunk: Mapping[str, int] | None = None,
    codec: str = "",
    tolerance: float | Sequence[float] | None = None,
) -> Product:
    """Store a product again, cut along other dimensions: time series for who reads images, images for who reads series.

    `cut`, `block`, `chunk`, `codec` and `tolerance` are those of `stage`. Values stay as they are.
    """
    how = Cutting(
        cut=names("cut", cut),
        block=dict(block or {}),
        chunk=dict(chunk or {}),
        copies=REARRANGED,
        codec=codec,
        tolerance=tolerated(tolerance),
        reads=True,
    )
    return Stage(rearranged, how, ())(product)


REARRANGED = 0.5  # input and result are one


def rearranged(block: "xr.Dataset") -> "xr.Dataset":
    """Return the block itself: only where its values are stored is another place."""
    return block


def ingest(source: str | Path) -> Product:
    """Take a file or folder of measurements in: a product under CF or MSv4 names.

    Raises BadInput when it is not what it says, or of no kind that is known.
    """
    now = here("ingest")
    build, key = now.source(str(source))
    return now.take(build, key)


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
    now, first = here("iterate"), ""
    for number in range(limit):
        before = state
        with repetition(first):
            state = step(before, *others, **parameters)
        first = first or state.key
        if number == 0 and not _like(before, state):
            raise BadStage(f"{step.__name__} is iterated, but returns other variables or sizes than it takes")
        stop = now.decide(state, until) if until else False
        if stop is None:
            now.at_most(state, limit - number)
            return state
        if stop:
            return state
    return state


def _like(a: Product, b: Product) -> bool:
    def shape(product: Product) -> dict[str, Any]:
        return {str(n): (v.sizes, v.dtype) for n, v in product.schema.data_vars.items()}

    return shape(a) == shape(b)
