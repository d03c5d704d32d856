"""A run's configuration as plain values and as YAML, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast, get_args

import yaml

from distributed_il.core.config import (
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
    UnlabelledConfig,
)
from distributed_il.core.errors import UserError

METHODS: dict[str, type[Any]] = {
    str(next(field.default for field in dataclasses.fields(cls) if field.name == "name")): cls
    for cls in get_args(MethodConfig)
}
SECTIONS: dict[str, type[Any]] = {
    "data": DataConfig,
    "run": RunConfig,
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "unlabelled": UnlabelledConfig,
}


def config_to_dict(config: TrainConfig) -> dict[str, Any]:
    """The configuration as nested dictionaries of plain values."""
    return dataclasses.asdict(config)


def config_to_yaml(config: TrainConfig) -> str:
    """The configuration as YAML that `--config` reads again."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots: {"run": {"seed": 0}} becomes {"run.seed": 0}."""
    joined: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            joined |= flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            joined[f"{prefix}{key}"] = value
    return joined


def config_from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Builds and validates a configuration.

    Args:
        values: What `config_to_dict` returns; sections and fields with a default may be missing.

    Raises:
        UserError: A key is unknown, or a value is out of range.
    """
    unknown = set(values) - {*SECTIONS, "method"}
    if unknown:
        raise UserError(f"unknown section {', '.join(sorted(unknown))}; there are {', '.join([*SECTIONS, 'method'])}")
    sections = {name: _build(cls, name, values[name]) for name, cls in SECTIONS.items() if name in values}
    if "method" in values:
        sections["method"] = _build(method_class(values["method"].get("name", "ig")), "method", values["method"])
    return TrainConfig(**sections)


def method_class(name: str) -> type[Any]:
    """The configuration class of a method.

    Raises:
        UserError: There is no such method.
    """
    if name not in METHODS:
        raise UserError(f"method.name is '{name}'; it must be one of {', '.join(METHODS)}")
    return METHODS[name]


def _build(cls: type[Any], section: str, values: Mapping[str, Any]) -> Any:
    known = {field.name for field in dataclasses.fields(cls)}
    for key in values:
        if key not in known:
            raise UserError(f"{section}.{key} is unknown; {section} has {', '.join(sorted(known))}")
    return cls(**values)
