"""Why a stage has to be done again: what differs from the most similar product that there is."""

import json

from terp.storage.canonical import canonical
from terp.storage.errors import BadProduct
from terp.storage.home import Home
from terp.storage.product import StoredProduct
from terp.workflows.planning.step import Step


def explain(home: Home, step: Step) -> str:
    """Say why a step has to be done: what differs from the most similar product of the same stage."""
    others = [other for other in _siblings(home, step) if other.key != step.key]
    if not others:
        return "new"
    nearest = min(others, key=lambda other: (len(_differing(step, other)), -_made(other)))
    if len(_differing(step, nearest)) > _RELATED:
        return "new"
    done, total = nearest.progress()
    what = "; ".join(_difference(step, nearest, name) for name in _differing(step, nearest))
    return f"{what}; {done:,} of {total:,} regions exist under the old one ({nearest.key})"


def _siblings(home: Home, step: Step) -> list[StoredProduct]:
    found = []
    for folder in home.products.glob(f"{step.name}-*"):
        try:
            product = StoredProduct(folder)
        except BadProduct:
            continue
        if product.name == step.name:
            found.append(product)
    return found


def _made(product: StoredProduct) -> float:
    return (product.folder / "product.json").stat().st_mtime


def _differing(step: Step, other: StoredProduct) -> list[str]:
    theirs = other.frozen["ingredients"]
    mine = json.loads(canonical(dict(step.ingredients)))
    return sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))


_RELATED = 2  # kinds of ingredients in which a product may differ and still be the same stage, edited
_WORDS = {
    "inputs": "its input changed",
    "source": "the source changed",
    "cut": "it is cut otherwise",
    "tree": "it is added up in other parts",
}


def _difference(step: Step, other: StoredProduct, name: str) -> str:
    mine, theirs = step.ingredients.get(name), other.frozen["ingredients"].get(name)
    if name == "code" and isinstance(mine, dict):
        changed = [n for n in {*mine, *theirs} if mine.get(n) != theirs.get(n)]
        return f"code of `{', '.join(sorted(changed))}` changed"
    if name in ("parameters", "libraries") and isinstance(mine, dict):
        changed = [
            f"{n} {theirs.get(n)!r} -> {mine.get(n)!r}" for n in {*mine, *theirs} if mine.get(n) != theirs.get(n)
        ]
        return f"{'parameter' if name == 'parameters' else 'library'} {', '.join(sorted(changed))}"
    return _WORDS.get(name, f"{name} changed")
