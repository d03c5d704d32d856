"""What a sweep tries: a range or a list of values for each setting, perhaps under conditions, read from a file."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import yaml

from distributed_il.core.config import SECTIONS, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import METHODS, MethodConfig, method_class

KINDS = ("choice", "uniform", "loguniform", "randint")
FREE_OF_RUN = ("run.batch_size", "run.seed")
"""Settings of `run` that a sweep may draw; the others say where and how long, which all trials share."""
METHOD = "method.name"
_FIRST, _WHEN = "first", "when"
Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Domain:
    """The values of one setting.

    Attributes:
        key: The setting, such as `optimizer.learning_rate`.
        kind: One of `KINDS`.
        values: All of a choice; first and last of a range.
        when: Values, by key, of other settings of the space, one of which each of these must have been given.
    """

    key: str
    kind: str
    values: tuple[Any, ...]
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])

    def at(self, share: float) -> Any:
        """Returns the value at a share, in [0, 1), of the way through the domain; floats of a range to four digits."""
        if self.kind == "choice":
            return self.values[int(share * len(self.values))]
        low, high = self.values
        if self.kind == "randint":
            return low + int(share * (high - low))
        if self.kind == "loguniform":
            return float(f"{math.exp(math.log(low) + share * (math.log(high) - math.log(low))):.4g}")
        return float(f"{low + share * (high - low):.4g}")

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Returns whether the conditions are met; one on a setting that was left out is not."""
        return all(key in settings and settings[key] in wanted for key, wanted in self.when.items())


@dataclass(frozen=True, slots=True)
class Space:
    """A search space.

    Attributes:
        domains: In the order of the file. Of several of one setting the first counts whose conditions are met.
        first: Settings of a trial that comes before all drawn ones, which are compared with it; None without one.
    """

    domains: tuple[Domain, ...]
    first: Settings | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings that are drawn, each once."""
        return tuple(dict.fromkeys(domain.key for domain in self.domains))

    def to_dict(self) -> dict[str, Any]:
        """Returns the space as its file has it, a list of domains where a setting has several or conditions."""
        listed: dict[str, Any] = {} if self.first is None else {_FIRST: self.first}
        for domain in self.domains:
            conditions = {key: list(wanted) for key, wanted in domain.when.items()}
            written = {**({_WHEN: conditions} if conditions else {}), domain.kind: list(domain.values)}
            listed[domain.key] = [*listed.get(domain.key, []), written]
        plain = {domain.key for domain in self.domains if not domain.when}
        return {key: value[0] if key in plain and len(value) == 1 else value for key, value in listed.items()}


def read_space(path: str, base: TrainConfig) -> Space:
    """Reads a search space from YAML: a mapping such as `optimizer.learning_rate: {loguniform: [1e-4, 1e-2]}`.

    A setting may have a list of domains with conditions, such as `{when: {method.name: idl}, uniform: [-0.5, 0.5]}`;
    they name choices that stand above. `first: {method.name: none}` are settings to try before any are drawn.

    Raises:
        UserError: It can't be read, a setting is unknown or not a sweep's to draw, or a domain is not of its form.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content: Any = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"sweep.space {path} can't be read: {' '.join(str(error).split())}") from error
    given = cast("dict[Any, Any]", content) if isinstance(content, dict) else {}
    first = given.pop(_FIRST, None)
    if not given:
        raise UserError(
            f"sweep.space {path} holds no settings; write them as `model.backbone: {{choice: [gmf, neumf]}}`"
        )
    methods = {**METHODS, base.method.name: type(base.method)} | _own_methods(path, given.get(METHOD))
    domains: list[Domain] = []
    for key, value in given.items():
        for one in cast("list[Any]", value) if isinstance(value, list) and value else [value]:
            domains.append(_domain(path, str(key), one, methods, domains))
    return Space(tuple(domains), None if first is None else _first(path, first, methods))


def _own_methods(path: str, domain: Any) -> dict[str, type[MethodConfig]]:
    """The methods of the user's among the choices of `method.name`."""
    try:
        return {name: method_class(name) for name in domain["choice"] if ":" in name}
    except (KeyError, TypeError):
        return {}  # no such choice, or one that is refused by its form
    except UserError as error:
        raise UserError(f"sweep.space {path}: {error}") from error


def _first(path: str, given: Any, methods: Mapping[str, type[MethodConfig]]) -> Settings:
    place = f"sweep.space {path}: {_FIRST}"
    if not isinstance(given, Mapping):
        raise UserError(f"{place} needs settings with a value each, such as `{{{METHOD}: none}}`")
    values = cast("Mapping[str, Any]", given)
    return {
        key: _typed(f"{place}.{key}", value, _type_of(f"{place}.{key}", key, methods)) for key, value in values.items()
    }


def _domain(
    path: str, key: str, value: Any, methods: Mapping[str, type[MethodConfig]], above: Sequence[Domain]
) -> Domain:
    place = f"sweep.space {path}: {key}"
    kind = _type_of(place, key, methods)
    parts = dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else {}
    when = _conditions(place, parts.pop(_WHEN), above) if _WHEN in parts else {}
    if len(parts) != 1:
        raise UserError(f"{place} needs one of {', '.join(KINDS)}, such as `{{choice: [1, 2]}}`")
    ((name, given),) = parts.items()
    if name not in KINDS:
        raise UserError(f"{place}: there is no domain '{name}'; there are {', '.join(KINDS)}")
    if not isinstance(given, list) or not given or (name != "choice" and len(cast("list[Any]", given)) != 2):
        wanted = "a list of values" if name == "choice" else "[low, high]"
        raise UserError(f"{place}: {name} needs {wanted}, not {given!r}")
    bounds = float if name in ("uniform", "loguniform") else int if name == "randint" else kind
    values = tuple(_typed(place, one, bounds) for one in cast("list[Any]", given))
    if name != "choice" and not (values[0] < values[1] and (values[0] > 0 or name != "loguniform")):
        raise UserError(f"{place}: {name} goes from {values[0]} to {values[1]}; it must rise, loguniform from above 0")
    if name != "choice":
        _typed(place, Domain(key, name, values).at(0.0), kind)
    return Domain(key, name, values, when)


def _conditions(place: str, given: Any, above: Sequence[Domain]) -> dict[str, tuple[Any, ...]]:
    if place.endswith(f" {METHOD}"):
        raise UserError(f"{place} is drawn before all others, so {_WHEN} has no meaning here")
    if not isinstance(given, Mapping) or not given:
        raise UserError(f"{place}: {_WHEN} needs settings with a value or a list of them, such as `{{{METHOD}: idl}}`")
    conditions: dict[str, tuple[Any, ...]] = {}
    for key, value in cast("Mapping[str, Any]", given).items():
        choices = [one for domain in above if (domain.key, domain.kind) == (key, "choice") for one in domain.values]
        wanted = tuple(cast("list[Any]", value)) if isinstance(value, list) else (value,)
        if not choices:
            raise UserError(f"{place}: {_WHEN} names {key}, which is no choice that stands above it in the file")
        unknown = [one for one in wanted if one not in choices]
        if unknown:
            raise UserError(f"{place}: {_WHEN} {key} is {unknown[0]!r}, which is none of {choices}")
        conditions[key] = wanted
    return conditions


def _type_of(place: str, key: str, methods: Mapping[str, type[MethodConfig]]) -> Any:
    """Returns the type of a setting that a sweep may draw."""
    section, _, field = key.partition(".")
    owners = methods.values() if section == "method" else [SECTIONS[section]] if section in SECTIONS else []
    kinds = [get_type_hints(owner)[field] for owner in owners if field in get_type_hints(owner)]
    if not kinds:
        raise UserError(f"{place}: there is no such setting; `distributed-il train --help` shows them all")
    if section == "data" or (section == "run" and key not in FREE_OF_RUN):
        raise UserError(f"{place}: all trials share this setting; give it to the sweep itself, as --{key}")
    return Literal[tuple(methods)] if key == METHOD else kinds[0]


def _typed(place: str, value: Any, kind: Any) -> Any:
    """Returns the value converted to its type; YAML reads 1e-4 as text."""
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if get_origin(kind) in (Union, types.UnionType):
        words = [one for part in get_args(kind) if get_origin(part) is Literal for one in get_args(part)]
        kinds = [part for part in get_args(kind) if get_origin(part) is not Literal]
        return value if value in words or type(value) in kinds else _typed(place, value, kinds[0])
    if kind is float and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    if kind in (int, bool, str) and type(value) is kind:
        return value
    known = ", ".join(map(str, get_args(kind))) if get_origin(kind) is Literal else getattr(kind, "__name__", str(kind))
    raise UserError(f"{place}: {value!r} does not fit; the setting takes {known}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """What a sweep tries; the sections beside it are the run that all trials share."""

    space: str
    """YAML file of the search space: for each setting `choice: […]`, or `uniform`, `loguniform` or `randint` with
    `[low, high]`, such as `optimizer.learning_rate: {loguniform: [1e-4, 1e-2]}`; a list of them, each with `when`, is
    for ranges that depend on another choice. `jobs/choose_space.yaml` is one to take as it is."""
    trials: int = 20
    """How many settings are tried."""
    grace_rounds: int = 2
    """Rounds that every trial may run before it is compared with the others."""
    reduction_factor: int = 3
    """Of the trials that reach a comparison, one in this many continues; the next comparison is after this many times
    the rounds."""

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("grace_rounds", 1), ("reduction_factor", 2)):
            if getattr(self, name) < least:
                raise UserError(f"sweep.{name} is {getattr(self, name)}; it must be at least {least}")
