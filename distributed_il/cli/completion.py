"""`distributed-il --print_completion SHELL`: the shell script that completes commands, settings and their values."""

from __future__ import annotations

import argparse
import pkgutil
from typing import Any, Literal, get_args, get_origin

import shtab

from distributed_il.cli.command import ConfigCommand
from distributed_il.cli.given import OPERANDS, SHORT, Given
from distributed_il.cli.main import COMMANDS
from distributed_il.cli.options import Sections, kinds_of
from distributed_il.cli.train import train_sections
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import METHODS

_NOTHING_GIVEN = Given((), (), (), ())
_OTHERS = {
    "sweep": "distributed_il.runtime.sweep.space:SweepConfig",
    "report": "distributed_il.report.run_page:ReportConfig",
    "submit": "distributed_il.runtime.jobs.job:SubmitConfig",
}
"""Dataclasses of the commands that are no `ConfigCommand`."""


def completion_script(shell: str) -> str:
    """Returns the script for a shell.

    Raises:
        UserError: There is none for it.
    """
    if shell not in shtab.SUPPORTED_SHELLS:
        known = ", ".join(shtab.SUPPORTED_SHELLS)
        raise UserError(f"--print_completion is for {known}, not '{shell}'; `distributed-il --print_completion bash`")
    root = argparse.ArgumentParser(prog="distributed-il")
    commands = root.add_subparsers()
    for name, command in COMMANDS.items():
        _add_settings(commands.add_parser(name, help=command.about), name)
    return shtab.complete(root, shell)


def _add_settings(parser: argparse.ArgumentParser, command: str) -> None:
    _completed(parser.add_argument("--config", help="YAML file of settings"), shtab.FILE)
    kinds = kinds_of(_sections(command))
    short = {key: name for (owner, name), key in SHORT.items() if owner == command}
    for key, kind in kinds.items():
        names = [f"--{key}", *([f"--{short[key]}"] if key in short else [])]
        choices = list(METHODS) if key == "method.name" else get_args(kind) if get_origin(kind) is Literal else None
        parser.add_argument(*names, choices=choices, help=key)
    for key in OPERANDS.get(command, ("paths",) if command == "report" else ()):
        _completed(parser.add_argument(key.rpartition(".")[2].upper(), nargs="?", help=key), shtab.FILE)


def _sections(command: str) -> Sections:
    """Returns the sections of a command to which nothing was given."""
    found: Any = COMMANDS[command].load()
    if isinstance(found, ConfigCommand):
        return {"": pkgutil.resolve_name(found.config)}
    if command == "train":
        return train_sections(_NOTHING_GIVEN)
    own = pkgutil.resolve_name(_OTHERS[command])
    return {"sweep": own, **train_sections(_NOTHING_GIVEN)} if command == "sweep" else {"": own}


def _completed(action: argparse.Action, by: Any) -> None:
    action.complete = by  # type: ignore[attr-defined]  # where shtab looks for it
