"""Simulates a log of watches with exact numbers of positive, negative and unclear ones.

More watches are drawn than wanted; then each class is thinned at random to its number. Which rows go does not depend
on who watches what, so thinning changes no distribution. The whole log is held in memory: about 70 bytes a watch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.counter_rng import SIMULATE
from distributed_il.data.prepare.simulate.population import (
    Population,
    draw_distinct_items,
    draw_population,
    sigmoid,
    spread_counts,
)
from distributed_il.data.prepare.simulate.watches import UNCLEAR, draw_durations, draw_watches, unclear_probabilities

CHUNK_ROWS = 1_000_000
"""Watches drawn at a time; part of what a seed means."""
_SURPLUS = 0.01
"""Watches drawn beyond the number wanted, so that no class falls short."""
_PAIRS = 50_000
"""Pairs that shares are estimated on: they come out right to a quarter of a percent; thinning does the rest."""
_ROUNDS, _HALVINGS, _BRACKET = 5, 40, 30.0

# What random numbers are for; a generator of its own for each keeps one draw from shifting another.
_POPULATION, _DURATIONS, _CALIBRATION, _FIRST_SHOWN, _EXPOSURE, _WATCHES, _THINNING = range(7)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSize:
    """What a log holds, exactly.

    Attributes:
        users: Users, each with at least one clear watch.
        items: Items, each with at least one clear watch.
        positives: Watches with label 1.
        negatives: Watches with label 0.
        unclear: Watches without a label.
    """

    users: int
    items: int
    positives: int
    negatives: int
    unclear: int

    @property
    def rows(self) -> int:
        """All watches."""
        return self.positives + self.negatives + self.unclear


@dataclass(frozen=True, slots=True)
class WatchLog:
    """Watches in order of user and item; every pair once.

    Attributes:
        users: int32[n], below the number of users.
        items: int32[n].
        play_ms: int32[n].
        duration_ms: int32[n].
        labels: int8[n], 1, 0 or `UNCLEAR`.
        preferences: float32[n], π, which P(label = 1) equals for a clear watch.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    play_ms: NDArray[np.int32]
    duration_ms: NDArray[np.int32]
    labels: NDArray[np.int8]
    preferences: NDArray[np.float32]

    def take(self, rows: NDArray[np.int64]) -> WatchLog:
        """Returns the rows of these numbers, in that order."""
        return WatchLog(*(getattr(self, column.name)[rows] for column in fields(self)))

    @classmethod
    def join(cls, parts: Sequence[WatchLog]) -> WatchLog:
        """Concatenates logs."""
        return cls(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(cls)))


def generator(seed: int, *stream: int) -> np.random.Generator:
    """Makes the random generator of a part of a simulation: `stream` tells which part, and which chunk of it."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, SIMULATE, *stream])))


def draw_log(size: LogSize, *, seed: int, advance: Callable[[int], None] | None = None) -> WatchLog:
    """Draws a log of exactly the size wanted.

    Args:
        size: What the log holds. Positives and negatives each number at least users + items (every user and item
            gets a clear watch of either label), and the rows at most a quarter of all pairs.
        seed: 0 or above; the same seed gives the same log.
        advance: Told how many watches were drawn since it was last told.

    Returns:
        The log, in order of user and item.

    Raises:
        ValueError: There are too few pairs for so many watches.
    """
    population = draw_population(generator(seed, _POPULATION), size.users, size.items)
    durations = draw_durations(generator(seed, _DURATIONS), size.items)
    quotas = {1: size.positives, 0: size.negatives, UNCLEAR: size.unclear}
    surplus = math.ceil(_SURPLUS * size.rows + 10 * math.sqrt(size.rows))
    while size.rows + surplus < size.users * size.items:
        log, stays = _draw_pool(population, durations, size, size.rows + surplus, seed, advance)
        if all(np.count_nonzero(log.labels == label) >= quota for label, quota in quotas.items()):
            return log.take(_thin(log.labels, stays, quotas, generator(seed, _THINNING)))
        surplus *= 2
    raise ValueError(f"{size} fills too many of all pairs")


def _draw_pool(
    population: Population,
    durations: NDArray[np.int64],
    size: LogSize,
    pool_rows: int,
    seed: int,
    advance: Callable[[int], None] | None,
) -> tuple[WatchLog, NDArray[np.bool_]]:
    """Draws more watches than wanted, and tells which of them have to stay."""
    # Every user and every item has one watch that is always clear; the others make up for it.
    may_be_unclear = size.rows - size.users - size.items
    levels = calibrate(
        generator(seed, _CALIBRATION),
        population,
        positive_share=size.positives / (size.positives + size.negatives),
        unclear_share=size.unclear / may_be_unclear,
    )
    first_shown = _first_shown(population, seed)
    least = np.maximum(np.bincount(first_shown // size.items, minlength=size.users), 1)
    most = max(size.items // 2, int(least.max()), math.ceil(pool_rows / size.users))
    counts = spread_counts(population.activity, pool_rows, least=least, most=most)
    cumulative = np.cumsum(population.popularity)
    parts: list[WatchLog] = []
    stays: list[NDArray[np.bool_]] = []
    for chunk, (start, stop) in enumerate(_user_chunks(counts)):
        before = start * size.items
        given = first_shown[slice(*np.searchsorted(first_shown, (before, stop * size.items)))]
        keys = before + draw_distinct_items(
            generator(seed, _EXPOSURE, chunk), counts[start:stop], cumulative, given=given - before
        )
        stay = np.zeros(len(keys), dtype=np.bool_)
        stay[np.searchsorted(keys, given)] = True
        stay[np.cumsum(counts[start:stop]) - 1] = True  # one of each user's own
        parts.append(_watch(generator(seed, _WATCHES, chunk), population, durations, levels, keys, stay))
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
    users = generator(seed, _FIRST_SHOWN).choice(num_users, num_items, p=population.activity)
    return np.sort(users.astype(np.int64) * num_items + np.arange(num_items))


def _user_chunks(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cuts the users into runs of about `CHUNK_ROWS` watches."""
    chunk_of_user = (np.cumsum(counts) - counts) // CHUNK_ROWS
    starts = np.flatnonzero(np.diff(chunk_of_user, prepend=-1))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(counts)], strict=True))


def _thin(
    labels: NDArray[np.int8], stays: NDArray[np.bool_], quotas: dict[int, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Keeps exactly the quota of each label: the rows that have to stay, and a random choice of the others."""
    kept = stays.copy()
    for label, quota in quotas.items():
        of_label = labels == label
        free = np.flatnonzero(of_label & ~stays)
        wanted = quota - int(np.count_nonzero(of_label & stays))
        kept[rng.choice(free, wanted, replace=False, shuffle=False)] = True
    return np.flatnonzero(kept)


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
            level = _solve(lambda x, p=preferences: float(unclear_probabilities(p, x).mean()) - unclear_share)
        clear = 1.0 - unclear_probabilities(preferences, level)
        clear /= clear.sum()
        offset = _solve(lambda x, weights=clear: float((weights * sigmoid(logits + x)).sum()) - positive_share)
    return Levels(offset, level)


def _solve(rising: Callable[[float], float]) -> float:
    """Finds the zero of a rising function."""
    low, high = -_BRACKET, _BRACKET
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low
