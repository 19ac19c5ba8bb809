"""The command line `terp`: thin over the Python API; errors become sentences and exit codes."""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

COMMANDS = {
    "plan": "compute",
    "run": "compute",
    "status": "runs",
    "logs": "runs",
    "scale": "scale",
    "cancel": "scale",
    "top": "top",
    "ls": "holdings",
    "show": "holdings",
    "open": "holdings",
    "diff": "diff",
    "why": "lineage",
    "impact": "lineage",
    "verify": "holdings",
    "replay": "replay",
    "audit": "fixity",
    "repair": "fixity",
    "archive": "holdings",
    "export": "transfer",
    "import": "transfer",
    "policy": "policy",
    "rm": "holdings",
    "guard": "guard",
    "retain": "custody",
    "hold": "custody",
    "release": "custody",
    "people": "custody",
    "destroy": "custody",
    "places": "places",
    "copy": "places",
    "uncopy": "places",
    "doctor": "doctor",
    "site": "site",
    "bench": "bench",
    "prefect": "prefect",
    "deploy": "prefect",
}


class _Terp(click.Group):
    """Commands in the order people meet them, each imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"terp.workflows.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


@click.group(cls=_Terp, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="terp")
@click.option("--home", type=click.Path(), help="Where products, runs and the archive are (default: $TERP_HOME).")
def terp(home: str | None) -> None:
    """Flows over big arrays: plan, run, resume, archive, check."""
    if home:
        os.environ["TERP_HOME"] = home


def main() -> None:
    """Run the command line."""
    guarded(lambda: terp.main(standalone_mode=False))


def guarded(command: Callable[[], Any]) -> None:
    """Run a command and exit; never show a traceback for what a person can mend."""
    atexit.register(gc.freeze)  # Python would look through all that was imported once more as it ends: half a second
    stopped: list[int] = []

    def stop(number: int, _: Any) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
        signal.signal(signal.SIGHUP, stop)
    try:
        code = command()
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        error.show()
        code = 64
    except (click.Abort, KeyboardInterrupt):
        code = _told_stop()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except Exception as error:  # noqa: BLE001 (the one place that sees all)
        code = _told_stop() if stopped else _told(error)  # some libraries make other errors of an interrupt
    sys.exit(code if isinstance(code, int) else 0)


def _told_stop() -> int:
    with suppress(OSError):  # the terminal may be gone
        click.echo("terp: stopped; what is recorded stays, the same command goes on", err=True)
    return 130


def _told(error: Exception) -> int:
    """Tell a person what happened; return the exit code."""
    from terp.cluster.errors import ClusterError
    from terp.storage.errors import StorageError
    from terp.storage.files import trouble
    from terp.storage.scrub import without_secrets
    from terp.workflows.errors import WorkflowError

    if isinstance(error, OSError) and trouble(error):
        click.echo(f"terp: {error.filename or 'writing failed'}: {trouble(error)}", err=True)
        return 74
    if isinstance(error, StorageError | ClusterError | WorkflowError):
        click.echo(without_secrets(f"terp: {error}"), err=True)
        return error.exit_code
    fault = without_secrets(f"a fault of terp itself: {type(error).__name__}: {error}")
    click.echo(f"terp: {fault}. Nothing recorded is lost; please report it with {_report(error)}", err=True)
    return 70


def _report(error: Exception) -> str:
    """Write what a developer needs to a file; return where it is."""
    import tempfile
    import traceback

    from terp.storage.scrub import without_secrets

    text = without_secrets("".join(traceback.format_exception(error)))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="terp-error-", suffix=".txt", delete=False) as report:
            report.write(text)
    except OSError as full:
        return f"this (it could not be kept in a file: {full}):\n{text}"
    return report.name
