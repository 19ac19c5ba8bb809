"""What can go wrong with machines.

ClusterError
├── NoWorkers       no worker came, or all were lost
└── WorkerLost      the same work killed its workers again and again
"""


class ClusterError(Exception):
    """Base of all that cluster raises; the message is for people."""

    exit_code = 69


class NoWorkers(ClusterError):
    """No worker came, or all were lost."""


class WorkerLost(ClusterError):
    """The same work killed its workers again and again."""

    exit_code = 70
