"""What lost something on its way into the archive is refused there, unless somebody has decided that it may."""

from collections.abc import Iterable, Mapping

from terp.storage.errors import BadPolicy
from terp.storage.package.lossy import lossy
from terp.storage.product import StoredProduct


def demand_decided(products: Iterable[StoredProduct], decided: Mapping[str, str]) -> None:
    """Raise BadPolicy where an array of results, or of what they were made of, lost something and no one decided it.

    `decided` has a reason for an array by its path, as in the policy's table `lossy`, or by stage and path.
    """
    lost = {f"{product.name}/{path}": (path, what) for product in products for path, what in lossy(product).items()}
    undecided = {full: what for full, (path, what) in lost.items() if not decided.keys() & {full, path}}
    if undecided:
        told = "\n".join(f"  {full}: {what}" for full, what in undecided.items())
        raise BadPolicy(
            f"not all that these arrays were is kept (Archiefregeling, article 26):\n{told}\n"
            "store them without loss, or decide it in the policy: a reason for each under [lossy]"
        )
