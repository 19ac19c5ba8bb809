"""The git repository that code lies in: its commit, and how what is there differs from that."""

import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

_LONGEST = 32 << 20  # bytes of what git tells that are kept
_PATIENCE = 20.0  # seconds for git, which has to look through a whole repository
_MADE_AGAIN = (
    "The flow's file and all own modules that it imports are kept as they are, so it can be replayed; what else the "
    "repository held is not known by this record"
)


@dataclass(frozen=True)
class State:
    """The commit of a repository, whether it holds the file that was asked about, and how it differs (`git diff`).

    `trouble` says what of that could not be had though there is a repository, why, and what that means.
    """

    commit: str | None = None
    holds: bool = False
    diff: str = ""
    trouble: str = ""

    @property
    def dirty(self) -> bool:
        """Whether the code is not that of the commit, or may not be."""
        return self.commit is not None and (bool(self.diff) or not self.holds or bool(self.trouble))


def state_of(path: Path, part: Path | None = None) -> State:
    """Return the state of the repository around a file, or of that `part` of it; no commit where there is none."""
    head = known = None
    try:
        head = git(path.parent, "rev-parse", "HEAD").strip()
        known = git(path.parent, "ls-files", "--", path.name)
        within = ["--", str(part)] if part else []
        diff = git(path.parent, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", *within)
    except (OSError, subprocess.SubprocessError) as error:
        what = (
            f"how {path.name} and its repository differ from the commit {head}" if head else f"a commit of {path.name}"
        )
        lost = f"git does not tell {what}: {_why(error)}. {_MADE_AGAIN}" if _is_in_one(path) else ""
        return State(head, bool(known), trouble=lost)
    if len(diff) < _LONGEST:
        return State(head, bool(known), diff)
    most = f"{_LONGEST >> 20} MiB, more than is kept"
    return State(
        head,
        bool(known),
        f"The changes are over {most}.\n",
        f"the repository of {path.name} differs from the commit {head} by over {most}: commit them, or have git ignore "
        f"what is no code. {_MADE_AGAIN}",
    )


def _is_in_one(path: Path) -> bool:
    return any((folder / ".git").exists() for folder in path.absolute().parents)


def _why(error: Exception) -> str:
    """Return git's own words, or what kept it from having any."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it took more than {_PATIENCE:g} s"
    said = error.stderr.decode(errors="replace") if isinstance(error, subprocess.CalledProcessError) else str(error)
    return next((line.strip().rstrip(".") for line in said.splitlines() if line.strip()), str(error))


@cache
def terp_itself() -> dict[str, Any]:
    """Return the version of terp and, where it is a checkout, its commit and whether it differs from that."""
    here = Path(__file__).resolve()
    found = state_of(here, here.parents[2])
    return {"version": version("terp"), **({"commit": found.commit, "dirty": found.dirty} if found.holds else {})}


def git(folder: Path, *words: str) -> str:
    """Return what a git command prints in a folder, so far as it is kept; raises OSError or SubprocessError."""
    command = ["git", "--no-optional-locks", *words]
    with TemporaryFile() as told:  # which may be more than fits into memory
        subprocess.run(command, cwd=folder, stdout=told, stderr=subprocess.PIPE, timeout=_PATIENCE, check=True)
        told.seek(0)
        return told.read(_LONGEST).decode(errors="replace")
