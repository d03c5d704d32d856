"""What a sweep tries: a range or a list of values for each setting, and the settings drawn from them."""

from __future__ import annotations

import dataclasses
import math
import types
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import yaml

from distributed_il.core.config import SECTIONS, TrainConfig, config_from_dict, config_to_dict
from distributed_il.core.counter_rng import SWEEP, hash_u64
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import METHODS, MethodConfig, method_class

KINDS = ("choice", "uniform", "loguniform", "randint")
FREE_OF_RUN = ("run.batch_size", "run.seed")
"""Settings of `run` that a sweep may draw; the others say where and how long, which all trials share."""
MOST_MISSES = 1_000
"""After this many draws without new settings the space counts as exhausted."""
_METHOD = "method.name"
Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Domain:
    """The values of one setting.

    Attributes:
        key: The setting, such as `optimizer.learning_rate`.
        kind: One of `KINDS`.
        values: All of a choice; first and last of a range.
    """

    key: str
    kind: str
    values: tuple[Any, ...]

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


def read_space(path: str, base: TrainConfig) -> tuple[Domain, ...]:
    """Reads a search space from YAML: a mapping such as `optimizer.learning_rate: {loguniform: [1e-4, 1e-2]}`.

    Raises:
        UserError: It can't be read, a setting is unknown or not a sweep's to draw, or a domain is not of its form.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content: Any = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"sweep.space {path} can't be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping) or not content:
        raise UserError(
            f"sweep.space {path} holds no settings; write them as `model.backbone: {{choice: [gmf, neumf]}}`"
        )
    domains = cast("Mapping[Any, Any]", content)
    methods = {**METHODS, base.method.name: type(base.method)} | _own_methods(path, domains.get(_METHOD))
    return tuple(_domain(path, str(key), value, methods) for key, value in domains.items())


def _own_methods(path: str, domain: Any) -> dict[str, type[MethodConfig]]:
    """The methods of the user's among the choices of `method.name`."""
    try:
        return {name: method_class(name) for name in domain["choice"] if ":" in name}
    except (KeyError, TypeError):
        return {}  # no such choice, or one that is refused by its form
    except UserError as error:
        raise UserError(f"sweep.space {path}: {error}") from error


def draw(space: Sequence[Domain], base: TrainConfig, *, trials: int) -> list[Settings]:
    """Draws distinct settings; a value depends on the seed, the number of the draw and the key alone.

    So more trials begin with the same ones, and another setting in the space leaves the values of the first as they
    are. What belongs to another method than the one drawn is left out.

    Args:
        space: Domains.
        base: The run that they change; `run.seed` decides what is drawn.
        trials: How many.

    Returns:
        Settings by key, of each trial; fewer than `trials` where the space holds no more.
    """
    drawn: list[Settings] = []
    number = last_new = 0
    while len(drawn) < trials and number - last_new < MOST_MISSES:
        settings = {domain.key: domain.at(_share(base.run.seed, number, domain.key)) for domain in space}
        name = settings.get(_METHOD, base.method.name)
        settings = {key: value for key, value in settings.items() if _belongs(key, name)}
        number += 1
        if settings not in drawn:
            drawn.append(settings)
            last_new = number
    return drawn


def with_settings(base: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Returns a run with other settings; another method comes with its own defaults where the settings are silent.

    Raises:
        UserError: A value is out of range.
    """
    values = config_to_dict(base)
    if settings.get(_METHOD, base.method.name) != base.method.name:
        values["method"] = {}
    for key, value in settings.items():
        section, _, field = key.partition(".")
        values[section][field] = value
    return config_from_dict(values)


def _share(seed: int, number: int, key: str) -> float:
    return (int(hash_u64(seed, SWEEP, number, zlib.crc32(key.encode()))) >> 11) * 2.0**-53


def _belongs(key: str, method: str) -> bool:
    section, _, field = key.partition(".")
    return section != "method" or field in {known.name for known in dataclasses.fields(method_class(method))}


def _domain(path: str, key: str, value: Any, methods: Mapping[str, type[MethodConfig]]) -> Domain:
    place = f"sweep.space {path}: {key}"
    kind = _type_of(place, key, methods)
    if not isinstance(value, Mapping) or len(cast("Mapping[Any, Any]", value)) != 1:
        raise UserError(f"{place} needs one of {', '.join(KINDS)}, such as `{{choice: [1, 2]}}`")
    ((name, given),) = cast("Mapping[str, Any]", value).items()
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
    return Domain(key, name, values)


def _type_of(place: str, key: str, methods: Mapping[str, type[MethodConfig]]) -> Any:
    """Returns the type of a setting that a sweep may draw."""
    section, _, field = key.partition(".")
    owners = methods.values() if section == "method" else [SECTIONS[section]] if section in SECTIONS else []
    kinds = [get_type_hints(owner)[field] for owner in owners if field in get_type_hints(owner)]
    if not kinds:
        raise UserError(f"{place}: there is no such setting; `distributed-il train --help` shows them all")
    if section == "data" or (section == "run" and key not in FREE_OF_RUN):
        raise UserError(f"{place}: all trials share this setting; give it to the sweep itself, as --{key}")
    return Literal[tuple(methods)] if key == _METHOD else kinds[0]


def _typed(place: str, value: Any, kind: Any) -> Any:
    """Returns the value converted to its type; YAML reads 1e-4 as text."""
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [type(None) if one is None else one for one in get_args(kind)]
        return value if isinstance(value, tuple(kinds)) else _typed(place, value, kinds[0])
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
    `[low, high]`, such as `optimizer.learning_rate: {loguniform: [1e-4, 1e-2]}`."""
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
