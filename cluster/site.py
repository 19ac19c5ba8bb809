"""A site: what one must know of a computing centre, typed and checked."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from terp.cluster.errors import BadSite
from terp.cluster.processor import USUAL, Level
from terp.cluster.quantities import parse_bytes, parse_duration, print_bytes, print_duration
from terp.cluster.site_checks import FOLLOWS, complaints, no_partition, wrong_key
from terp.cluster.site_layers import Key, Merged, known_sites, layers, merge


def _number(value: Any) -> Any:
    if isinstance(value, bool):  # Python would count with it
        raise ValueError("must be a number")  # noqa: TRY004 (pydantic takes ValueErrors)
    return value


def _line(value: str) -> str:
    if re.search(r"[\n\r\0]", value):
        raise ValueError("must be one line of text")
    return value


def _word(value: str) -> str:
    if not re.fullmatch(r"[\w.+@:-]*", value, re.ASCII):
        raise ValueError(f'must be a name, of letters, digits and .+@:_-, not "{value}"')
    return value


def _bytes(value: Any) -> int:
    return parse_bytes(str(value))


def _seconds(value: Any) -> int:
    return parse_duration(str(value))


type Line = Annotated[str, AfterValidator(_line)]
type Word = Annotated[str, AfterValidator(_word)]  # it becomes part of a flag of sbatch
type Count = Annotated[int, BeforeValidator(_number), Field(ge=1)]
type Natural = Annotated[int, BeforeValidator(_number), Field(ge=0)]
type Amount = Annotated[float, BeforeValidator(_number), Field(ge=0, allow_inf_nan=False)]
type Bytes = Annotated[int, BeforeValidator(_bytes), PlainSerializer(print_bytes), Field(ge=1)]
type Seconds = Annotated[int, BeforeValidator(_seconds), PlainSerializer(print_duration), Field(ge=1)]


_MEMORY = "how jobs ask for memory: `mem` of the node, `mem-per-cpu`, or `none` where cores bring it with them"
_ENVIRONMENT = "Python and terp on the nodes: `shared`, as here; or `packed`, and unpacked on each node's own disk"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Partition(_Table):
    """Nodes of one kind, as SLURM offers them."""

    cores: Count = Field(description="cores of a node")
    memory: Bytes = Field(description="memory of a node that jobs may ask for")
    walltime: Seconds = Field(description="longest time a job may take")
    smallest: Count = Field(default=1, description="cores of the smallest allocation, and of each step above it")
    sbu: Amount = Field(default=0.0, description="what is charged for a core hour")
    nodes: Count | None = Field(default=None, description="how many nodes there are, where that is known")
    gpus: Natural = Field(default=0, description="GPUs of a node; terp does not use GPUs yet")


class Controller(_Table):
    """The job that a run's controller is, with `--submit`."""

    partition: Word = Field(description="where it goes; default: where workers go")
    cores: Count = Field(default=1, description="its cores")
    memory: Bytes = Field(default=4 << 30, description="its memory")
    walltime: Seconds = Field(description="its time, before which it requeues itself; default: that of a worker job")


class FileSystem(_Table):
    """A file system, and what it forbids."""

    path: Line = Field(description="its folder; `$USER` and the like stand for what they are for the user")
    quota: Bytes | None = Field(default=None, description="most that a user may store")
    files: Count | None = Field(default=None, description="most files that a user may have")
    smallest: Bytes | None = Field(default=None, description="its files should not be smaller, before compression")
    purge_days: Count | None = Field(default=None, description="days after which files are removed by the site")
    shared: bool = Field(default=True, description="whether all nodes see the same files")


class Archive(_Table):
    """What the site's archive, often tape, wants of a file."""

    smallest: Bytes = Field(default=1 << 30, description="its files should not be smaller")
    largest: Bytes = Field(default=200 << 30, description="its files should not be larger")


class Site(_Table):
    """What one must know of a computing centre; the keys of a site's TOML file."""

    name: Word = Field(description="how it is called")
    about: Line = Field(default="", description="what it is, in a line")
    account: Word = Field(default="", description="account that is charged; empty: the user's own default")
    partitions: Mapping[Word, Partition] = Field(min_length=1, description="its partitions by their names")
    partition: Word = Field(description="where worker jobs go")
    cores: Count = Field(
        default_factory=lambda data: data["partitions"][data["partition"]].smallest,
        description="cores of a worker job; default: the partition's smallest allocation",
    )
    walltime: Seconds = Field(description="time of a worker job")
    memory_per_core: Bytes = Field(
        default_factory=lambda data: _share(data["partitions"][data["partition"]]),
        description="memory for each core of a worker job; default: the node's memory shared by its cores",
    )
    controller: Controller = Field(default={}, validate_default=True, description="the job of the controller")
    max_workers: Count = Field(description="most workers of a run")
    min_workers: Count = Field(default=1, description="fewest workers of a run, while there is work")
    memory_flag: Literal["mem", "mem-per-cpu", "none"] = Field(default="mem", description=_MEMORY)
    directives: list[Line] = Field(default=[], description="further flags of sbatch, such as `--qos=normal`")
    array: Count = Field(default=1, description="most jobs in an array; 1: no arrays")
    poll: Amount = Field(default=30.0, ge=1, description="seconds between two looks at SLURM's queue")
    patience: Amount = Field(
        default=300.0, ge=1, description="seconds a job may run without workers before it is replaced"
    )
    interface: Word = Field(
        default="", description="network interface to be reached at; empty: the one of the host's name"
    )
    modules: list[Line] = Field(default=[], description="modules to load in each job")
    prologue: list[Line] = Field(default=[], description="lines of shell to run first in each job")
    processor: Level = Field(default=USUAL, description="vector instructions that all its nodes have, to compute with")
    environment: Literal["shared", "packed"] = Field(default="shared", description=_ENVIRONMENT)
    python: Line = Field(default="", description="Python on the nodes; empty: the one that runs terp")
    local: Line = Field(default="${TMPDIR:-/tmp}", description="node-local folder, as the shell of a node sees it")
    image: Line = Field(default="", description="Apptainer image that jobs run in")
    metrics: Line = Field(default="", description="folder that the site's Prometheus collects text files from")
    file_systems: Mapping[str, FileSystem] = Field(default={}, description="its file systems by their names")
    archive: Archive = Field(default=Archive(), description="what its archive wants")
    watts_per_core: Amount = Field(
        default=0.0, description="power of a core in watts, for estimates of energy; 0: not known"
    )

    @field_validator("partition")
    @classmethod
    def _is_there(cls, partition: str, info: ValidationInfo) -> str:
        partitions = info.data.get("partitions", {})
        if partitions and partition not in partitions:
            raise ValueError(no_partition(partition, partitions))
        return partition

    @field_validator("controller", mode="before")
    @classmethod
    def _as_workers(cls, controller: Any, info: ValidationInfo) -> Any:
        if not isinstance(controller, dict):
            return controller
        if not {"partition", "walltime"} <= info.data.keys():
            raise PydanticCustomError(FOLLOWS, "what it is to be like is wrong")
        usual = {"partition": info.data["partition"], "walltime": print_duration(info.data["walltime"])}
        return {**usual, **controller}


def _share(partition: Partition) -> int:
    """Return a core's share of a node's memory, in whole MiB, in bytes."""
    return max(partition.memory // partition.cores >> 20 << 20, 1 << 20)


@dataclass(frozen=True)
class Setting:
    """One key of a site with its value, as JSON has it, and who said so."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Resolved:
    """A site, and where each of its keys comes from."""

    site: Site
    settings: tuple[Setting, ...]


def sites() -> dict[str, str]:
    """Return the names of all known sites, each with where it is described; raises BadSite for a bad terp.toml."""
    return known_sites(Site.model_fields)


def load_site(name: str, overrides: Mapping[str, str] | None = None) -> Site:
    """Return the site of a name, with what files, environment and `overrides` (dotted keys) say of it.

    Raises BadSite, which names what is wrong and who says it.
    """
    return resolve(name, overrides).site


def resolve(name: str, overrides: Mapping[str, str] | None = None) -> Resolved:
    """Return the site of a name, and where each key comes from; raises BadSite as load_site does."""
    merged = merge(layers(name, overrides or {}, Site.model_fields))
    if merged.values.setdefault("name", name) != name:
        raise BadSite(f"{merged.origin(('name',))}: name: a site is called as its file is, {name}")
    try:
        site = Site.model_validate(merged.values)
    except ValidationError as error:
        found = [wrong_key(one, _keys) for one in error.errors()]
        raise _bad(merged, [one for one in found if one]) from None
    if wrong := list(complaints(site)):
        raise _bad(merged, wrong)
    return Resolved(site, tuple(_settings(site.model_dump(mode="json"), merged, ())))


def _bad(merged: Merged, wrong: list[tuple[Key, str]]) -> BadSite:
    return BadSite("\n".join(f"{merged.origin(key)}: {'.'.join(key)}: {sentence}" for key, sentence in wrong))


def _keys(table: Key) -> Mapping[str, Any]:
    """Return the keys that a table of a site may have."""
    inner: dict[str, type[BaseModel]] = {
        "partitions": Partition,
        "file_systems": FileSystem,
        "controller": Controller,
        "archive": Archive,
    }
    return inner[table[0]].model_fields if table else Site.model_fields


def _settings(values: Mapping[str, Any], merged: Merged, at: Key) -> Iterator[Setting]:
    for name, value in values.items():
        key = (*at, name)
        if isinstance(value, dict) and value:
            yield from _settings(value, merged, key)
        else:
            yield Setting(".".join(key), value, merged.origins.get(key, "default"))
