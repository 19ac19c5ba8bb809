"""What a stage's result will look like, found without the data: by calling the stage on small made-up blocks.

A *schema* is a Dataset with its real coordinates and weightless variables (one zero, broadcast).
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from terp.workflows.cutting import Cutting
from terp.workflows.errors import BadStage
from terp.workflows.running.blame import own_line
from terp.workflows.running.conform import Result, as_dataset

SHORT = 2  # length of a cut dimension in a made-up block
PATIENCE = 2.0  # seconds a made-up call may take for the checks that repeat it to be made


def weightless(dataset: xr.Dataset) -> xr.Dataset:
    """Return the schema of a dataset: coordinates and attributes as they are, variables without memory."""
    variables = {
        name: xr.Variable(v.dims, np.broadcast_to(np.zeros((), v.dtype), v.shape), clean(v.attrs))
        for name, v in dataset.variables.items()
        if name in dataset.data_vars
    }
    coords = {name: c.variable.copy(deep=False) for name, c in dataset.coords.items()}
    result = xr.Dataset(variables, coords, clean(dataset.attrs))
    for name in result.coords:
        result[name].attrs = clean(result[name].attrs)
        result[name].encoding = {}
    return result


def as_read(schema: xr.Dataset) -> xr.Dataset:
    """Return a schema as it is read from where it is stored: numbers whose units say so are times there.

    Raises BadStage where these are no units of time.
    """
    numbers = {name: v.to_base_variable() for name, v in schema.variables.items() if v.dtype.kind in "iuf"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about years that only cftime holds
            read = xr.decode_cf(xr.Dataset(numbers)).variables
    except (ValueError, OverflowError) as error:
        raise BadStage(f"what is stored could not be read as its attributes say: {error}") from error
    times = {name: read[name] for name, v in numbers.items() if read[name].dtype != v.dtype}
    return schema.assign(times).assign_coords({name: v.load() for name, v in times.items() if name in schema.coords})


def clean(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as JSON values; what only told how the source stored its numbers is left out."""
    storage = {"_FillValue", "missing_value", "scale_factor", "add_offset", "coordinates", "_Unsigned"}
    return {str(k): _plain(v) for k, v in attrs.items() if k not in storage}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def made_up(schema: xr.Dataset, sizes: Mapping[str, int], seed: int, start: int = 0) -> xr.Dataset:
    """Return a block of random values under the schema's real coordinates, cut to `sizes` from `start`."""
    random = np.random.default_rng(seed)
    box = {dim: slice(start, start + n) for dim, n in sizes.items() if dim in schema.dims}
    block = schema.isel(box)
    typed = {name: v for name, v in block.data_vars.items() if v.dtype.kind != "O"}  # times that cftime holds stay
    return block.assign({name: (v.dims, _random(random, v.shape, v.dtype), v.attrs) for name, v in typed.items()})


def _random(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return values that most code takes well: positive numbers around one, small counts, recent times."""
    if dtype.kind == "f":
        return random.uniform(0.5, 1.5, shape).astype(dtype)
    if dtype.kind == "c":
        return (random.uniform(0.5, 1.5, shape) + 1j * random.uniform(-0.5, 0.5, shape)).astype(dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return random.integers(0, 100, shape).astype(dtype)
    if dtype.kind in "mM":
        days = random.integers(10_000, 20_000, shape)
        return days.astype(f"{dtype.kind}8[D]").astype(dtype)
    raise BadStage(f"variables of type {dtype} cannot be cut into regions: keep text in coordinates")


@dataclass(frozen=True)
class Trial:
    """What a made-up call showed: lengths of the cut dimensions, result, seconds it took, and sentences of doubt."""

    sizes: Mapping[str, int]
    result: xr.Dataset
    seconds: float
    doubts: tuple[str, ...] = ()


Call = Callable[[Sequence[xr.Dataset]], xr.Dataset]
Fast = Callable[[Sequence[xr.Dataset]], Result]


def attempt(
    name: str,
    call: Call,
    schemas: Sequence[xr.Dataset],
    cut: Mapping[str, int],
    how: Cutting,
    whole: bool,
    kernel: Fast | None = None,
) -> Trial:
    """Call a stage on made-up blocks and find what is doubtful about it.

    `cut` gives the full size of each cut dimension of the result; `whole` says that results keep these dimensions, so
    that a call on two blocks (each with its halo) must give the halves of the call on their whole. `kernel` computes
    the same faster. Raises BadStage when the call fails, or the kernel gives other values.
    """
    sizes = {dim: min(SHORT + 2 * how.halo.get(dim, 0), n) for dim, n in cut.items()}
    blocks = [made_up(schema, how.read_for(sizes), seed) for seed, schema in enumerate(schemas)]
    before = _copies(blocks)
    started = time.monotonic()
    result = _called(name, call, blocks)
    seconds = time.monotonic() - started
    of_kernel = _kernel_doubts(name, call, kernel, before, result) if kernel else []
    _demand_rest(name, call, kernel, before, schemas, how)
    if seconds > PATIENCE:
        return Trial(sizes, result, seconds, tuple(of_kernel))
    doubts = []
    if not all(a.identical(b) for a, b in zip(blocks, before, strict=True)):
        doubts.append(f"{name} changes its input block in place: other stages would see that, let it work on a copy")
    if not _same(_called(name, call, before), result):
        doubts.append(f"{name} is not pure: two calls on the same block gave different results (random? clock?)")
    others = [made_up(schema, how.read_for(sizes), seed + 100) for seed, schema in enumerate(schemas)]
    _demand_steady_coords(name, result, _called(name, call, others))
    if whole and not doubts:
        doubts += _cut_doubts(name, call, before, sizes, result, how)
    return Trial(sizes, result, seconds, (*of_kernel, *doubts))


def _copies(blocks: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Return blocks to call a stage on that may work in place, when they are wanted again."""
    return [block.copy(deep=True) for block in blocks]


def _kernel_doubts(name: str, call: Call, kernel: Fast, blocks: Sequence[xr.Dataset], result: xr.Dataset) -> list[str]:
    """Demand that a kernel gives what its stage gives; doubt one that does so only as long as no value is NaN."""
    _demand_same(name, result, _fast(name, kernel, _copies(blocks), result))
    gaps = [_with_gaps(one, seed) for seed, one in enumerate(blocks)]
    try:
        same = close(_called(name, call, _copies(gaps)), _fast(name, kernel, gaps, result))
    except BadStage:
        same = False
    return [] if same else [f"the kernel of {name} gives other values than {name} itself where values are NaN"]


def _with_gaps(block: xr.Dataset, seed: int) -> xr.Dataset:
    """Return a block in which a quarter of the values is NaN, where they can be."""
    random = np.random.default_rng(seed)
    holes = {n: v.where(random.random(v.shape) > 0.25) for n, v in block.data_vars.items() if v.dtype.kind in "fc"}
    return block.assign(holes)


def _demand_same(name: str, readable: xr.Dataset, fast: xr.Dataset) -> None:
    if not close(readable, fast):
        differing = [n for n in readable.data_vars if n not in fast or not close(readable[[n]], fast[[n]])]
        what = ", ".join(map(str, differing)) or "other variables"
        raise BadStage(f"the kernel of {name} gives other values than {name} itself on a made-up block ({what})")


def _fast(name: str, kernel: Fast, blocks: Sequence[xr.Dataset], readable: xr.Dataset) -> xr.Dataset:
    """Call a kernel; what it returns as arrays alone has the dimensions of what its stage returned."""
    dims = {str(name): tuple(map(str, values.dims)) for name, values in readable.data_vars.items()}
    return _called(f"the kernel of {name}", lambda some: as_dataset(kernel(some), dims), blocks)


def _called(name: str, call: Call, blocks: Sequence[xr.Dataset]) -> xr.Dataset:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = call(blocks)
    except (Exception, SystemExit) as error:
        shapes = ", ".join(str(dict(block.sizes)) for block in blocks)
        line = f" at {own_line(error)}" if own_line(error) else ""
        said = f"{type(error).__name__}: {error}"
        raise BadStage(f"{name} fails on a made-up block of {shapes}{line}: {said}. Let it bear any values") from error
    if not isinstance(result, xr.Dataset):
        raise BadStage(f"{name} returned a {type(result).__name__}: a stage must return an xarray Dataset")
    return result


def _same(a: xr.Dataset, b: xr.Dataset) -> bool:
    return bool(a.equals(b))


def _demand_steady_coords(name: str, one: xr.Dataset, other: xr.Dataset) -> None:
    for coord in one.coords:
        if coord not in other.coords or not one[coord].variable.equals(other[coord].variable):
            raise BadStage(f"the coordinate {coord!r} that {name} returns depends on the data: make it a data variable")


def _cut_doubts(
    name: str,
    call: Call,
    blocks: Sequence[xr.Dataset],
    sizes: Mapping[str, int],
    whole: xr.Dataset,
    how: Cutting,
) -> list[str]:
    """Cut the made-up blocks in two along each cut dimension and compare with the whole."""
    doubts = []
    for dim in (d for d, n in sizes.items() if n >= SHORT and d in whole.dims):
        half = sizes[dim] // 2
        given = half * how.coarsen.get(dim, 1) + how.halo.get(dim, 0)
        part = _called(name, call, [_begun(block, dim, given) for block in blocks])
        if not close(part.isel({dim: slice(0, half)}), whole.isel({dim: slice(0, half)})):
            cure = f"give it a larger halo along {dim}" if dim in how.halo else f"let {dim} stay whole in its blocks"
            doubts.append(f"{name} gives other values when it is cut along {dim}: {cure}")
    return doubts


def _demand_rest(
    name: str,
    call: Call,
    kernel: Fast | None,
    blocks: Sequence[xr.Dataset],
    schemas: Sequence[xr.Dataset],
    how: Cutting,
) -> None:
    """Raise BadStage where one element is not made of what is left at the end too, the same by the kernel."""
    for dim, many in how.coarsen.items():
        left = next(schema.sizes[dim] for schema in schemas if dim in schema.dims) % many
        if not left:
            continue
        rest = [_begun(block, dim, left) for block in blocks]
        try:
            made = _called(name, call, _copies(rest))
            found = f"it makes {made.sizes.get(dim, 0)}"
        except BadStage as error:
            made, found = xr.Dataset(), str(error)
        if made.sizes.get(dim) != 1:
            raise BadStage(
                f"{name} has to make one element of the {left} that are left of {dim} at the end too, as it makes one "
                f'of {many}; coarsen(..., boundary="pad") of xarray does: {found}'
            )
        if kernel:
            _demand_same(name, made, _fast(name, kernel, _copies(rest), made))


def _begun(block: xr.Dataset, dim: str, length: int) -> xr.Dataset:
    return block.isel({dim: slice(0, length)} if dim in block.dims else {})


def close(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Say whether two results are the same but for the last bits of their values."""
    if set(a.data_vars) != set(b.data_vars):
        return False
    return all(_close_values(a[name].to_numpy(), b[name].to_numpy()) for name in a.data_vars)


def _close_values(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "fc":
        return bool(np.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True))
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "mM"))
