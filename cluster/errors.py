"""What can go wrong with machines.

ClusterError
├── NoWorkers       no worker came, or all were lost
├── BadSite         a site is not known, or not described as it should be
├── Unpackable      the environment can't be packed for the nodes
├── WorkerLost      the same work killed its workers again and again
├── SlurmRefused    SLURM does not take what is asked of it
│   └── NoSlurm     its commands are not here
├── SlurmAway       SLURM does not answer for now
├── JobsFail        jobs of workers fail in the same way again and again
├── NoKeys          the keys of a run cannot be written
├── NoProgress      start after start of a controller ends without anything done
├── Replaced        another start of the controller's job has taken over
├── Stopped         a person asked it to stop
├── OverBudget      the cap on core hours is reached
└── Walled          the controller's own time limit is near: to be gone on with
"""


class ClusterError(Exception):
    """Base of all that cluster raises; the message is for people."""

    exit_code = 69


class NoWorkers(ClusterError):
    """No worker came, or all were lost."""


class BadSite(ClusterError):
    """A site is not known, or not described as it should be; the message names the key and who says it."""

    exit_code = 64


class Unpackable(ClusterError):
    """The environment can't be packed for the nodes; the message says what is in the way."""


class WorkerLost(ClusterError):
    """The same work killed its workers again and again."""

    exit_code = 70


class SlurmRefused(ClusterError):
    """SLURM does not take what is asked of it; `may_pass`: it is a limit, so the same may be taken later."""

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class NoSlurm(SlurmRefused):
    """SLURM's commands are not here."""


class SlurmAway(ClusterError):
    """SLURM does not answer for now."""


class JobsFail(ClusterError):
    """Jobs of workers fail in the same way again and again."""


class NoKeys(ClusterError):
    """The keys of a run cannot be written."""

    exit_code = 74


class NoProgress(ClusterError):
    """Start after start of a controller ends without anything done."""


class Replaced(ClusterError):
    """Another start of the controller's job has taken over; nothing is lost."""


class Stopped(ClusterError):
    """A person asked it to stop; what is recorded stays."""

    exit_code = 130


class OverBudget(ClusterError):
    """The cap on core hours is reached; what is recorded stays."""

    exit_code = 77


class Walled(ClusterError):
    """The controller's own time limit is near; the same command goes on."""

    exit_code = 75
