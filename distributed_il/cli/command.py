"""A command whose settings are the fields of one dataclass."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distributed_il.cli.options import read_options


@dataclass(frozen=True, slots=True)
class ConfigCommand:
    """Reads a dataclass from the arguments and calls a function with it."""

    name: str
    about: str  # what it does, for `--help`
    config: str  # the dataclass as `module:Class`, imported only when the command is called
    execute: Callable[[Any], None]  # does the work and prints what came of it

    def read(self, argv: Sequence[str]) -> Any:
        """Returns the dataclass that the arguments describe.

        Raises:
            UserError: A setting is unknown, missing or wrong.
        """
        config = pkgutil.resolve_name(self.config)
        return config(**read_options(self.name, self.about, argv, lambda _: {"": config}))

    def run(self, argv: Sequence[str]) -> None:
        """Runs the command.

        Raises:
            UserError: A setting is unknown, missing or wrong, or the work met something that the user can cure.
        """
        self.execute(self.read(argv))
