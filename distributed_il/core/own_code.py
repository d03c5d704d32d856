"""Code of the user's: classes named as `module:Class` in the settings of a run."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from distributed_il.core.errors import UserError


def find_object(setting: str, target: str, names: Iterable[str] = ()) -> Any:
    """Imports `target`, the `module:Class` that a setting names; messages name the setting and what else it takes.

    Raises:
        UserError: It has another form, or can't be imported.
    """
    module, separator, name = target.partition(":")
    if not separator:
        raise UserError(f"{setting} is '{target}'; it must be one of {', '.join(names)}, or module:Class")
    try:
        return getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UserError(f"{setting} '{target}' can't be imported ({error}); is it on every worker's path?") from error
    except Exception as error:  # whatever the module does when it is imported
        raise UserError(
            f"{setting} '{target}' can't be imported ({type(error).__name__}: {error}); `python -c 'import {module}'` "
            "shows where"
        ) from error
