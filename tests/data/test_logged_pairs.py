"""Draws of logged pairs: by hand, uniform over pairs, and the same whatever batch a row is in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from distributed_il.core.counter_rng import LOGGED, hash_u64, uniform_below
from distributed_il.core.errors import UserError
from distributed_il.data.logged_pairs import LoggedPairSampler
from distributed_il.data.sampling import PairIndex

# User 0 has nothing, user 1 items 4 and 7, user 2 nothing, user 3 item 0, user 4 items 1, 2 and 3.
USERS, ITEMS = np.array([1, 1, 3, 4, 4, 4]), np.array([4, 7, 0, 1, 2, 3])
LOG = PairIndex.from_pairs(USERS, ITEMS, 6)


def test_the_rth_pair_by_hand() -> None:
    rows = np.arange(50, dtype=np.int64)
    pairs = LoggedPairSampler(LOG, seed=3, rate=2).draw(np.zeros(50, dtype=np.int64), rows, round=1)
    for row in rows:
        for draw in range(2):
            place = int(uniform_below(hash_u64(3, LOGGED, 1, int(row), draw), 6))
            at = 2 * row + draw
            assert (pairs.user_ids[at], pairs.item_ids[at]) == (USERS[place], ITEMS[place])
    assert pairs.valid.all()
    assert not pairs.fallback.any()


def test_every_pair_is_as_likely_as_any_other() -> None:
    pairs = LoggedPairSampler(LOG, seed=0, rate=3).draw(np.zeros(20_000, np.int64), np.arange(20_000), round=0)
    counts = np.unique(pairs.user_ids * 10 + pairs.item_ids, return_counts=True)[1]
    assert counts.size == 6
    assert chisquare(counts).pvalue > 1e-3


def test_a_draw_depends_on_the_row_alone() -> None:
    sampler, users = LoggedPairSampler(LOG, seed=5, rate=2), np.zeros(9, dtype=np.int64)
    together = sampler.draw(users, np.arange(9), round=4)
    apart = sampler.draw(users[:1], np.array([7]), round=4)
    assert apart.item_ids.tolist() == together.item_ids[14:16].tolist()
    other = sampler.draw(users, np.arange(9), round=5)
    assert other.item_ids.tolist() != together.item_ids.tolist()


def test_a_log_without_unclear_pairs_is_refused() -> None:
    nobody = PairIndex.from_pairs(np.empty(0, np.int64), np.empty(0, np.int64), 3)
    for logged in (nobody, None):
        with pytest.raises(UserError, match="has none"):
            LoggedPairSampler(logged, seed=0, rate=1)
