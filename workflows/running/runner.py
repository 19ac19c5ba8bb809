"""A run: fill what a plan says is missing, seal it, and go on where an earlier run ended."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from terp.cluster.crew import Crew
from terp.storage import files
from terp.storage.errors import BadProduct, Damaged, DiskTrouble
from terp.storage.filling import Filling, sizes_are_those
from terp.storage.home import Home
from terp.storage.ledger import Gone
from terp.storage.making import create
from terp.storage.product import Seal, StoredProduct
from terp.storage.remarks import remarked
from terp.workflows.planning.plan import Plan, Planner, decision_path, product_of
from terp.workflows.planning.step import Step
from terp.workflows.prefect.flow import record as prefect_record
from terp.workflows.running.capture import note_machines
from terp.workflows.running.clock import now
from terp.workflows.running.fill import fill
from terp.workflows.running.fits import too_large
from terp.workflows.running.gather import Input
from terp.workflows.running.progress import Progress, Tell
from terp.workflows.running.record import RunRecord, StageRecord, all_runs, makers
from terp.workflows.running.report import Reporter
from terp.workflows.running.software import Software
from terp.workflows.running.task import EMPTY
from terp.workflows.session import Product, session

if TYPE_CHECKING:
    import xarray as xr

_ROUNDS = 3  # how often a product is filled and sealed again because shards were found damaged


class Workers:
    """Dask workers that are started when they are wanted, beside other work; at most once a run."""

    def __init__(self, launch: Callable[[], AbstractContextManager[Crew]]) -> None:
        self._launch = launch
        self._stack = ExitStack()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="launch")
        self._crew: Future[Crew] | None = None

    def want(self) -> None:
        """Begin to start them."""
        if self._crew is None:
            self._crew = self._pool.submit(lambda: self._stack.enter_context(self._launch()))

    @property
    def crew(self) -> Crew:
        """The workers behind one client, as soon as they can be had."""
        self.want()
        assert self._crew is not None
        return self._crew.result()

    def close(self) -> dict[str, Any]:
        """End the workers, if any were started; return what is known of the jobs that they were in."""
        facts: dict[str, Any] = {}
        if self._crew is not None and self._crew.exception() is None:
            self._stack.close()
            facts = self._crew.result().jobs()
        self._pool.shutdown()
        return facts


class Runner:
    """The session behind a flow's body while it runs."""

    def __init__(
        self,
        home: Home,
        plan: Plan,
        planner: Planner,
        run: RunRecord,
        workers: Workers,
        reporter: Reporter,
        take_over: bool | Gone,
        memory: int,
    ) -> None:
        """`memory` is what a worker has, in bytes; 0 where that is not known."""
        self.home, self.planner, self.run = home, planner, run
        self._keeps = plan.keeps
        self._needless = {one.step.key for one in plan.steps if one.needless}
        self.workers, self.reporter, self.take_over, self.memory = workers, reporter, take_over, memory
        self.software = Software(home, run, self._warn)
        self._made: dict[str, StoredProduct] = {}
        self._later = {one.step.key: one.missing for one in plan.steps}

    def take(self, build: Callable[[], Sequence[Step]], call: str) -> Product:
        """Make what one call asks for, unless all that would be made of it is there already."""
        last = self.planner.known(build, call)
        if last.key not in self._needless:
            self.made(last.key)
        return product_of(last)

    def made(self, key: str) -> StoredProduct:
        """Return a product, made where it is not there yet."""
        if key not in self._made:
            self.make(self.planner.steps[key])
        return self._made[key]

    def source(self, source: str) -> tuple[Callable[[], Sequence[Step]], str]:
        """Return the step that takes a source in, as planned."""
        return self.planner.source(source)

    def values(self, product: Product) -> "xr.Dataset":
        """Open the values of a product that was made."""
        return self.made(product.key).open(product.group)

    def at_most(self, product: Product, times: int) -> None:
        """Nothing to note: a run decides."""

    def decide(self, product: Product, until: "Callable[[xr.Dataset], bool]") -> bool:
        """Return the recorded decision about a product, or make and record it."""
        path = decision_path(self.home, product, until)
        known = self.planner.decide(product, until)
        stop = bool(until(self.values(product))) if known is None else known
        if known is None:
            with files.disk(path):
                files.make_folders(path.parent)
            files.replace(path, json.dumps({"stop": stop, "by": until.__name__}).encode())
        self._event("decided", key=product.key, by=until.__name__, stop=stop, before=known is not None)
        return stop

    @cached_property
    def _makers(self) -> dict[str, tuple[str, str]]:
        return makers(all_runs(self.home))

    def _event(self, event: str, **facts: Any) -> None:
        self.run.note(self.home, event, **facts)

    def _warn(self, text: str) -> None:
        """Tell people and the journal."""
        self._event("warned", words=text)
        self.reporter.warn(text)

    def make(self, step: Step) -> None:
        """Make one product, or find it made."""
        noted = next((one for one in self.run.stages if one.key == step.key), None)  # of an earlier start of this run
        if noted is None:
            noted = StageRecord(step.name, step.key, step.regions, started=now())
            noted.inputs = sorted({key for key, _ in step.inputs})
            noted.source = step.source.sha256 if step.source else ""
            self.run.stages.append(noted)
        self._later.pop(step.key, None)
        for _ in range(_ROUNDS):
            try:
                product = prefect_record(step.name, lambda: self._complete(step, noted))
                break
            except Damaged as damage:
                self._mend(damage)
        else:
            raise DiskTrouble(f"shards that {step.name} reads are found damaged again and again: check the disk")
        assert product.seal is not None
        noted.values, noted.ended = product.seal.values, now()
        self._tell_remarks(product, noted)
        self._made[step.key] = product
        self._event(
            "reused" if noted.reused else "stage ended",
            stage=step.name,
            key=step.key,
            values=noted.values,
            **({"made_by": noted.made_by, "made_at": noted.made_at} if noted.reused else {"made": noted.made}),
        )
        self.run.save(self.home)

    def _complete(self, step: Step, noted: StageRecord) -> StoredProduct:
        step = self.planner.peaks.revised(step).within(self.memory)
        if step.need.measured and 0 < self.memory < step.memory:
            self._warn(too_large(step, self.memory, "here", "take fewer workers (--workers)"))
        layout = step.laid_out(self.planner.steps, self._keeps(step.key))
        product = create(self.home.product(step.key), step.name, step.key, step.told, layout)
        if is_whole(product):
            noted.reused, noted.done_before = not noted.made, step.regions - noted.made
            if noted.reused:
                noted.made_by, noted.made_at = self._makers.get(step.key, ("", ""))
            self.reporter.say(f"{step.name}: {step.regions:,} regions exist ({step.key})")
            return product
        inputs = tuple(self._input(key, group) for key, group in step.inputs)
        self._event("stage begun", stage=step.name, key=step.key, regions=step.regions)
        altered = was_altered(product)
        with Filling(product, self.take_over) as filling:
            if altered:  # in what else, nobody knows
                self._warn(f"{step.name}: it was altered since it was made; all of it is read")
                filling.read_all()
            for place in filling.found_bad:
                self._warn(f"{step.name}: a shard of region {place[1]} was not as recorded; it is made again")
            noted.done_before = step.regions - noted.made - filling.left
            self._fill_and_seal(step, filling, inputs, noted)
        return product

    def _input(self, key: str, group: str) -> Input:
        product = self.made(key)
        assert product.seal is not None
        return Input(str(product.folder), group, product.seal.values)

    def _fill_and_seal(self, step: Step, filling: Filling, inputs: tuple[Input, ...], noted: StageRecord) -> Seal:
        for _ in range(_ROUNDS):
            todo = filling.left
            if todo:
                progress = Progress(step.name, step.regions, step.regions - todo, environments=self.software.known)
                folder = self.run.folder(self.home)
                later = max(self._later.values(), default=0)
                try:
                    fill(
                        step.bound(inputs, folder),
                        filling,
                        self.workers.crew,
                        progress,
                        self._teller(step, noted),
                        folder,
                        later,
                    )
                finally:
                    self._tell_news(progress)  # the last, which stopped it, too
                self._note(noted, progress)
            if step.source is not None:
                step.source.check()
            sealed = filling.seal()
            if isinstance(sealed, Seal):
                return sealed
            self._warn(f"{step.name}: {len(sealed)} regions were not as recorded; they are made again")
        raise DiskTrouble(f"shards of {step.name} are found damaged again and again: check the disk")

    def _teller(self, step: Step, noted: StageRecord) -> Tell:
        """Return who is told of progress: people, and, once a region was made, what memory it really took."""

        def tell(progress: Progress) -> None:
            self._tell_news(progress)
            self.software.look()
            if surprise := self.planner.peaks.took(step, noted, progress.memory):
                self.reporter.say(surprise)
            self.reporter.progress(progress)

        return tell

    def _tell_news(self, progress: Progress) -> None:
        while progress.news:
            self.reporter.warn(f"{progress.name}: {progress.news.pop(0)}")

    def _note(self, noted: StageRecord, progress: Progress) -> None:
        noted.made += progress.done
        noted.seconds += progress.seconds
        if mixed := note_machines(self.run, progress.machines):
            self._warn(mixed)
        self.software.add(progress.software)

    def _tell_remarks(self, product: StoredProduct, noted: StageRecord) -> None:
        """Tell once what was remarked on the regions of a product, by whatever start or run they were made."""
        found = product.ledger.remarks() if remarked(product.folder / "ledger") else {}
        for remark, count in Counter(found).most_common():
            if remark not in noted.remarks and (count >= noted.regions or not remark.endswith(EMPTY)):
                noted.remarks.append(remark)
                self._warn(f"{noted.name}: {remark} (in {count:,} regions)")

    def _mend(self, damage: Damaged) -> None:
        """Make the damaged shard of an input again, then let the stage that met it begin anew."""
        key = damage.product
        if key not in self._made:
            raise damage
        self._warn(f"{damage}; it is made again")
        product = self._made.pop(key)
        with Filling(product, self.take_over) as filling:
            filling.read_all()
        self.make(self.planner.steps[key])


def is_whole(product: StoredProduct) -> bool:
    """Say whether a product is sealed and its files are there with their sizes: what reuse and resume trust."""
    try:
        if product.seal is None or not sizes_are_those(product):
            return False
        product.prove_lineage()
    except BadProduct:  # a damaged seal, manifest or lineage is made again
        return False
    return True


def was_altered(product: StoredProduct) -> bool:
    """Say whether a product that is not whole had been sealed."""
    try:
        return product.seal is not None
    except BadProduct:
        return True


@contextmanager
def running(runner: Runner) -> Iterator[None]:
    """Let the flow's body see the runner."""
    token = session.set(runner)
    try:
        yield
    finally:
        session.reset(token)
