"""The commands, one file each, and what becomes of their errors.

Exit codes: 0 fine · 1 an internal error, which names its log · 2 recipe or usage wrong · 3 data missing or damaged ·
4 training diverged · 5 a file cannot be read or written · 6 a checkpoint is damaged or of another run or version ·
7 memory exhausted · 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import click

COMMANDS = (
    *("run", "check", "compile", "explain", "list", "eval", "certify", "report", "export", "runs", "sweep"),
    *("compare", "new", "bench", "doctor"),
)


class Lazy(click.Group):
    """A group whose commands are imported when they are asked for: the files are named after the commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"atentdsl.cli.{cmd_name}_command").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name; an unknown one is refused with the nearest."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from atentdsl.source import suggest

            near = suggest(args[0], COMMANDS)
            hint = f"did you mean `{near}`? " if near else ""
            raise click.UsageError(f"no command `{args[0]}`; {hint}there are: {', '.join(COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="atentdsl", prog_name="atentdsl")
def cli() -> None:
    """Adversarial training, declared as a recipe and compiled into a readable PyTorch training loop.

    RECIPE is a path, or the name of a shipped recipe (`atentdsl list recipes`).
    """


def run(arguments: Sequence[str]) -> int:
    """Runs one command; the exit code. No error shows a traceback: an internal one leaves it in a log, and names it."""
    try:
        return int(cli.main(list(arguments), prog_name="atentdsl", standalone_mode=False) or 0)
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return 2
    except (KeyboardInterrupt, click.Abort) as interruption:
        _say(f"atentdsl: {_interrupted(interruption)}")
        return 130
    except BrokenPipeError:
        # Whoever read the output has stopped; the interpreter must not complain about it while it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _explained(error)


def _interrupted(error: BaseException) -> str:
    """How to go on, where a run had time to write a checkpoint."""
    # click raises an error of its own from whatever interrupted it
    said = str(error.__cause__ or "")
    return said or "interrupted; what was written so far is kept"


def _say(text: str) -> None:
    """On standard error, if it can be written: the exit code says the rest."""
    with suppress(OSError):
        click.echo(text, err=True)


def _explained(error: Exception) -> int:
    """Says what went wrong, and the exit code that stands for it."""
    from atentdsl.runtime import errors
    from atentdsl.source import RecipeError, render

    if isinstance(error, RecipeError):
        _say(render(error, colour=sys.stderr.isatty()))
        return 2
    known = {
        errors.ArchitectureUnfit: 2,
        errors.BoundsUnknown: 2,
        errors.DataMissing: 3,
        errors.Diverged: 4,
        errors.DeviceUnavailable: 2,
        errors.NotARunDirectory: 2,
        errors.RunBusy: 2,
        errors.CheckpointBroken: 6,
        errors.CannotResume: 6,
        errors.CannotExport: 2,
        errors.CannotReport: 2,
        errors.MemoryExhausted: 7,
        errors.NotFinite: 2,
        errors.NotGiven: 2,
        errors.UnsuitedAttack: 2,
        errors.ExtraMissing: 2,
        errors.SubjectRefused: 2,
        errors.NotCertifiable: 2,
        errors.NotComparable: 2,
        errors.WeightsRefused: 2,
        errors.UserCodeRefused: 2,
        OSError: 5,
    }
    for kind, code in known.items():
        if isinstance(error, kind):
            _say(f"atentdsl: {error}")
            return code
    if _is_memory(error):
        _say(f"atentdsl: memory is exhausted: {error}; take a smaller batch or a smaller network")
        return 7
    _say(f"atentdsl: internal error: {type(error).__name__}: {error}")
    _say(f"atentdsl: the log is {_log()}; please report it")
    return 1


def _is_memory(error: Exception) -> bool:
    """Whether memory is exhausted; torch is asked only if it is loaded already."""
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from atentdsl.runtime.memory import is_exhausted

    return is_exhausted(error)


def _log() -> Path:
    """Writes the current traceback where it can be kept: here, or else in the folder for temporary files."""
    import tempfile
    import traceback
    from datetime import UTC, datetime

    name = f"atentdsl-error-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.log"
    text = traceback.format_exc()
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        return folder / name
    return Path(os.devnull)
