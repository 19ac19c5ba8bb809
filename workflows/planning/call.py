"""A stage's call in a flow, and the steps that it takes."""

import functools
import io
import math
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import cloudpickle
import xarray as xr

from terp.storage.grid import choose_blocks, choose_tile
from terp.storage.making import Layout
from terp.storage.scrub import know, know_code
from terp.workflows.cutting import Cutting
from terp.workflows.errors import BadStage
from terp.workflows.planning.code import Code
from terp.workflows.planning.memory import Need, nbytes_of, need_of, weigh
from terp.workflows.planning.probe import copies_held
from terp.workflows.planning.reduction import reduction
from terp.workflows.planning.schema import PATIENCE, Trial, attempt
from terp.workflows.planning.source import is_own
from terp.workflows.planning.step import Step, group_of, key_of
from terp.workflows.planning.whole import grown
from terp.workflows.running.conform import Result
from terp.workflows.running.task import Task

Block = Callable[..., xr.Dataset]
Kernel = Callable[..., Result]
Made = TypeVar("Made")
_READ_BYTES = 1 << 30  # that are read at once for regions which are parts of the same chunks


@dataclass
class Call:
    """A stage's call, its arguments sorted: blocks of products and parameters."""

    name: str
    function: Block
    kernel: Kernel | None
    combine: Block
    finish: Block
    ingredients: dict[str, Any]
    order: tuple[str | int, ...]
    parameters: dict[str, Any]
    inputs: tuple[tuple[str, str], ...]
    schemas: tuple[xr.Dataset, ...]
    how: Cutting
    compiled: bool = False
    doubts: tuple[str, ...] = ()
    sizes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Find the sizes that dimensions which are cut have in a result; raises BadStage where they are not one."""
        self.sizes = {dim: -(-self._size(dim) // self.how.coarsen.get(dim, 1)) for dim in (*self.how.over, *self.cut)}
        for dim in self.how.block.keys() - self.sizes.keys():
            raise BadStage(f"{self.name} fixes blocks along {dim}, along which it is not cut")
        for dim in self.how.halo.keys() - set(self.cut):
            raise BadStage(f"{self.name} has a halo along {dim}, along which it is not cut")
        for dim in self.how.coarsen.keys() - set(self.cut):
            raise BadStage(
                f"{self.name} is coarsened along {dim}, along which it is not cut: it may do so without a word"
            )

    def _size(self, dim: str) -> int:
        found = [s for s in self.schemas if dim in s.dims]
        if not found:
            known = ", ".join(sorted({str(d) for s in self.schemas for d in s.dims}))
            raise BadStage(f"{self.name} is cut along {dim}, which its inputs do not have; they have {known}")
        first = found[0]
        for other in found[1:]:
            if first.sizes[dim] != other.sizes[dim]:
                raise BadStage(f"the inputs of {self.name} differ along {dim}: {first.sizes[dim]}, {other.sizes[dim]}")
            if dim in first.coords and dim in other.coords and not first[dim].equals(other[dim]):
                raise BadStage(f"the inputs of {self.name} have other coordinates along {dim}: align them first")
        return int(first.sizes[dim])

    @property
    def cut(self) -> tuple[str, ...]:
        """Dimensions along which results may be cut."""
        return self.how.cut or ()

    @property
    def working(self) -> Kernel:
        """What computes a block: the kernel, where there is one."""
        return self.kernel or self.function

    def on(self, function: Callable[..., Made], blocks: Sequence[Any]) -> Made:
        """Call a function with blocks where the products stood."""
        positional = [blocks[at] if isinstance(at, int) else self.parameters[at] for at in self.order]
        return function(*positional, **{k: v for k, v in self.parameters.items() if k not in self.order})

    def attempt(self, sizes: Mapping[str, int], whole: bool) -> Trial:
        """Try the function, and the kernel beside it, on made-up blocks; `whole`: results keep what is cut."""
        kernel = self.kernel

        def fast(blocks: Sequence[xr.Dataset]) -> Result:
            return self.on(kernel or self.function, blocks)

        return attempt(
            self.name,
            lambda blocks: self.on(self.function, blocks),
            self.schemas,
            sizes,
            self.how,
            whole,
            fast if kernel else None,
        )

    def steps(self) -> list[Step]:
        """Return the steps that the call takes."""
        know(self.parameters)
        know_code(self.ingredients["code"])
        return reduction(self) if self.how.over else [self._mapped()]

    def _mapped(self) -> Step:
        sizes, how = {dim: self.sizes[dim] for dim in self.cut}, self.how
        trial = self.attempt(sizes, whole=True)
        full = grown(self.name, trial, sizes, self.schemas, how)
        weight = weigh(sizes, *self.schemas, full)
        blocks = choose_blocks(sizes, self.cut, weight, how.block, how.halo)
        self._demand_chunks(blocks)
        group, small, known = group_of("", full, blocks, how.chunk)
        tile = choose_tile(blocks, self._chunks_read(), weight) if self.kernel else {}
        together = 1 if tile else self._together(blocks)
        task = Task("map", pickled(self.working), (), self.parameters, self.order, together=together)
        task = replace(task, halo=how.halo, coarsen=self._coarsen(), tile=tile)
        ingredients = {**self.ingredients, **({"tile": tile} if tile else {})}
        return Step(
            self.name,
            key_of(self.name, ingredients),
            ingredients,
            {"": known},
            Layout((group,), {"": small}),
            task,
            self.inputs,
            replace(
                self.need(sizes, full, blocks, trial.seconds, tile), shared=(together - 1) * self._nbytes_read(blocks)
            ),
            (*self.doubts, *trial.doubts),
            (trial.seconds, nbytes_of({}, [trial.result])),
            codec=how.codec,
        )

    def need(
        self,
        sizes: Mapping[str, int],
        result: xr.Dataset,
        blocks: Mapping[str, tuple[int, int]],
        seconds: float,
        tile: Mapping[str, int] | None = None,
    ) -> Need:
        """Return what memory a worker needs for regions of these blocks, along the dimensions of `sizes`.

        `seconds` is what a trial took: code that takes long for a little is not tried on more.
        """
        lengths = {dim: (tile or {}).get(dim, blocks[dim][1]) for dim in sizes}
        copies = self.how.copies
        if not copies and seconds < PATIENCE:
            copies = copies_held(lambda given: self.on(self.working, given), self.schemas, result, lengths, self.how)
        need = need_of(self.schemas, result, blocks, copies, tile, self.how.read_for, self.how.halo)
        return replace(need, compiled=self.compiled, known=self.how.copies > 0)

    def _coarsen(self) -> dict[str, tuple[int, int]]:
        """Return of how many elements one is made along a dimension, and how many there are of these."""
        return {dim: (many, self._size(dim)) for dim, many in self.how.coarsen.items()}

    def _demand_chunks(self, blocks: Mapping[str, tuple[int, int]]) -> None:
        for dim, length in self.how.chunk.items():
            size, block = blocks.get(dim, (length, length))
            if block < size and block % length:
                raise BadStage(f"{self.name} wants chunks of {length} along {dim}, which do not fill blocks of {block}")

    def _together(self, blocks: Mapping[str, tuple[int, int]]) -> int:
        """Return how many regions in a row are parts of the same chunks that are read, and so are read at once."""
        cut = [dim for dim, (size, block) in blocks.items() if block < size]
        if not cut or not self.how.reads:
            return 1
        count, left = divmod(self._chunks_read().get(cut[-1], 1), blocks[cut[-1]][1])
        most = 1 if left else max(_READ_BYTES // max(self._nbytes_read(blocks), 1), 1)
        return max((n for n in range(1, min(count, most) + 1) if count % n == 0), default=1)

    def _nbytes_read(self, blocks: Mapping[str, tuple[int, int]]) -> int:
        return nbytes_of(self.how.read_for({dim: block for dim, (_, block) in blocks.items()}), self.schemas)

    def _chunks_read(self) -> dict[str, int]:
        """Return how much is made of a chunk that is read, of dimensions along which a region may go in parts."""
        found = {dim: self.how.coarsen.get(dim, 1) for dim in self.cut if dim not in self.how.halo}
        for variable in (v for schema in self.schemas for v in schema.data_vars.values()):
            for dim, length in variable.encoding.get("preferred_chunks", {}).items():
                if dim in found:
                    found[dim] = math.lcm(found[dim], length)
        return {dim: length // self.how.coarsen.get(dim, 1) for dim, length in found.items()}


def pickled(*functions: Callable[..., Any]) -> bytes:
    """Pickle functions with all they reach in the user's own files: workers have neither these nor Prefect."""
    own = {name for function in functions for name in Code(function).modules if not name.startswith("terp.")}
    own |= {function.__module__ for function in functions}
    modules = [sys.modules[name] for name in sorted(own) if name in sys.modules and name != "__main__"]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        with io.BytesIO() as made:
            _Pickler(made).dump(functions)
            return made.getvalue()
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        names = ", ".join(str(getattr(one, "__name__", one)) for one in functions)
        raise BadStage(
            f"{names} can't be sent to workers ({error}): what it uses of locks, open files, connections and the like "
            "has to be made within it"
        ) from None
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Takes functions with a cache along by value too, where cloudpickle would name the file that workers lack."""

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, functools._lru_cache_wrapper) and is_own(thing.__module__ or ""):
            return _cached, (thing.__wrapped__, thing.cache_parameters())
        return super().reducer_override(thing)


def _cached(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)
