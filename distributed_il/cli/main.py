"""`distributed-il COMMAND …`: finds the command, and turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import atexit
import gc
import pkgutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

from distributed_il import __version__
from distributed_il.cli.given import suggestion
from distributed_il.core.errors import UserError


class Command(NamedTuple):
    """A command, imported only when it is called: `--help` need not wait for torch and Ray."""

    place: str  # what has the functions `read` and `run`: a module, or an object in one as `module:NAME`
    about: str  # what the command does, in a line

    def load(self) -> Any:
        """Imports the command."""
        return pkgutil.resolve_name(self.place)


COMMANDS = {
    "prepare": Command("distributed_il.cli.prepare:PREPARE", "turns raw feedback into a dataset"),
    "simulate": Command("distributed_il.cli.simulate:SIMULATE", "simulates micro-video logs as a dataset"),
    "train": Command("distributed_il.cli.train", "trains a recommender on a dataset"),
    "sweep": Command("distributed_il.cli.sweep", "finds the best settings of a run by a validation metric"),
    "evaluate": Command("distributed_il.cli.inference:EVALUATE", "measures a trained model again"),
    "score": Command("distributed_il.cli.inference:SCORE", "writes a model's score of each given pair"),
    "annotate": Command("distributed_il.cli.inference:ANNOTATE", "writes how a model labels unclear pairs"),
    "report": Command("distributed_il.cli.report", "shows runs and their results on one HTML page"),
    "recommend": Command("distributed_il.cli.inference:RECOMMEND", "writes the best items of each user"),
    "similar": Command("distributed_il.cli.inference:SIMILAR", "writes the most similar items of each item"),
    "export": Command("distributed_il.cli.inference:EXPORT", "writes a model for other programs"),
    "submit": Command("distributed_il.cli.submit", "sends one of these to a Ray cluster as a job"),
}

COMPLETION = "--print_completion"
INTERRUPTED = 130
REFUSED = 2
FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command, by default that of the process's arguments.

    Returns:
        The exit code: 0; 2 where the user has something to cure; 1 after what nobody foresaw; 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        # Else Python looks through all of torch and Ray for garbage on its way out, for more than a second.
        atexit.register(gc.freeze)
        # As an exception, so that a command that is half done removes what it wrote.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        if arguments and arguments[0].partition("=")[0] == COMPLETION:
            _print_completion(arguments)
            return 0
        command, rest = _choose(arguments)
        COMMANDS[command].load().run(rest)
    except UserError as error:
        print(f"distributed-il: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"distributed-il: {place}{error.strerror or error}", file=sys.stderr)
        return REFUSED
    except MemoryError as error:
        print(f"distributed-il: there is not enough memory ({error})", file=sys.stderr)
        return REFUSED
    except Exception as error:
        print(f"distributed-il: {_unforeseen(error)}", file=sys.stderr)
        return FAILED
    except SystemExit as left:  # --help, --version and --print_config end so, and a run that SIGTERM stopped
        if isinstance(left.code, str):
            print(f"distributed-il: {left.code}", file=sys.stderr)
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    return 0


def _print_completion(arguments: list[str]) -> None:
    from distributed_il.cli.completion import completion_script

    shell = arguments[0].partition("=")[2] or next(iter(arguments[1:]), "")
    print(completion_script(shell))


def _unforeseen(error: Exception) -> str:
    """Says what happened in a line, and keeps the trace where those who can cure it find it."""
    line = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="distributed-il-", suffix=".txt", delete=False) as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return f"{line}; this is a fault of the program, not of yours"
    return f"{line}; this is a fault of the program, not of yours: its trace is in {file.name}"


def _choose(arguments: list[str]) -> tuple[str, list[str]]:
    first, *rest = arguments or ["--help"]
    if first == "help":
        first, *rest = [*rest, "--help"]
    if first in COMMANDS:
        return first, rest
    if not first.startswith("-"):
        raise UserError(f"there is no command '{first}'{suggestion(first, COMMANDS)}; there are {', '.join(COMMANDS)}")
    parser = argparse.ArgumentParser(
        prog="distributed-il",
        usage="%(prog)s COMMAND [--config FILE] [--section.field=value …]",
        description="Trains recommenders from extremely sparse feedback by inverse learning, on Ray.",
        epilog="commands:\n"
        + "\n".join(f"  {name:<10} {command.about}" for name, command in COMMANDS.items())
        + "\n\n`distributed-il COMMAND --help` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=True,
        allow_abbrev=False,
    )
    parser.add_argument(
        COMPLETION, metavar="SHELL", help="print a script that completes commands and settings, and exit"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    if first not in ("-h", "--help", "--version"):
        raise UserError(f"a command comes first, before {first}: one of {', '.join(COMMANDS)}")
    parser.parse_args([first])
    raise AssertionError("unreachable: help and version leave")
