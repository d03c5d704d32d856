"""The arguments of a command that will run elsewhere: checked here, and with files named as they lie there."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence

from distributed_il.cli.given import collect, variable_prefix
from distributed_il.cli.main import COMMANDS
from distributed_il.core.errors import UserError

SENT = {
    "prepare": ("source", "output", "append_to", "user_features", "item_features"),
    "simulate": ("output",),
    "train": ("data.path", "run.dir", "run.start_from"),
    "sweep": ("data.path", "run.dir", "run.start_from"),
    "evaluate": ("run_dir", "data"),
    "score": ("run_dir", "output", "pairs", "data"),
    "annotate": ("run_dir", "output", "pairs", "data"),
    "recommend": ("run_dir", "output", "users", "data"),
    "export": ("run_dir", "output", "data"),
}
"""Commands that can be sent, each with its settings that are places on the cluster's storage."""
_FILES = ("--config", "--sweep.space")
"""Flags that name a file of settings, which travels with the job."""


def check_arguments(command: str, arguments: Sequence[str]) -> None:
    """Refuses what the command would refuse on the cluster, and places that would mean another thing there.

    Args:
        command: One of `SENT`.
        arguments: As they were given, beside the command's environment variables.

    Raises:
        UserError: A setting is unknown, missing, wrong, or a place without its full path.
    """
    importlib.import_module(COMMANDS[command].module).read(arguments)
    given = collect(command, arguments)
    for key in SENT[command]:
        setting = given.last(key)
        if setting is not None and setting.value and "://" not in setting.value and not os.path.isabs(setting.value):
            raise UserError(
                f"{setting.place}: {key} is {setting.value!r}, and a job starts in a directory of its own, which does "
                f"not outlive it; give the full path, such as {os.path.abspath(setting.value)}, on storage that all "
                "nodes share"
            )


def arguments_there(arguments: Sequence[str], working_dir: str) -> list[str]:
    """The arguments with every file that is sent along named from the directory that the job starts in.

    Args:
        arguments: As they were given.
        working_dir: Directory here that is sent, or a URI.

    Raises:
        UserError: A file lies outside of it.
    """
    there = list(arguments)
    for position, token in enumerate(arguments):
        flag, equals, value = token.partition("=")
        if flag in _FILES and equals:
            there[position] = f"{flag}={_file_there(value, working_dir)}"
        elif token in _FILES and position + 1 < len(arguments):
            there[position + 1] = _file_there(arguments[position + 1], working_dir)
    return there


def variables_there(command: str, working_dir: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment variables that are settings of the command; that of the file as in `arguments_there`.

    Args:
        command: The command.
        working_dir: Directory here that is sent, or a URI.
        environ: Environment variables.

    Raises:
        UserError: The file lies outside of it.
    """
    prefix = variable_prefix(command)
    return {
        name: _file_there(value, working_dir) if name == f"{prefix}CONFIG" else value
        for name, value in environ.items()
        if name.startswith(prefix)
    }


def _file_there(path: str, working_dir: str) -> str:
    if "://" in working_dir:
        return path
    name = os.path.relpath(path, working_dir)
    if name.split(os.sep)[0] == os.pardir:
        raise UserError(
            f"{path} lies outside of {os.path.abspath(working_dir)}, which is what the job gets to see; give "
            "a --working_dir that holds it"
        )
    return name
