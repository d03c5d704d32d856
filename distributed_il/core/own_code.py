"""Code of the user's: classes named as `module:Class` in the settings of a run."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any

from distributed_il.core.errors import UserError

CODE_PATH = "DISTRIBUTED_IL_CODE_PATH"
"""Variable that tells Ray's workers the folder in which such code is looked for; by default it is the current one."""
_found_in = set[str]()
"""Folders that this process has looked in."""


def find_object(setting: str, target: str, names: Iterable[str] = ()) -> Any:
    """Imports `target`, the `module:Class` that a setting names; messages name the setting and what else it takes.

    Raises:
        UserError: It has another form, or can't be imported.
    """
    module, separator, name = target.partition(":")
    if not separator:
        raise UserError(f"{setting} is '{target}'; it must be one of {', '.join(names)}, or module:Class")
    if module.partition(".")[0] != __name__.partition(".")[0]:
        find_own_code()
    try:
        return getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UserError(f"{setting} '{target}' can't be imported ({error}); is it on every worker's path?") from error
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise UserError(
            f"{setting} '{target}' can't be imported ({type(error).__name__}: {error}); `python -c 'import {module}'` "
            "shows where"
        ) from error


def find_own_code(directory: str = "") -> None:
    """Makes the modules in a folder importable, by default those where the command is given.

    They come last: a `numpy.py` among them is not taken for numpy.
    """
    path = os.path.abspath(directory or os.environ.get(CODE_PATH, ""))
    _found_in.add(path)
    if path not in sys.path:
        sys.path.append(path)


def code_path() -> str | None:
    """Returns the current folder if this process has looked for such code in it, or None."""
    here = os.getcwd()
    return here if here in _found_in else None
