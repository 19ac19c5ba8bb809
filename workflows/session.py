"""What a flow's body sees of a plan or a run: products, and the session behind them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from terp.workflows.errors import Usage

if TYPE_CHECKING:
    import xarray as xr

    from terp.workflows.planning.step import Step


class Session(Protocol):
    """What stands behind the calls of a flow's body: a plan that is being made, or a run."""

    def take(self, build: "Callable[[], Sequence[Step]]", call: str) -> "Product":
        """Plan or run the steps of one call, known by a name of its own; return what they make."""

    def source(self, source: str) -> "tuple[Callable[[], Sequence[Step]], str]":
        """Return the steps that take a source in, and a name for them."""

    def values(self, product: "Product") -> "xr.Dataset":
        """Open the values of a product; raises PlanEnds when they do not exist yet."""

    def decide(self, product: "Product", until: Callable[["xr.Dataset"], bool]) -> bool | None:
        """Return the recorded or newly made decision to stop at a product, or None when it cannot be made yet."""

    def at_most(self, product: "Product", times: int) -> None:
        """Note that the call that made a product may be repeated so often."""


session: ContextVar[Session | None] = ContextVar("terp_session", default=None)
repeating: ContextVar[str] = ContextVar("terp_repeating", default="")  # key of the first product of an iteration


@contextmanager
def repetition(first: str) -> Iterator[None]:
    """Have what is made meanwhile be of the iteration that began with the product `first`; "" where it begins."""
    token = repeating.set(first)
    try:
        yield
    finally:
        repeating.reset(token)


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
            known = ", ".join(sorted(name for name in self.schemas if name)) or "only its root"
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
        return here("Product.open").values(self)


def here(what: str) -> Session:
    """Return the session that `what` is called in; raises Usage when there is none."""
    found = session.get()
    if found is None:
        raise Usage(f"{what} works inside a run: `terp run FLOW INPUT` or terp.workflows.run(flow, input)")
    return found
