"""Watches of people to whom a logging policy with taste shows what it believes they like."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.prepare.simulate.interest import Interest, calibrate
from distributed_il.data.prepare.simulate.policy import LoggingPolicy
from distributed_il.data.prepare.simulate.population import Population, spread_counts, user_chunks
from distributed_il.data.prepare.simulate.watch_log import LogSize, WatchLog

CHUNK_ROWS = 500_000
"""Watches drawn at a time; the log does not depend on it."""
_PAIRS = 50_000
"""Pairs that shares are estimated on, at least."""

_Exposures = tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.bool_]]
"""Sorted keys user · num_items + item, their days, and which of them have to stay."""


def draw_policy_pool(
    population: Population,
    durations: NDArray[np.int64],
    size: LogSize,
    pool_rows: int,
    seed: int,
    advance: Callable[[int], None] | None = None,
    *,
    strength: float,
    chunk_rows: int = CHUNK_ROWS,
) -> tuple[WatchLog, NDArray[np.bool_]]:
    """Draws more watches than wanted, and tells which of them have to stay.

    Args:
        population: Users and items.
        durations: int64 [num_items], ms.
        size: What is wanted in the end.
        pool_rows: How many to draw.
        seed: Decides everything.
        advance: Told how many watches were drawn since it was last told.
        strength: Of the policy, above 0.
        chunk_rows: How many to draw at a time.
    """
    policy = LoggingPolicy(population, seed, strength)
    first_keys, first_days = policy.first_shown()
    least = np.maximum(np.bincount(first_keys // size.items, minlength=size.users), 1)
    most = max(size.items // 2, int(least.max()), math.ceil(pool_rows / size.users))
    counts = spread_counts(policy.activity, pool_rows, least=least, most=most)
    exposures: list[_Exposures] = []
    for start, stop in user_chunks(counts, chunk_rows):
        given = slice(*np.searchsorted(first_keys, (start * size.items, stop * size.items)))
        keys, days = policy.show(start, counts[start:stop], (first_keys[given], first_days[given]))
        stays = np.zeros(len(keys), dtype=np.bool_)
        stays[np.searchsorted(keys, first_keys[given])] = True
        stays[np.cumsum(counts[start:stop]) - 1] = True  # one of each user's own
        exposures.append((keys, days.astype(np.int8), stays))
        if advance is not None:
            advance(len(keys))
    interest = calibrate(
        population.logits(*np.divmod(_sample(exposures, pool_rows), size.items)),
        positive_share=size.positive_share,
        unclear_share=size.unclear_share,
    )
    log = WatchLog.join([_watch(population, durations, interest, seed, part) for part in exposures])
    return log, np.concatenate([stays for _, _, stays in exposures])


def _sample(exposures: Sequence[_Exposures], rows: int) -> NDArray[np.int64]:
    """Keys of exposures at equal distances, whatever the chunks."""
    distance = max(rows // _PAIRS, 1)
    picked: list[NDArray[np.int64]] = []
    before = 0
    for keys, _, _ in exposures:
        picked.append(keys[-before % distance :: distance])
        before += len(keys)
    return np.concatenate(picked)


def _watch(
    population: Population, durations: NDArray[np.int64], interest: Interest, seed: int, exposures: _Exposures
) -> WatchLog:
    keys, days, always_clear = exposures
    users, items = np.divmod(keys, len(durations))
    logits = population.logits(users, items)
    watches = interest.watch(seed, users, items, logits, durations[items], always_clear)
    return WatchLog(
        users.astype(np.int32),
        items.astype(np.int32),
        watches.play_ms.astype(np.int32),
        durations[items].astype(np.int32),
        watches.labels,
        interest.preferences(logits).astype(np.float32),
        days.astype(np.int32),
    )
