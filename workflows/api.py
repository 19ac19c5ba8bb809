"""What the command line does, for Python and notebooks: plan a flow, run it, open what it made."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terp.cluster.errors import SlurmAway, Stopped, Walled
from terp.storage.errors import DiskTrouble, StorageError
from terp.storage.home import Home
from terp.storage.provenance import Agent
from terp.storage.scrub import Named, without_secrets
from terp.storage.signature import SigningKey
from terp.workflows.planning.load import load_flow, parameters_of
from terp.workflows.planning.plan import Plan, Planner, make_plan, named_results
from terp.workflows.prefect import server as prefect_server
from terp.workflows.prefect.flow import run_flow
from terp.workflows.results.bundle import as_files, code_of
from terp.workflows.results.costs import accounted, so_far
from terp.workflows.results.deposit import deposit
from terp.workflows.results.describe import demand_licences
from terp.workflows.running import batch
from terp.workflows.running.batch import demand_progress, go_on_later
from terp.workflows.running.blame import blaming
from terp.workflows.running.capture import capture, demand_as_submitted, note_submitted
from terp.workflows.running.clock import now, went_back
from terp.workflows.running.decided import UNDECIDED, decide, decision_of, keep_decision
from terp.workflows.running.events import named, noted_plan, noted_workers
from terp.workflows.running.held import hold
from terp.workflows.running.record import RunRecord, load_run
from terp.workflows.running.report import Logged, LogReporter, Reporter
from terp.workflows.running.runner import Runner, Workers, running
from terp.workflows.running.where import Where, is_gone
from terp.workflows.running.who import who

if TYPE_CHECKING:
    import xarray as xr
    from prefect import Flow

    from terp.cluster.site import Site


class Run:
    """A run that has ended well: its record, its results, and where they are archived."""

    def __init__(self, home: Home, record: RunRecord) -> None:
        self.home, self.record = home, record

    def __repr__(self) -> str:
        return f"<run {self.record.id}: {', '.join(self.record.results)}>"

    def open(self, name: str = "", group: str = "") -> "xr.Dataset":
        """Open a result by name (the only one without), lazily and proven; out of the archive where it is there."""
        from terp.workflows.results.show import open_result

        return open_result(self.home, self.record, name, group)


def plan(
    flow: "Flow[Any, Any] | str",
    *inputs: Any,
    home: Path | None = None,
    reporter: Reporter | None = None,
    **parameters: Any,
) -> Plan:
    """Plan a flow: all that a run would do, without doing any of it."""
    return _planned(flow, inputs, parameters, _home(home), reporter or LogReporter())[0]


def _home(given: Path | None) -> Home:
    return (Home(Path(given).expanduser().absolute()) if given else Home.here()).open()


def site_of(site: "Site | str | None") -> "Site | None":
    """Return a site, which may be named."""
    from terp.cluster.site import load_site

    return load_site(site, {}) if isinstance(site, str) else site


def _planned(
    flow: "Flow[Any, Any] | str",
    inputs: tuple[Any, ...],
    parameters: Mapping[str, Any],
    home: Home,
    reporter: Reporter,
    elsewhere: Mapping[str, Path] | None = None,
) -> "tuple[Plan, Planner, Flow[Any, Any], dict[str, Any]]":
    prefect_server.prepare(home.root)
    found = load_flow(flow) if isinstance(flow, str) else flow
    values = parameters_of(found, inputs, parameters)
    made, planner = make_plan(found, values, home, elsewhere, reporter.say)
    return made, planner, found, values


def run(
    flow: "Flow[Any, Any] | str",
    *inputs: Any,
    home: Path | None = None,
    workers: int | None = None,
    site: "Site | str | None" = None,
    where: Where | None = None,
    archive: bool = True,
    policy: Path | None = None,
    take_over: bool = False,
    reporter: Reporter | None = None,
    as_run: str = "",
    elsewhere: Mapping[str, Path] | None = None,
    **parameters: Any,
) -> Run:
    """Run a flow: plan it, make what is missing, seal, archive. The same call again goes on where this one ended.

    `flow` is a Prefect flow, the name of a shipped one, or "file.py:flow"; `inputs` and `parameters` are its own.
    `workers` processes of one thread compute (default: a process a core), in SLURM jobs of a `site` if one is named;
    `where` says more about them. `policy` is the file under which to archive (else TERP_POLICY names it, else it is the
    home's policy.toml): where nobody has decided, results stay in the home. `take_over`: a controller elsewhere, which
    holds a product and cannot be asked, is known to be gone. `as_run` goes on with a submitted run; `elsewhere`: where
    sources are now, by what the flow calls them. Raises what terp's error trees hold.
    """
    house = _home(home)
    agent, reporter = who(), reporter or LogReporter()
    decision = _decided(house, policy, as_run) if archive else b""
    place = where or Where(site_of(site), most=workers)
    made, planner, found, values = _planned(flow, inputs, parameters, house, reporter, elsewhere)
    demand_licences(decision, planner.sources.values())
    notes = place.fitting(made)
    record = _begun(house, made, found, values, flow, as_run)
    with _told_how(house, record):
        notes += _noted(house, record, made, found, agent, decision, place)
    told = Logged(reporter, record.folder(house) / "log.txt", record.warnings)
    told.plan(made)
    crew = Workers(lambda: place.launch(house, record, told))
    try:
        with _recorded(house, record, made.tasks):
            demand_progress(record)
            _tell_plan(house, record, made, notes, told)
            if made.tasks:
                crew.want()
            try:
                runner = Runner(house, made, planner, record, crew, told, take_over or is_gone, place.memory)
                with prefect_server.connect(house.root) as connection, running(runner), blaming(found):
                    record.prefect = {"server": connection.whose, "cold": connection.cold}
                    returned = run_flow(found, values, connection)
            finally:
                record.cluster = accounted(record, place.site, crew.close())
                with suppress(StorageError):  # nor may this hide what happened
                    noted_workers(house, record)
            record.results = {name: product.key for name, product in named_results(returned).items()}
            _made_all(house, record, planner, told)
            if archive:
                record.archived = _archived(house, record, found, told)
    except Walled:
        go_on_later(record, told)
        raise
    return Run(house, record)


def _noted(
    home: Home, record: RunRecord, made: Plan, found: "Flow[Any, Any]", agent: Agent, decision: bytes, place: Where
) -> list[str]:
    """Note all that is known before a run computes: code, decision and place; return what to tell of the code."""
    demand_as_submitted(record, made)
    notes = _captured(home, record, found, agent)
    keep_decision(home, record, decision)
    record.workers, record.site = place.workers, place.site.name if place.site else ""
    record.cluster = so_far(home, record)
    return notes


def _decided(home: Home, policy: Path | None, as_run: str) -> bytes:
    """Return the decision under which a run that begins will be archived; raises before days of work, not after."""
    SigningKey.here()
    return b"" if as_run else decide(home, policy)


def _tell_plan(home: Home, record: RunRecord, plan: Plan, notes: list[str], told: Reporter) -> None:
    """Have the journal know the plan, and people what should be looked at in it."""
    noted_plan(home, record, plan)
    doubts = list(dict.fromkeys(doubt for one in plan.steps for doubt in one.step.doubts))
    for note in [*notes, *doubts]:
        record.note(home, "warned", words=note)
        told.warn(note)


def _archived(home: Home, record: RunRecord, found: "Flow[Any, Any]", told: Reporter) -> dict[str, Any]:
    """Archive what was made, if somebody has decided that; return where it rests."""
    if decision_of(home, record):
        return deposit(home, record, found, told)
    told.warn(f"not archived: {UNDECIDED.format(record.id)}")
    return {}


def _made_all(home: Home, record: RunRecord, planner: Planner, told: Reporter) -> None:
    """Note when all was made and what was read, and tell it where the clock went back meanwhile."""
    record.took_in(home, planner.sources)
    hold(home, record, {}, ("sources",))
    record.ended = now()
    if went_back():
        record.note(home, "warned", words=went_back())
        told.warn(went_back())


def _begun(
    house: Home, made: Plan, found: "Flow[Any, Any]", values: dict[str, Any], flow: "Flow[Any, Any] | str", as_run: str
) -> RunRecord:
    """Return the record of a run that begins, or that of one which was submitted."""
    target = flow if isinstance(flow, str) else f"{found.fn.__module__}:{found.fn.__name__}"
    return load_run(house, as_run) if as_run else RunRecord.begin(house, made.flow, target, values)


def _captured(house: Home, record: RunRecord, found: "Flow[Any, Any]", agent: Agent) -> list[str]:
    """Note what a run is made with, and keep all of its code, before anything is computed; return what to tell."""
    return capture(house, record, found, agent, as_files(code_of(found, record.target)))


def submit(
    flow: str,
    inputs: tuple[str, ...],
    parameters: Mapping[str, Any],
    site: "Site",
    options: Mapping[str, Any],
    policy: Path | None = None,
) -> RunRecord:
    """Have a run's controller be a job of a site; `options` are those of `terp run` that it shall have.

    What cannot be planned is refused here, not after the queue.
    """
    house, agent = _home(None), who()
    decision = b"" if options.get("--no-archive") else decide(house, policy)
    made, planner, found, values = _planned(flow, inputs, parameters, house, LogReporter())
    demand_licences(decision, planner.sources.values())
    Where(site).fitting(made)
    record = RunRecord.begin(house, made.flow, flow, values)
    with _told_how(house, record):
        note_submitted(record, made)
        _captured(house, record, found, agent)
        keep_decision(house, record, decision)
        batch.submit(house, record, site, batch.words_of(flow, inputs, parameters, options))
    return record


def open(reference: str = "last", name: str = "", group: str = "", home: Path | None = None) -> "xr.Dataset":  # noqa: A001
    """Open a result by run, product or archived object, lazily and proven, as `terp open` does."""
    from terp.workflows.results import show

    house = _home(home)
    found = show.find(house, reference)
    if found.product:
        return show.open_product(found.product, group)
    if found.run:
        return show.open_result(house, found.run, name, group)
    return show.open_archived(house, found.identifier, name, group)


@contextmanager
def _recorded(home: Home, record: RunRecord, left: int) -> Iterator[None]:
    """Keep the record of a run true, however it ends; `left` regions are to be made."""
    record.go_on(home, left)
    with _told_how(home, record):
        yield
    record.state = "finished"
    record.note(home, "stopped", state=record.state, results=Named(record.results))
    record.save(home)


@contextmanager
def _told_how(home: Home, record: RunRecord) -> Iterator[None]:
    """Have the record of a run tell how it ended, where an error ends it."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, SlurmAway) and record.state == "submitted":
            raise  # SLURM may have the job
        record.ended = record.ended or now()
        with suppress(OSError, DiskTrouble):  # a full disk must not hide what happened
            _failed(home, record, error)
        raise


def _failed(home: Home, record: RunRecord, error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt | Stopped):
        record.state, record.error = "cancelled", "stopped by a person"
    elif isinstance(error, Walled):
        record.state, record.error = "to go on", str(error)
        record.attempts[-1]["walled"] = True
    else:
        record.state, record.error = "failed", without_secrets(str(error)) or type(error).__name__
    with suppress(StorageError):  # nor must a newer start of this run, which keeps the journal now
        record.note(home, "stopped", state=record.state, why=named(error))
    if record.save(home) and record.state == "failed":
        told = without_secrets("".join(traceback.format_exception(error)))
        (record.folder(home) / "error.txt").write_text(told)
