"""What the documentation says is so: its commands run, its output is what they print, its links lead somewhere."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from terp.cluster.errors import ClusterError
from terp.storage.errors import StorageError
from terp.workflows.cli import COMMANDS
from terp.workflows.errors import WorkflowError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# after the demo, in one home
GUIDES = ["researchers.md", "operators.md", "archivists.md", "architecture.md", "sites.md", "prefect.md", "custody.md"]

SITE_GUIDES = ["at-a-site.md"]  # followed in tests/slurm/test_guides.py
DRILLS = ["readable-in-2046.md"]  # followed in tests/storage/test_drill.py

ELSEWHERE = {
    "make demo": "run here as `python -m terp.workflows.demo`, and as `make` in test_commands.py",
    "make test": "it is what runs this test",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its lines, and whether the page says that it goes into mine.py."""

    page: str
    language: str
    text: str
    added: bool

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, without comments."""
        if self.language == "bash":
            lines = self.text.splitlines()
        else:
            lines = [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]
        return [line.partition("  #")[0].strip() for line in lines]

    @property
    def output(self) -> list[str]:
        """The lines of output that are shown, without those that say that something is left out."""
        lines = self.text.splitlines() if self.language in ("console", "text") else []
        return [line for line in lines if not line.startswith("$ ") and line.strip() not in ("", "...")]


def blocks(page: Path) -> list[Block]:
    found = re.findall(
        r"(<!-- added to mine\.py -->\n)?^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
    )
    return [Block(page.name, language, text, bool(added)) for added, language, text in found]


def runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in ("bash", "console", "python")]


class Desk:
    """A folder with the example in it and a home, where a reader follows pages from their first to their last block."""

    def __init__(self, folder: Path, prefect: dict[str, str]) -> None:
        self.folder, self.home = folder, folder / ".terp"
        shutil.copytree(ROOT / "docs/examples", folder / "docs/examples")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        here = {"TERP_HOME": str(self.home), "TERP_AGENT": "A Reader", "PYTHONPATH": str(folder), "PATH": path}
        self.environment = {**os.environ, **prefect, **here}
        del self.environment["TERP_POLICY"]  # a reader decides as the pages say

    def run(self, *command: str) -> str:
        """Run a command, which must go well; return all that it prints."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def follow(self, page: Path) -> str:
        """Do all that a page shows, in one shell."""
        script = [line for number, block in enumerate(runnable(page)) for line in self._steps(number, block)]
        return self.run("bash", "-euc", "\n".join(script))

    def _steps(self, number: int, block: Block) -> Iterator[str]:
        if block.language != "python":
            yield from (command for command in block.commands if command not in ELSEWHERE)
        elif block.added:
            piece = self.folder / f"piece_{number}"
            piece.write_text(f"\n\n{block.text}")
            yield f"cat {piece} >> mine.py"
        else:
            cell = self.folder / f"cell_{number}.py"
            cell.write_text(block.text)
            yield f"python {cell}"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> tuple[Desk, str]:
    """A desk where the demo was run, and what it printed."""
    desk = Desk(tmp_path_factory.mktemp("demo"), prefect)
    return desk, desk.run("python", "-m", "terp.workflows.demo")


def shape(line: str) -> str:
    """Return a line without what differs from run to run: numbers, keys, times, places."""
    line = re.sub(r"archive/\w{3}/\w{3}/\w{3}/", "archive/#/", line)
    line = re.sub(r"-\d{8}-\d{6}-\w{4}", "-#", line)
    line = re.sub(r"[0-9a-f]{16,}|\d[\d.,:T+-]*", "#", line)
    return " ".join(re.sub(r"\b([KMGT]i)?B\b", "B", line).split())


def unseen(shown: list[str], printed: str, home: Path) -> list[str]:
    """Return the shown lines that were not printed; `...` within one stands for anything."""
    there = [shape(line.replace(str(home), "/data/terp")) for line in printed.splitlines()]
    patterns = {line: re.compile(".*".join(map(re.escape, shape(line).split("...")))) for line in shown}
    return [line for line, pattern in patterns.items() if not any(map(pattern.fullmatch, there))]


def test_the_readme_shows_what_the_demo_prints(demo: tuple[Desk, str]) -> None:
    desk, printed = demo
    shown = next(block for block in blocks(ROOT / "README.md") if block.language == "text").output
    assert unseen(shown, printed, desk.home) == []
    facts = [line for line in shown if "month of the Nino-3.4 box" in line]
    assert len(facts) == 2
    assert all(line in printed for line in facts), "these numbers are the same everywhere"


@pytest.mark.parametrize("name", GUIDES)
def test_all_that_a_guide_shows_is_so(name: str, demo: tuple[Desk, str]) -> None:
    page = ROOT / "docs" / name
    printed = demo[0].follow(page)
    assert unseen([line for block in runnable(page) for line in block.output], printed, demo[0].home) == []


def test_who_follows_write_a_flow_gets_what_it_shows(tmp_path: Path, prefect: dict[str, str]) -> None:
    desk, page = Desk(tmp_path, prefect), ROOT / "docs/write-a-flow.md"
    printed = desk.follow(page)
    assert unseen([line for block in runnable(page) for line in block.output], printed, desk.home) == []


def test_write_a_flow_shows_the_example_as_it_is() -> None:
    example = (ROOT / "docs/examples/mine.py").read_text()
    assert example in [block.text for block in blocks(ROOT / "docs/write-a-flow.md")]


def test_no_page_shows_commands_that_are_not_run() -> None:
    followed = {"README.md", "write-a-flow.md", *GUIDES, *SITE_GUIDES, *DRILLS}
    assert {block.page for page in PAGES for block in runnable(page)} <= followed
    commands = {command for block in runnable(ROOT / "README.md") for command in block.commands}
    assert commands == set(ELSEWHERE), "the README has no others than those that are run elsewhere"
    kinds = {block.language for page in PAGES for block in blocks(page)}
    assert kinds <= {"bash", "console", "python", "text", "toml", "mermaid"}, (
        "a block without a language could hide a command"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S))
    lost = [link for link in links if not _leads(page, *link.partition("#")[::2])]
    assert lost == []


def _leads(page: Path, path: str, anchor: str) -> bool:
    target = (page.parent / path).resolve() if path else page
    if not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_decision_is_in_the_list_of_decisions() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    assert [page.name for page in PAGES if page.parent.name == "decisions" if page.name not in text] == []


def test_every_command_is_documented() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    assert [name for name in COMMANDS if f"terp {name}" not in text] == []


type Error = type[StorageError] | type[ClusterError] | type[WorkflowError]


def family(base: Error) -> Iterator[Error]:
    yield base
    for kind in base.__subclasses__():
        if kind.__module__.startswith("terp."):
            yield from family(kind)


def test_every_error_is_in_the_operators_table_with_its_exit_code() -> None:
    text = (ROOT / "docs/operators.md").read_text()
    rows = re.findall(r"^\| (\d+) \| [^|]+ \|([^|]*)\|$", text, re.MULTILINE)
    documented = {name: int(code) for code, names in rows for name in re.findall(r"\w+", names)}
    raised = {
        kind.__name__: kind.exit_code for base in (StorageError, ClusterError, WorkflowError) for kind in family(base)
    }
    assert documented == raised


def test_there_are_few_words_and_each_is_told_once() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    words = re.findall(r"^\| ([A-Z]\w+) \| ", text.partition("## Words")[2].partition("##")[0], re.MULTILINE)
    assert len(words) == len(set(words)) <= 16
