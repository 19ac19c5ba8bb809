"""What can go wrong with flows and runs.

WorkflowError
├── Usage           the command, flow, parameter or setting is not known
├── BadRecord       the record of a run is damaged
├── BadStage        a stage does what a stage can't do
├── StageFailed     a stage's code raised on a region
├── FlowFailed      the flow's own body raised
├── PlanEnds        the flow looks at values that do not exist before the run
├── Differs         what was made again is not what was made then
├── Unavailable     something the work needs is not there (an extra, a server)
└── Cancelled       a person stopped the run
"""


class WorkflowError(Exception):
    """Base of all that workflows raise; the message is for people."""

    exit_code = 1


class Usage(WorkflowError):
    """The command, flow, parameter or setting is not known."""

    exit_code = 64


class BadRecord(WorkflowError):
    """The record of a run is damaged."""

    exit_code = 65


class BadStage(WorkflowError):
    """A stage does what a stage can't do."""

    exit_code = 65


class StageFailed(WorkflowError):
    """A stage's code raised on a region."""

    exit_code = 70


class FlowFailed(WorkflowError):
    """The flow's own body raised."""

    exit_code = 70


class PlanEnds(WorkflowError):
    """The flow looks at values that do not exist before the run."""

    exit_code = 65


class Differs(WorkflowError):
    """What was made again is not what was made then."""


class Unavailable(WorkflowError):
    """Something the work needs is not there."""

    exit_code = 69


class Cancelled(WorkflowError):
    """A person stopped the run."""

    exit_code = 130
