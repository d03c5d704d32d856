"""Unlabelled pairs: the right item for every number drawn, uniform, and a function of the row alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from distributed_il.core.counter_rng import MIX, UNLABELLED, hash_u64
from distributed_il.core.errors import UserError
from distributed_il.data.sampling import PairIndex, UnlabelledPairs, UnlabelledSampler, nth_missing_item

NUM_ITEMS = 6
# User 0 observed nothing, 1 everything, 2 both ends, 3 all but one, 4 a run in the middle.
OBSERVED = [[], [0, 1, 2, 3, 4, 5], [0, 5], [0, 1, 2, 4, 5], [2, 3]]
# Users 0 and 1 have logged pairs, the others none.
LOGGED = [[1, 4], [3], [], [], []]


def index_of(lists: list[list[int]]) -> PairIndex:
    users = np.array([user for user, items in enumerate(lists) for _ in items], dtype=np.int64)
    items = np.array([item for items in lists for item in items], dtype=np.int64)
    return PairIndex.from_pairs(users, items, len(lists))


def sampler(source: str = "sampled", rate: int = 1, seed: int = 7) -> UnlabelledSampler:
    logged = index_of(LOGGED)
    return UnlabelledSampler(index_of(OBSERVED), NUM_ITEMS, seed=seed, source=source, logged=logged, rate=rate)  # type: ignore[arg-type]


def missing(observed: list[int], num_items: int = NUM_ITEMS) -> list[int]:
    return [item for item in range(num_items) if item not in observed]


def counts(pairs: UnlabelledPairs, user: int) -> NDArray[np.int64]:
    return np.bincount(pairs.item_ids[pairs.valid & (pairs.user_ids == user)], minlength=NUM_ITEMS)


def draws_of(user: int, source: str, number: int) -> UnlabelledPairs:
    return sampler(source).draw(np.full(number, user), np.arange(number), round=0)


# The index


def test_index_sorts_and_drops_repetitions() -> None:
    index = PairIndex.from_pairs(np.array([2, 0, 2, 2, 0]), np.array([5, 1, 3, 5, 0]), num_users=4)
    assert index.indptr.tolist() == [0, 2, 2, 4, 4]
    assert index.items.tolist() == [0, 1, 3, 5]
    assert index.items.dtype == np.int32
    assert index.degrees(np.array([0, 1, 2, 3])).tolist() == [2, 0, 2, 0]


def test_the_union_of_two_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    for users_at_a_time in (2, 65_536):
        monkeypatch.setattr("distributed_il.data.sampling._UNITED_USERS", users_at_a_time)
        united = index_of(OBSERVED).union(index_of(LOGGED))
        assert united.indptr.tolist() == [0, 2, 8, 10, 15, 17]
        assert united.items.tolist() == [1, 4, *range(6), 0, 5, 0, 1, 2, 4, 5, 2, 3]
    with pytest.raises(ValueError, match="5 and 1 users"):
        united.union(index_of([[]]))


def test_index_may_be_empty() -> None:
    index = PairIndex.from_pairs(np.array([], dtype=np.int64), np.array([], dtype=np.int64), num_users=2)
    assert index.indptr.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("indptr", "items"),
    [
        (np.array([0, 1], dtype=np.int32), np.array([0], dtype=np.int32)),
        (np.array([0, 1]), np.array([0])),
        (np.array([0, 2]), np.array([0], dtype=np.int32)),
        (np.array([1, 1]), np.array([0], dtype=np.int32)),
        (np.array([], dtype=np.int64), np.array([], dtype=np.int32)),
    ],
)
def test_index_refuses_arrays_that_do_not_fit(indptr: NDArray[np.int64], items: NDArray[np.int32]) -> None:
    with pytest.raises(ValueError, match=r"indptr|items"):
        PairIndex(indptr, items)


@pytest.mark.parametrize(("user", "item"), [(-1, 0), (0, -1), (2, 0)])
def test_index_refuses_ids_out_of_range(user: int, item: int) -> None:
    with pytest.raises(ValueError, match="ids must be"):
        PairIndex.from_pairs(np.array([user]), np.array([item]), num_users=2)


# The r-th missing item


def test_nth_missing_item_for_every_subset_and_rank() -> None:
    subsets = [[item for item in range(NUM_ITEMS) if subset >> item & 1] for subset in range(2**NUM_ITEMS)]
    wanted = [(user, rank, item) for user, s in enumerate(subsets) for rank, item in enumerate(missing(s))]
    users, ranks, items = np.array(wanted).T
    assert nth_missing_item(index_of(subsets), users, ranks).tolist() == items.tolist()


@given(st.lists(st.sets(st.integers(0, 39), max_size=40), min_size=1, max_size=6))
def test_nth_missing_item_for_segments_of_mixed_length(sets: list[set[int]]) -> None:
    lists = [sorted(items) for items in sets]
    wanted = [(user, rank, item) for user, s in enumerate(lists) for rank, item in enumerate(missing(s, 41))]
    users, ranks, items = np.array(wanted).T
    assert nth_missing_item(index_of(lists), users, ranks).tolist() == items.tolist()


def test_nth_missing_item_in_a_long_list() -> None:
    observed = np.flatnonzero(np.arange(5000) % 7 != 3)
    index = PairIndex.from_pairs(np.zeros(observed.size, dtype=np.int64), observed, num_users=1)
    ranks = np.arange(714)
    assert nth_missing_item(index, np.zeros_like(ranks), ranks).tolist() == (3 + 7 * ranks).tolist()


def test_nth_missing_item_at_the_end_of_the_widest_catalogue() -> None:
    last = 2**31 - 1
    index = PairIndex.from_pairs(np.array([0, 0, 1]), np.array([0, last - 1, last]), num_users=2)
    # User 0 lacks 1 … last − 2 and then last; user 1 lacks 0 … last − 1.
    users, ranks = np.array([0, 0, 0, 1, 1]), np.array([0, last - 3, last - 2, 0, last - 1])
    assert nth_missing_item(index, users, ranks).tolist() == [1, last - 2, last, 0, last - 1]


# Draws


@pytest.mark.parametrize("source", ["sampled", "logged", "both"])
def test_a_draw_is_the_hash_of_its_row_times_the_number_of_choices(source: str) -> None:
    users, numbers = np.arange(5).repeat(40), np.arange(200)
    pairs = sampler(source, seed=9).draw(users, numbers, round=3)
    for row, user in enumerate(users.tolist()):
        chosen, coin = (int(hash_u64(9, stream, 3, row, 0)) for stream in (UNLABELLED, MIX))
        wanted = source == "logged" or (source == "both" and coin >> 63 == 1)
        choices = LOGGED[user] if wanted and LOGGED[user] else missing(OBSERVED[user])
        assert pairs.valid[row] == bool(choices)
        assert pairs.item_ids[row] == (choices[chosen * len(choices) >> 64] if choices else 0)
        assert pairs.fallback[row] == (wanted and not LOGGED[user] and bool(choices))


def test_sampled_items_are_never_observed() -> None:
    users = np.tile(np.array([0, 2, 3, 4]), 500)
    pairs = sampler().draw(users, np.arange(users.size), round=3)
    assert pairs.valid.all()
    assert pairs.undrawable == pairs.fallback_pairs == 0
    assert not any(item in OBSERVED[user] for user, item in zip(pairs.user_ids, pairs.item_ids, strict=True))


def assert_uniform(found: NDArray[np.int64], among: list[int]) -> None:
    """Every count within 6 standard deviations of its binomial mean: by Hoeffding odds of at most 4e-8 each."""
    total = int(found.sum())
    assert set(np.flatnonzero(found)) == set(among)
    expected = total / len(among)
    assert np.all(np.abs(found[among] - expected) <= 3 * total**0.5)


@pytest.mark.parametrize("user", [0, 2, 4])
def test_sampled_items_are_uniform(user: int) -> None:
    assert_uniform(counts(draws_of(user, "sampled", 60_000), user), missing(OBSERVED[user]))


def test_user_who_observed_everything_is_not_valid_and_counted() -> None:
    pairs = sampler(rate=2).draw(np.array([0, 1, 3]), np.array([10, 11, 12]), round=0)
    assert pairs.valid.tolist() == [True, True, False, False, True, True]
    assert pairs.item_ids[2:].tolist() == [0, 0, 3, 3]
    assert pairs.undrawable == 2


def test_logged_items_are_uniform_and_fallback_pairs_counted() -> None:
    assert_uniform(counts(draws_of(0, "logged", 20_000), 0), LOGGED[0])
    # User 1 has one logged pair and nothing else left; user 2 has none and falls back to a sampled one.
    pairs = sampler("logged").draw(np.array([1, 2, 2]), np.array([0, 1, 2]), round=0)
    assert pairs.valid.all()
    assert pairs.item_ids[0] == 3
    assert set(pairs.item_ids[1:].tolist()) <= set(missing(OBSERVED[2]))
    assert pairs.fallback_pairs == 2
    assert pairs.undrawable == 0


def test_no_fallback_where_nothing_is_left() -> None:
    observed, logged = index_of([[0, 1]]), index_of([[]])
    drawing = UnlabelledSampler(observed, 2, seed=0, source="logged", logged=logged)
    pairs = drawing.draw(np.zeros(3, dtype=np.int64), np.arange(3), round=0)
    assert not pairs.valid.any()
    assert (pairs.fallback_pairs, pairs.undrawable) == (0, 3)


def test_both_tosses_a_fair_coin() -> None:
    # User 0 lacks all 6 items and has 2 logged ones: a logged item comes up with ½ · ½ + ½ · ⅙ = ⅓, another with 1/12.
    number = 60_000
    found = counts(draws_of(0, "both", number), 0)
    expected = number * np.where(np.isin(np.arange(NUM_ITEMS), LOGGED[0]), 1 / 3, 1 / 12)
    assert np.all(np.abs(found - expected) <= 3 * number**0.5)
    # User 1 observed everything: tails leave nothing, heads give the logged item.
    pairs = draws_of(1, "both", number)
    assert abs(pairs.undrawable - number / 2) <= 3 * number**0.5
    assert pairs.undrawable == np.count_nonzero(~pairs.valid)
    # User 2 has no logged item: heads are stood in for.
    pairs = draws_of(2, "both", number)
    assert pairs.valid.all()
    assert abs(pairs.fallback_pairs - number / 2) <= 3 * number**0.5


@pytest.mark.parametrize("source", ["sampled", "logged", "both"])
@pytest.mark.parametrize("rate", [1, 3])
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2**40)), min_size=1, max_size=30), st.integers(1, 7), st.data()
)
def test_a_row_draws_the_same_in_whatever_batch(
    source: str, rate: int, rows: list[tuple[int, int]], size: int, data: st.DataObject
) -> None:
    users, numbers = np.array(rows, dtype=np.int64).T
    drawing = sampler(source, rate)
    whole = drawing.draw(users, numbers, round=2)
    order = np.array(data.draw(st.permutations(range(len(rows)))))
    parts = [order[start : start + size] for start in range(0, len(rows), size)]
    drawn = [drawing.draw(users[part], numbers[part], round=2) for part in parts]
    for name in ("user_ids", "item_ids", "valid"):
        joined = np.concatenate([getattr(pairs, name) for pairs in drawn]).reshape(-1, rate)
        assert joined.tolist() == getattr(whole, name).reshape(-1, rate)[order].tolist()
    assert sum(pairs.fallback_pairs for pairs in drawn) == whole.fallback_pairs
    assert sum(pairs.undrawable for pairs in drawn) == whole.undrawable


def test_pair_0_is_the_same_at_every_rate() -> None:
    users, numbers = np.tile([0, 2, 4], 50), np.arange(150)
    once, thrice = (sampler("both", rate).draw(users, numbers, round=1) for rate in (1, 3))
    assert once.item_ids.tolist() == thrice.item_ids[::3].tolist()
    assert thrice.user_ids.tolist() == np.repeat(users, 3).tolist()


def test_seed_round_and_pair_change_the_draw() -> None:
    users, numbers = np.zeros(200, dtype=np.int64), np.arange(200)
    first = sampler().draw(users, numbers, round=0).item_ids
    others = [sampler().draw(users, numbers, round=1).item_ids, sampler(seed=8).draw(users, numbers, round=0).item_ids]
    others.append(sampler(rate=2).draw(users, numbers, round=0).item_ids[1::2])
    # Independent draws among 6 items agree in a sixth of 200 rows.
    assert all(np.count_nonzero(first == other) < 80 for other in others)


def test_an_empty_batch_draws_nothing() -> None:
    empty = np.array([], dtype=np.int64)
    for source in ("sampled", "logged", "both"):
        assert sampler(source, rate=2).draw(empty, empty, round=0).item_ids.size == 0


def test_draw_leaves_its_arguments_alone() -> None:
    users, numbers = np.array([0, 1, 2]), np.array([5, 6, 7])
    pairs = sampler("both").draw(users, numbers, round=0)
    pairs.item_ids[:] = -1
    assert users.tolist() == [0, 1, 2]
    assert numbers.tolist() == [5, 6, 7]


# Refusals


def test_logged_source_without_logged_pairs_is_answered() -> None:
    with pytest.raises(UserError, match="no logged unclear pairs"):
        UnlabelledSampler(index_of(OBSERVED), NUM_ITEMS, seed=0, source="both")


def test_wrong_arguments_raise() -> None:
    with pytest.raises(ValueError, match="rate"):
        sampler(rate=0)
    with pytest.raises(ValueError, match="users"):
        dataclasses.replace(sampler("logged"), logged=index_of([[1]]))
    with pytest.raises(ValueError, match="int64"):
        sampler().draw(np.array([0], dtype=np.int32), np.array([0]), round=0)
    with pytest.raises(ValueError, match="one shape"):
        sampler().draw(np.array([0, 1]), np.array([0]), round=0)
