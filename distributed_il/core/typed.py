"""Whether values that a program gave are of the types that settings have."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

from distributed_il.core.errors import UserError

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


def check_type(name: str, value: object, hint: Any) -> None:
    """Checks a value against the type of a setting: numbers, text, booleans, null, words and lists of them.

    A type of any other kind, such as one of the user's own, is not checked.

    Args:
        name: Of the setting, for the message.
        value: What was given.
        hint: The setting's type.

    Raises:
        UserError: It is of another type.
    """
    if not _fits(value, hint):
        raise UserError(f"{name} is {value!r}; it must be {_words(hint)}")


def check_fields(kind: type[Any], values: Mapping[str, Any], prefix: str = "") -> None:
    """Checks names and types of values for the fields of a dataclass; `prefix` comes before names in messages.

    Raises:
        UserError: One is no field, or of another type.
    """
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{prefix}{name} is unknown; there are {', '.join(sorted(known))}")
        check_type(f"{prefix}{name}", value, hints[name])


def _fits(value: object, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if origin is list:
        return isinstance(value, list) and all(_fits(one, parts[0]) for one in typing.cast("list[object]", value))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint not in _WORDS or isinstance(value, hint)


def _words(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(part) for part in parts)
    if origin is Literal:
        return " or ".join(f"'{part}'" for part in parts)
    if origin is list:
        return f"a list, each of it {_words(parts[0])}"
    return _WORDS.get(hint, str(hint))
