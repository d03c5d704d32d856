"""Settings drawn from a search space, by counter: the same seed draws the same trials."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from distributed_il.core.config import TrainConfig, config_from_dict, config_to_dict
from distributed_il.core.counter_rng import SWEEP, hash_u64
from distributed_il.core.method_config import method_class
from distributed_il.runtime.sweep.space import METHOD, Settings, Space

MOST_MISSES = 1_000
"""After this many draws without new settings the space counts as exhausted."""


def draw(
    space: Space, base: TrainConfig, *, trials: int, possible: Callable[[TrainConfig], bool] = lambda _: True
) -> list[Settings]:
    """Draws distinct settings; a value depends on the seed, the number of the draw and the key alone.

    So more trials begin with the same ones, and another setting in the space leaves the values of the first as they
    are. What belongs to another method than the one drawn is left out, and so are settings whose conditions are not
    met.

    Args:
        space: What to draw from; its first settings come first.
        base: The run that they change; `run.seed` decides what is drawn.
        trials: How many.
        possible: Whether a run can be; one that can't is passed over.

    Returns:
        Settings by key, of each trial; fewer than `trials` where the space holds no more.
    """
    drawn = [] if space.first is None else [space.first]
    number = last_new = 0
    while len(drawn) < trials and number - last_new < MOST_MISSES:
        settings = _settings(space, base, number)
        number += 1
        if settings not in drawn and possible(with_settings(base, settings)):
            drawn.append(settings)
            last_new = number
    return drawn


def _settings(space: Space, base: TrainConfig, number: int) -> Settings:
    drawn: Settings = {}
    # The method first: it decides which settings there are.
    for domain in sorted(space.domains, key=lambda domain: domain.key != METHOD):
        known = _belongs(domain.key, drawn.get(METHOD, base.method.name))
        if known and domain.key not in drawn and domain.holds(drawn):
            drawn[domain.key] = domain.at(_share(base.run.seed, number, domain.key))
    return {key: drawn[key] for key in space.keys if key in drawn}


def with_settings(base: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Returns a run with other settings; another method comes with its own defaults where the settings are silent.

    Raises:
        UserError: A value is out of range.
    """
    values = config_to_dict(base)
    if settings.get(METHOD, base.method.name) != base.method.name:
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
