"""Simulates a log of watches with exact numbers of positive, negative and unclear ones.

More watches are drawn than wanted; then each class is thinned at random to its number. Which rows go does not depend
on who watches what, so thinning changes no distribution. The whole log is held in memory: about 70 bytes a watch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.prepare.simulate.policy_pool import draw_policy_pool
from distributed_il.data.prepare.simulate.population import draw_population
from distributed_il.data.prepare.simulate.randomness import Stream, generator
from distributed_il.data.prepare.simulate.uniform_pool import draw_uniform_pool
from distributed_il.data.prepare.simulate.watch_log import LogSize, WatchLog
from distributed_il.data.prepare.simulate.watches import UNCLEAR, draw_durations

_SURPLUS = 0.01
"""Watches drawn beyond the number wanted, so that no class falls short."""


def draw_log(
    size: LogSize, *, seed: int, strength: float = 0.0, advance: Callable[[int], None] | None = None
) -> WatchLog:
    """Draws a log of exactly the size wanted.

    Args:
        size: What the log holds. Positives and negatives each number at least users + items (every user and item
            gets a clear watch of either label), and the rows at most a quarter of all pairs.
        seed: 0 or above; the same seed gives the same log.
        strength: Of the logging policy, at least 0; with 0 items are shown by popularity alone.
        advance: Told how many watches were drawn since it was last told.

    Returns:
        The log, in order of user and item.

    Raises:
        ValueError: There are too few pairs for so many watches.
    """
    population = draw_population(generator(seed, Stream.POPULATION), size.users, size.items)
    durations = draw_durations(generator(seed, Stream.DURATIONS), size.items)
    quotas = {1: size.positives, 0: size.negatives, UNCLEAR: size.unclear}
    surplus = math.ceil(_SURPLUS * size.rows + 10 * math.sqrt(size.rows))
    while size.rows + surplus < size.users * size.items:
        pool = population, durations, size, size.rows + surplus, seed, advance
        log, stays = draw_policy_pool(*pool, strength=strength) if strength else draw_uniform_pool(*pool)
        if all(np.count_nonzero(log.labels == label) >= quota for label, quota in quotas.items()):
            return log.take(_thin(log.labels, stays, quotas, generator(seed, Stream.THINNING)))
        surplus *= 2
    raise ValueError(f"{size} fills too many of all pairs")


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
