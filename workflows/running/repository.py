"""The git repository that code lies in: its commit, and how what is there differs from that."""

import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LONGEST_DIFF = 1 << 20  # characters that are kept
_PATIENCE = 5.0  # seconds for git, which has to look through a whole repository


@dataclass(frozen=True)
class State:
    """The commit of a repository, whether it holds the file that was asked about, and how it differs (`git diff`)."""

    commit: str | None = None
    holds: bool = False
    diff: str = ""

    @property
    def dirty(self) -> bool:
        """Whether the code is not that of the commit."""
        return self.commit is not None and (bool(self.diff) or not self.holds)


def state_of(path: Path, part: Path | None = None) -> State:
    """Return the state of the repository around a file, or of that `part` of it; no commit where there is none."""
    try:
        head = git(path.parent, "rev-parse", "HEAD")
        within = ["--", str(part)] if part else []
        diff = git(path.parent, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", *within)
        known = git(path.parent, "ls-files", "--", path.name)
    except (OSError, subprocess.SubprocessError):
        return State()
    if len(diff) > _LONGEST_DIFF:
        diff = f"The changes are {len(diff):,} characters, more than is kept.\n"
    return State(head.strip(), bool(known), diff)


@cache
def terp_itself() -> dict[str, Any]:
    """Return the version of terp and, where it is a checkout, its commit and whether it differs from that."""
    here = Path(__file__).resolve()
    found = state_of(here, here.parents[2])
    return {"version": version("terp"), **({"commit": found.commit, "dirty": found.dirty} if found.holds else {})}


def git(folder: Path, *words: str) -> str:
    """Return what a git command prints in a folder; raises OSError or SubprocessError where it fails."""
    command = ["git", "--no-optional-locks", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_PATIENCE, check=True)
    return done.stdout.decode(errors="replace")
