"""A folder whose files go to tape by themselves, and have to be brought back before they are read (DMF and its like).

Reading such a file without asking may wait for hours, or give zeros: it is asked for, and read when it is there. Which
files are there is told by a command of the site, or, without one, by the blocks that the file system has of it.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from terp.storage.errors import NotStaged, PlaceTrouble
from terp.storage.places.folder import Folder
from terp.storage.places.place import checked

HERE = ("REG", "DUL", "MIG")  # words of DMF: on disk only, on disk and tape, on its way to tape
_PATIENCE = 60.0  # seconds for the command that tells where files are
_ASKED = list[subprocess.Popen[bytes]]()  # those that may still be asking: Python complains of what is thrown away


class Tape(Folder):
    """A folder of few, large files.

    `stage` is a command that asks for files and `state` one that prints a line for each, whose last word is one of
    `here` when it can be read; file names are put behind both. What `stage` has not done in `wait` seconds goes on
    by itself.
    """

    kind = "tape"

    def __init__(
        self,
        name: str,
        root: Path,
        stage: Sequence[str],
        state: Sequence[str] = (),
        here: Sequence[str] = HERE,
        wait: float = 30.0,
    ) -> None:
        super().__init__(name, root)
        self._stage, self._state, self._here, self._wait = stage, state, here, wait

    def read(self, name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of a file; raises NotStaged where it is on tape only."""
        if not self._path(name).is_file():
            raise FileNotFoundError(f"the place {self.name} has no {name}")
        if self.away([name]):
            raise NotStaged(
                f"{name} of the place {self.name} is on tape: it has to be brought first, which the same command asks "
                f"for and then finishes (by hand: {' '.join(self._stage)} {self._path(name)})"
            )
        yield from super().read(name, offset, size)

    def stage(self, names: Sequence[str]) -> Sequence[str]:
        """Ask for files to be brought; return those that are not there yet."""
        away = self.away(names)
        if away:
            self._ask(away)
        return self.away(away)

    def away(self, names: Sequence[str]) -> Sequence[str]:
        """Return those of some files that are on tape only."""
        if not names or not self._state:
            return [name for name in names if self._has_no_blocks(name)]
        lines = self._run([*self._state, *self._paths(names)]).splitlines()
        if len(lines) != len(names):
            raise PlaceTrouble(
                f"{' '.join(self._state)} of the place {self.name} told of {len(lines)} of {len(names)} files; "
                "correct `state` in places.toml"
            )
        return [name for name, line in zip(names, lines, strict=True) if (line.split() or [""])[-1] not in self._here]

    def _has_no_blocks(self, name: str) -> bool:
        with self._answers():
            found = self._path(checked(name)).stat()
        return found.st_size > 0 and found.st_blocks == 0

    def _paths(self, names: Sequence[str]) -> list[str]:
        return [str(self._path(name)) for name in names]

    def _ask(self, names: Sequence[str]) -> None:
        """Start the command that asks; it may end when all files have come, hours later, and outlives this process."""
        words = [*self._stage, *self._paths(names)]
        nothing = subprocess.DEVNULL
        try:
            asked = subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
        except OSError as error:
            raise self._cannot(words[0], error) from error
        _ASKED.append(asked)
        with suppress(subprocess.TimeoutExpired):
            if asked.wait(self._wait):
                raise PlaceTrouble(f"{words[0]} of the place {self.name} ended with {asked.returncode}: ask its keeper")

    def _run(self, words: Sequence[str]) -> str:
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=True)
        except subprocess.CalledProcessError as error:
            said = (error.stderr.strip().splitlines() or [f"it ended with {error.returncode}"])[-1]
            raise PlaceTrouble(f"{words[0]} of the place {self.name} failed: {said}") from None
        except subprocess.TimeoutExpired:
            raise PlaceTrouble(f"{words[0]} of the place {self.name} does not answer; try later") from None
        except OSError as error:
            raise self._cannot(words[0], error) from error
        return done.stdout

    def _cannot(self, word: str, error: OSError) -> PlaceTrouble:
        return PlaceTrouble(f"the place {self.name} cannot be asked: {word}: {error.strerror}; correct places.toml")
