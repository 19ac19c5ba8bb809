"""Run a flow's steps in this process, by the worker's own function, without Dask or Prefect."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prefect import flow

from terp.storage.filling import Filling
from terp.storage.home import Home
from terp.storage.making import create
from terp.storage.product import Seal, StoredProduct
from terp.workflows import Product, ingest
from terp.workflows.planning.plan import make_plan
from terp.workflows.running.gather import Input
from terp.workflows.running.task import execute_all


def made(source: Path, home: Path, body: Callable[[Product], Any]) -> dict[str, StoredProduct]:
    """Make all products of a flow; return them by their keys, the result last."""

    @flow
    def one(path: str) -> Any:
        return body(ingest(path))

    _, planner = make_plan(one, {"path": str(source)}, Home(home).open())
    found: dict[str, StoredProduct] = {}
    for step in planner.steps.values():
        layout = step.laid_out(planner.steps, True)
        product = create(Home(home).product(step.key), step.name, step.key, step.ingredients, layout)
        inputs = tuple(Input(str(found[key].folder), group, _seal(found[key]).values) for key, group in step.inputs)
        with Filling(product) as filling:
            for places in _together(filling, step.task.together):
                folder, attempts = str(product.folder), str(filling.attempts)
                filling.commit(execute_all(step.bound(inputs, home), folder, attempts, places))
            assert isinstance(filling.seal(), Seal)
        found[step.key] = product
    return found


def _seal(product: StoredProduct) -> Seal:
    assert product.seal is not None
    return product.seal


def _together(filling: Filling, count: int) -> Iterator[list[tuple[str, int]]]:
    for group in filling.product.groups:
        missing = [place for place in filling.missing() if place[0] == group.path]
        for number in sorted({index // count for _, index in missing}):
            yield [place for place in missing if place[1] // count == number]
