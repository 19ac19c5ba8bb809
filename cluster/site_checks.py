"""What is wrong with a site, in sentences: wrong keys and values, and keys that do not go together."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic_core import ErrorDetails

from terp.cluster.quantities import print_bytes, print_duration
from terp.cluster.site_layers import Key

if TYPE_CHECKING:
    from terp.cluster.site import Partition, Site

_MINUTE = 60
NOT_YET = "not yet: terp does not use GPUs"
FOLLOWS = "default_factory_not_called"  # pydantic's name for: not looked at, as another key is wrong

# flags of sbatch that terp sets itself, and the keys that say how
_KEYS = {
    **dict.fromkeys(("-A", "--account"), "account"),
    **dict.fromkeys(("-p", "--partition"), "partition"),
    **dict.fromkeys(("-t", "--time"), "walltime"),
    **dict.fromkeys(("-c", "--cpus-per-task"), "cores"),
    **dict.fromkeys(("--mem", "--mem-per-cpu"), "memory_per_core"),
    **dict.fromkeys(("-a", "--array"), "array"),
}
_OURS = (
    *("-J", "--job-name", "-o", "--output", "-e", "--error", "--open-mode"),
    *("-n", "--ntasks", "-N", "--nodes", "--wrap", "--requeue", "--no-requeue"),
)

# what pydantic calls an error, and the sentence for it; other errors keep pydantic's own words
_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda _: "this key is needed",
    "string_type": lambda _: "must be text",
    "list_type": lambda _: 'must be a list, such as ["a", "b"]',
    "dict_type": lambda _: "must be a table",
    "mapping_type": lambda _: "must be a table",
    "model_type": lambda _: "must be a table",
    "too_short": lambda _: "must not be empty",
    "greater_than_equal": lambda about: f"must be at least {about['ge']:g}",
    "literal_error": lambda about: f"must be one of {about['expected']}",
    "value_error": lambda about: str(about["error"]),
    "finite_number": lambda _: "must be a number",
}
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def wrong_key(error: ErrorDetails, keys: Callable[[Key], Mapping[str, Any]]) -> tuple[Key, str] | None:
    """Return the key that an error of pydantic is about, and what is wrong with it; None if it follows from another.

    `keys` gives the keys that a table may have.
    """
    key = tuple(str(part) for part in error["loc"])
    if error["type"] == FOLLOWS:
        return None
    if error["type"] == "extra_forbidden":
        return key, _unknown(key[-1], sorted(keys(key[:-1])))
    sentence = _SENTENCES.get(error["type"])
    kind = _KINDS.get(error["type"].partition("_")[0])
    if sentence:
        return key, sentence(error.get("ctx", {}))
    return key, f"must be {kind}" if kind else error["msg"]


def _unknown(name: str, allowed: list[str]) -> str:
    if re.search(r"gpu|gres|cuda", name, re.IGNORECASE):
        return NOT_YET
    near = get_close_matches(name, allowed, 1)
    guess = f"do you mean {near[0]}? " if near else ""
    return f"is not known here; {guess}allowed: {', '.join(allowed)}"


def no_partition(name: str, partitions: Iterable[str]) -> str:
    """Say that a partition is not among those of a site."""
    near = get_close_matches(name, list(partitions), 1)
    guess = f', do you mean "{near[0]}"?' if near else ""
    return f'there is no partition "{name}"{guess}; there are {", ".join(partitions)}'


def complaints(site: "Site") -> Iterator[tuple[Key, str]]:
    """Say which keys of a site do not go together, each with a sentence; a good site has none."""
    for name, partition in site.partitions.items():
        if partition.smallest > partition.cores:
            told = f"{partition.smallest} is more than the {partition.cores} cores of a node"
            yield ("partitions", name, "smallest"), told
    yield from _worker(site, site.partitions[site.partition])
    yield from _controller(site)
    if site.min_workers > site.max_workers:
        yield ("min_workers",), f"{site.min_workers} is more than max_workers, {site.max_workers}"
    if site.archive.smallest > site.archive.largest:
        smallest, largest = print_bytes(site.archive.smallest), print_bytes(site.archive.largest)
        yield ("archive", "smallest"), f"{smallest} is more than archive.largest, {largest}"
    for directive in site.directives:
        yield from _directive(directive)


def _worker(site: "Site", partition: "Partition") -> Iterator[tuple[Key, str]]:
    """Check the jobs of workers, each of which is on one node."""
    at = f'the partition "{site.partition}"'
    if partition.gpus:
        yield ("partition",), _gpus(site, at)
        return
    if site.cores > partition.cores:
        yield ("cores",), f"{site.cores} is more than the {partition.cores} of a node of {at}"
        return
    if site.cores % partition.smallest:
        enough = -(-site.cores // partition.smallest) * partition.smallest
        rule = f"{at} gives cores in multiples of {partition.smallest}, and charges for them"
        yield ("cores",), f"{site.cores} is not what one gets: {rule}; take {enough}"
    yield from _time(("walltime",), site.walltime, partition, at)
    if site.memory_per_core * site.cores > partition.memory:
        asked, most = print_bytes(site.memory_per_core), print_bytes(partition.memory // site.cores >> 20 << 20)
        has = f"the {print_bytes(partition.memory)} of a node of {at}"
        yield ("memory_per_core",), f"{asked} for each of {site.cores} cores is more than {has}; at most {most} fits"


def _controller(site: "Site") -> Iterator[tuple[Key, str]]:
    wanted = site.controller
    partition = site.partitions.get(wanted.partition)
    at = f'the partition "{wanted.partition}"'
    if partition is None:
        yield ("controller", "partition"), no_partition(wanted.partition, site.partitions)
        return
    if partition.gpus and wanted.partition != site.partition:
        yield ("controller", "partition"), _gpus(site, at)
    if wanted.cores > partition.cores:
        yield ("controller", "cores"), f"{wanted.cores} is more than the {partition.cores} of a node of {at}"
    if wanted.memory > partition.memory:
        asked, has = print_bytes(wanted.memory), print_bytes(partition.memory)
        yield ("controller", "memory"), f"{asked} is more than the {has} of a node of {at}"
    yield from _time(("controller", "walltime"), wanted.walltime, partition, at)


def _time(key: Key, walltime: int, partition: "Partition", at: str) -> Iterator[tuple[Key, str]]:
    if walltime > partition.walltime:
        yield key, f"{print_duration(walltime)} is longer than {at} allows, {print_duration(partition.walltime)}"
    if walltime < _MINUTE:
        yield key, f"{print_duration(walltime)} is less than a minute, and SLURM counts in minutes"


def _gpus(site: "Site", at: str) -> str:
    others = ", ".join(name for name, partition in site.partitions.items() if not partition.gpus)
    return f"{NOT_YET}, which {at} is for" + (f"; take one of {others}" if others else "")


def _directive(text: str) -> Iterator[tuple[Key, str]]:
    flag = re.split(r"[=\s]", text, maxsplit=1)[0]
    if not flag.startswith("-"):
        yield ("directives",), f'"{text}" is no flag of sbatch: write it as "--constraint=scratch-node"'
    elif re.match(r"--gpu|--gres=(gres/)?gpu|-G", text):
        yield ("directives",), f'"{text}": {NOT_YET}'
    elif flag in _KEYS:
        yield ("directives",), f'"{text}" is set by terp: use the key {_KEYS[flag]}'
    elif flag in _OURS:
        yield ("directives",), f'"{text}" is set by terp: leave it out'
