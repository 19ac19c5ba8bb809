"""What SLURM says, in words for people: why a job waits, why it was refused, how it ended."""

import re

# Why a job waits (squeue's reason); the number in the site's limits is added where it is known.
_REASONS = {
    "None": "is about to start",
    "Priority": "waits its turn: jobs of higher priority come first",
    "Resources": "waits for free nodes",
    "BeginTime": "starts a little later (it was put back into the queue, or has a time to begin)",
    "Dependency": "waits for another job",
    "JobArrayTaskLimit": "waits for others of its job array",
    "Licenses": "waits for a licence",
    "Reservation": "waits for its reservation",
    "ReqNodeNotAvail": "waits for nodes that are down, drained or reserved",
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions": "waits for nodes "
    "that are down, drained or reserved",
    "NodeDown": "waits for a node that is down",
    "JobHeldUser": "is held: release it with `scontrol release`",
    "JobHeldAdmin": "is held by the operators: ask them",
    "launch failed requeued held": "could not be started on its node and is held: release it with `scontrol release`",
    "PartitionDown": "waits for its partition, which is down",
    "PartitionInactive": "waits for its partition, which is not active",
    "PartitionTimeLimit": "asks for more time than its partition gives",
    "PartitionNodeLimit": "asks for more nodes than its partition gives",
    "InvalidAccount": "has an account that is not valid: set the site's `account`",
    "InvalidQOS": "has a quality of service that is not valid",
    "AssocGrpCpuLimit": "your account has reached its limit of cores",
    "AssocGrpCPUMinutesLimit": "your account has used up its core hours",
    "AssocGrpBillingMinutes": "your account has used up its budget",
    "AssocMaxJobsLimit": "your account has reached its limit of running jobs",
    "AssocGrpJobsLimit": "your account has reached its limit of running jobs",
    "AssocGrpMemLimit": "your account has reached its limit of memory",
    "QOSMaxJobsPerUserLimit": "you have reached your limit of running jobs",
    "QOSMaxCpuPerUserLimit": "you have reached your limit of cores",
    "QOSMaxMemoryPerUser": "you have reached your limit of memory",
    "QOSGrpCpuLimit": "the limit of cores of this quality of service is reached",
    "QOSMaxNodePerUserLimit": "you have reached your limit of nodes",
}

_ENDS = {
    "TIMEOUT": "reached its time limit",
    "OUT_OF_MEMORY": "ran out of memory",
    "NODE_FAIL": "was lost with its node",
    "PREEMPTED": "was preempted",
    "CANCELLED": "was cancelled",
    "FAILED": "failed",
    "BOOT_FAIL": "was lost as its node could not boot",
    "DEADLINE": "could not end before its deadline",
    "COMPLETED": "ended",
    "VANISHED": "is known to SLURM no more",
}

# What sbatch says, and what a person can do.
_REFUSALS = {
    "invalid partition": "the partition does not exist here: choose another (`terp site show`, `sinfo -s`)",
    "invalid account|account/partition combination": (
        "the account may not be used: set `account` to one of `sacctmgr show assoc user=$USER format=account`"
    ),
    "MaxSubmitJob": ("you have as many jobs in the queue as you may: wait for some to end, or ask for fewer workers"),
    "time limit|TimeLimit": (
        "the time asked for is longer than the partition or account gives: lower the site's `walltime`"
    ),
    "memory specification|memory.*can not be satisfied": (
        "no node has the memory that was asked for: lower `memory_per_core`, or use another partition"
    ),
    "node configuration is not available": "no node of the partition has the cores and memory that were asked for",
    "node count|PartitionNodeLimit": "the partition does not give so many nodes",
    r"--mem\b.*(not|disallow)|memory.*flag": "this site takes memory otherwise: set the site's `memory_flag`",
    "--account|specify an account": "this site wants an account: set the site's `account`",
    "job violates accounting/QOS policy": (
        "it breaks a limit of your account or quality of service (`sacctmgr show assoc user=$USER`)"
    ),
}


def reason(code: str) -> str:
    """Return in words why a job waits; what is not known is passed on as SLURM says it."""
    plain = code.strip("()")
    known = _REASONS.get(plain) or _REASONS.get(plain.partition(",")[0])
    return known or f"waits ({plain})"


def ending(state: str) -> str:
    """Return in words how a job ended."""
    return _ENDS.get(state, f"ended as {state}")


def refusal(command: str, said: str) -> str:
    """Return a sentence for what a command of SLURM's refused: what can be done, and its own last words."""
    own = said.splitlines()[-1].removeprefix(f"{command}: ").removeprefix("error: ")
    for pattern, advice in _REFUSALS.items():
        if re.search(pattern, said, re.IGNORECASE):
            return f"SLURM refused: {advice} (it said: {own})"
    return f"SLURM's {command} refused: {own}"
