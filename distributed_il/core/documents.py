"""JSON documents held against declared types: what is missing, mistyped or out of range is told by its key.

A document is declared as a dataclass, which it becomes, or as a TypedDict, whose further keys are left as they are:

    class Place(TypedDict):
        round: Count
        loss: NotRequired[float | None]

    place = read_document(text, Place, "RUN/place.json", "restore it")
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
from collections.abc import Mapping
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from distributed_il.core.errors import UserError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Within:
    """The range of a number; without one, a whole number has at most 64 bits and any other number is finite."""

    least: float = -(2**63)
    most: float = 2**64 - 1
    finite: bool = True


Count = Annotated[int, Within(0, 2**63 - 1)]
"""0, 1, 2, …"""
Size = Annotated[int, Within(1, 2**63 - 1)]
"""1, 2, 3, …"""
Measured = Annotated[float, Within(-math.inf, math.inf, finite=False)]
"""A number that was measured: it may be NaN or infinite."""
_HASH = "sha256"
_ANY_FLOAT = Within(-math.inf, math.inf)
_NAMES: dict[Any, str] = {str: "text", bool: "true or false", type(None): "null"}


class _MisfitError(Exception):
    """Says at which key a value is not what it should be."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key, self.problem = key, problem


def read_document(content: bytes | str, kind: type[T], place: str, cure: str) -> T:
    """Reads a JSON document.

    Args:
        content: What the file holds.
        kind: What it declares.
        place: The file, for messages.
        cure: What to do about damage, for messages.

    Raises:
        UserError: It is no JSON, or a key is missing, mistyped or out of range.
    """
    return fitted(parse(content, place, cure), kind, place, cure)


def parse(content: bytes | str, place: str, cure: str) -> Any:
    """Parses JSON; raises `UserError` where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON ({error}); {cure}") from error


def signed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a document with `sha256`, the hash of all others, by which `read_signed` knows damage."""
    return {**values, _HASH: _hash_of(values)}


def read_signed(content: bytes | str, place: str, cure: str) -> dict[str, Any]:
    """Returns the values that `signed` was given; a document of before has no hash and is taken as it is.

    Raises:
        UserError: It is no JSON object, or not what was written.
    """
    values: dict[str, Any] = fitted(parse(content, place, cure), dict[str, Any], place, cure)
    recorded = values.pop(_HASH, None)
    if recorded not in (None, _hash_of(values)):
        raise UserError(f"{place} is not what was written: its hash does not fit its content; {cure}")
    return values


def _hash_of(values: Mapping[str, Any]) -> str:
    # As it will be read: a tuple is a list then, and a number by which something is known a text.
    content = json.loads(json.dumps({name: value for name, value in values.items() if name != _HASH}))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fitted(value: Any, kind: type[T], place: str, cure: str) -> T:
    """Holds a parsed document against what it declares; arguments and errors are those of `read_document`."""
    try:
        return _fit(value, kind, "")
    except _MisfitError as error:
        key = error.key.lstrip(".")
        raise UserError(f"{place}: {key or 'the document'} {error.problem}; {cure}") from error


def _fit(value: Any, kind: Any, key: str, within: Within | None = None) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _fit(value, arguments[0], key, next((one for one in arguments[1:] if isinstance(one, Within)), within))
    if origin in (Union, types.UnionType):
        return _fit_union(value, kind, key, within)
    if kind in (int, float):
        return _fit_number(value, kind, key, within)
    if origin is Literal:
        return _require(value, any(type(value) is type(one) and value == one for one in arguments), kind, key)
    if kind in (str, bool, type(None)):
        return _require(value, isinstance(value, kind), kind, key)
    if origin in (tuple, list):
        return _fit_listed(value, kind, key, within)
    if origin is dict:
        items: Mapping[Any, Any] = _require(value, isinstance(value, dict), kind, key)
        return {
            _fit(k, arguments[0], f"{key}.{k}"): _fit(v, arguments[1], f"{key}.{k}", within) for k, v in items.items()
        }
    if is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return _fit_fields(value, kind, key)
    return value  # Any, and what a user's own class declares


def _fit_union(value: Any, kind: Any, key: str, within: Within | None) -> Any:
    problems: list[_MisfitError] = []
    for one in get_args(kind):
        try:
            return _fit(value, one, key, within)
        except _MisfitError as error:
            problems.append(error)
    # Where one of them got further into the value than the others, that is the one that was meant.
    deepest = max(problems, key=lambda error: len(error.key))
    if deepest.key != key:
        raise deepest
    raise _MisfitError(key, f"is {_short(value)}; it must be {_name(kind)}")


def _fit_number(value: Any, kind: Any, key: str, within: Within | None) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    _require(value, whole or (kind is float and isinstance(value, float)), kind, key)
    within = within or (Within() if kind is int else _ANY_FLOAT)
    if within.finite and not math.isfinite(_as_float(value)):
        raise _MisfitError(key, f"is {_short(value)}; it must be finite")
    if not math.isnan(_as_float(value)) and not within.least <= value <= within.most:
        raise _MisfitError(key, f"is {_short(value)}; it must be from {within.least} to {within.most}")
    return value


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _fit_listed(value: Any, kind: Any, key: str, within: Within | None) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    _require(value, isinstance(value, list | tuple), kind, key)
    if origin is list or arguments[-1] is Ellipsis:
        kinds: Any = [arguments[0]] * len(value)
    else:
        kinds = arguments
        if len(value) != len(kinds):
            raise _MisfitError(key, f"has {len(value)} values; it must have {len(kinds)}")
    return origin(
        _fit(one, of, f"{key}[{number}]", within) for number, (one, of) in enumerate(zip(value, kinds, strict=True))
    )


def _fit_fields(value: Any, kind: Any, key: str) -> Any:
    given: dict[str, Any] = dict(_require(value, isinstance(value, Mapping), kind, key))
    declared = _fields(kind)
    for name, (of, needed) in declared.items():
        if name in given:
            given[name] = _fit(given[name], of, f"{key}.{name}")
        elif needed:
            raise _MisfitError(f"{key}.{name}", "is missing")
    if is_typeddict(kind):
        return given
    if unknown := given.keys() - declared.keys():
        raise _MisfitError(f"{key}.{min(unknown)}", "is unknown here")
    try:
        return kind(**given)
    except UserError as error:
        raise _MisfitError(key, f"can't be: {error}") from error


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Returns the type of each field, and whether it has to be there."""
    hints = get_type_hints(kind, include_extras=True)
    if is_typeddict(kind):
        optional = {name for name, of in hints.items() if get_origin(of) is NotRequired}
        return {name: (_bare(of), name not in optional) for name, of in hints.items()}
    missing = dataclasses.MISSING
    return {
        one.name: (hints[one.name], one.default is missing and one.default_factory is missing)
        for one in dataclasses.fields(kind)
    }


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) in (NotRequired, Required) else hint


def _require(value: Any, holds: bool, kind: Any, key: str) -> Any:
    if not holds:
        raise _MisfitError(key, f"is {_short(value)}; it must be {_name(kind)}")
    return value


def _name(kind: Any) -> str:
    """What people call a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _name(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(map(_name, arguments))
    if origin is Literal:
        return " or ".join(json.dumps(one) for one in arguments)
    if origin in (tuple, list):
        return "a list"
    if kind in (int, float):
        return "a whole number" if kind is int else "a number"
    return _NAMES.get(kind, "an object")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
