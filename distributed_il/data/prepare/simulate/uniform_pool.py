"""Watches of people who are shown items by popularity alone, whatever they like."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.prepare.simulate.bisection import solve
from distributed_il.data.prepare.simulate.population import (
    Population,
    draw_distinct_items,
    sigmoid,
    spread_counts,
    user_chunks,
)
from distributed_il.data.prepare.simulate.randomness import Stream, generator
from distributed_il.data.prepare.simulate.watch_log import LogSize, WatchLog
from distributed_il.data.prepare.simulate.watches import draw_watches, unclear_probabilities

CHUNK_ROWS = 1_000_000
"""Watches drawn at a time; part of what a seed means."""
_PAIRS = 50_000
"""Pairs that shares are estimated on: they come out right to a quarter of a percent; thinning does the rest."""
_ROUNDS, _BRACKET = 5, 30.0


def draw_uniform_pool(
    population: Population,
    durations: NDArray[np.int64],
    size: LogSize,
    pool_rows: int,
    seed: int,
    advance: Callable[[int], None] | None,
) -> tuple[WatchLog, NDArray[np.bool_]]:
    """Draws more watches than wanted, and tells which of them have to stay.

    Args:
        population: Users and items.
        durations: int64 [num_items], ms.
        size: What is wanted in the end.
        pool_rows: How many to draw.
        seed: Decides everything.
        advance: Told how many watches were drawn since it was last told.
    """
    levels = calibrate(
        generator(seed, Stream.CALIBRATION),
        population,
        positive_share=size.positive_share,
        unclear_share=size.unclear_share,
    )
    first_shown = _first_shown(population, seed)
    least = np.maximum(np.bincount(first_shown // size.items, minlength=size.users), 1)
    most = max(size.items // 2, int(least.max()), math.ceil(pool_rows / size.users))
    counts = spread_counts(population.activity, pool_rows, least=least, most=most)
    cumulative = np.cumsum(population.popularity)
    parts: list[WatchLog] = []
    stays: list[NDArray[np.bool_]] = []
    for chunk, (start, stop) in enumerate(user_chunks(counts, CHUNK_ROWS)):
        before = start * size.items
        given = first_shown[slice(*np.searchsorted(first_shown, (before, stop * size.items)))]
        keys = before + draw_distinct_items(
            generator(seed, Stream.EXPOSURE, chunk), counts[start:stop], cumulative, given=given - before
        )
        stay = np.zeros(len(keys), dtype=np.bool_)
        stay[np.searchsorted(keys, given)] = True
        stay[np.cumsum(counts[start:stop]) - 1] = True  # one of each user's own
        parts.append(_watch(generator(seed, Stream.WATCHES, chunk), population, durations, levels, keys, stay))
        stays.append(stay)
        if advance is not None:
            advance(len(keys))
    return WatchLog.join(parts), np.concatenate(stays)


def _watch(
    rng: np.random.Generator,
    population: Population,
    durations: NDArray[np.int64],
    levels: Levels,
    keys: NDArray[np.int64],
    always_clear: NDArray[np.bool_],
) -> WatchLog:
    users, items = np.divmod(keys, len(durations))
    preferences = sigmoid(population.logits(users, items) + levels.offset)
    watches = draw_watches(
        rng, preferences, durations[items], unclear_level=levels.unclear_level, always_clear=always_clear
    )
    return WatchLog(
        users.astype(np.int32),
        items.astype(np.int32),
        watches.play_ms.astype(np.int32),
        durations[items].astype(np.int32),
        watches.labels,
        preferences.astype(np.float32),
    )


def _first_shown(population: Population, seed: int) -> NDArray[np.int64]:
    """Shows each item to one user at least: sorted keys user · I + item, users drawn by their activity."""
    num_users, num_items = len(population.activity), len(population.popularity)
    users = generator(seed, Stream.FIRST_SHOWN).choice(num_users, num_items, p=population.activity)
    return np.sort(users.astype(np.int64) * num_items + np.arange(num_items))


@dataclass(frozen=True, slots=True)
class Levels:
    """What a simulation adds to every pair.

    Attributes:
        offset: Log-odds of liking, added to all logits.
        unclear_level: Log-odds of an unclear watch, see `unclear_probabilities`; −inf where nothing is to be unclear.
    """

    offset: float
    unclear_level: float


def calibrate(
    rng: np.random.Generator, population: Population, *, positive_share: float, unclear_share: float
) -> Levels:
    """Solves for the levels on a sample of pairs, by bisection in turn: each depends on the other only weakly.

    Users and items of the sample meet by activity and popularity. `positive_share` is that of positives among the clear
    watches, above 0 and below 1, `unclear_share` that of unclear watches among all, from 0 to below 1.
    """
    users = rng.choice(len(population.activity), _PAIRS, p=population.activity)
    items = rng.choice(len(population.popularity), _PAIRS, p=population.popularity)
    logits = population.logits(users, items)
    offset, level = 0.0, -math.inf
    for _ in range(_ROUNDS):
        preferences = sigmoid(logits + offset)
        if unclear_share > 0:
            level = solve(
                lambda x, p=preferences: float(unclear_probabilities(p, x).mean()) - unclear_share, -_BRACKET, _BRACKET
            )
        clear = 1.0 - unclear_probabilities(preferences, level)
        clear /= clear.sum()
        offset = solve(
            lambda x, weights=clear: float((weights * sigmoid(logits + x)).sum()) - positive_share, -_BRACKET, _BRACKET
        )
    return Levels(offset, level)
