"""Lanes, the training-test slots and the schedule of a pass, against counting one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distributed_il.core.counter_rng import SPLIT, hash_u64, uniform_below
from distributed_il.data.lanes import Schedule, block_order, key_order, lanes_of_rank, row_order, rows_in_lane
from distributed_il.data.lanes import TestSlots as Slots  # pytest collects names that begin with Test

SHARES = st.sampled_from([0.1, 0.5, 0.03, 0.2, 0.25, 1 / 3, 0.3, 0.07, 0.001]) | st.floats(0.001, 0.5)
# V and a W that divides it.
LANES = st.sampled_from([(1, 1), (2, 1), (2, 2), (6, 3), (8, 2), (8, 8), (24, 1), (24, 4), (24, 24)])


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 6, 8, 12, 24])
def test_ranks_share_the_lanes_and_so_the_rows_by_remainder(world_size: int) -> None:
    held = [lanes_of_rank(24, rank, world_size) for rank in range(world_size)]
    assert sorted(lane for lanes in held for lane in lanes) == list(range(24))
    for rank, lanes in enumerate(held):
        rows = {n for n in range(200) if n % 24 in lanes}
        assert rows == {n for n in range(200) if n % world_size == rank}


def test_workers_must_divide_the_lanes() -> None:
    with pytest.raises(ValueError, match="5 workers do not divide 24 lanes"):
        lanes_of_rank(24, 0, 5)


@given(total=st.integers(0, 200), num_lanes=st.integers(1, 30))
def test_rows_in_a_lane_are_counted(total: int, num_lanes: int) -> None:
    for lane in range(num_lanes):
        assert rows_in_lane(total, lane, num_lanes) == sum(n % num_lanes == lane for n in range(total))


def test_slots_by_hand() -> None:
    """Share 0.3: slots start at ⌈k/0.3⌉ = 0, 4, 7, 10, 14, 17, 20; in each the hash of its number picks a place."""
    starts = np.array([0, 4, 7, 10, 14, 17, 20])
    picks = uniform_below(hash_u64(9, SPLIT, np.arange(6)), np.diff(starts))
    expected = np.zeros(20, dtype=bool)
    expected[starts[:-1] + picks] = True
    assert Slots(9, 0.3).mask(0, 20).tolist() == expected.tolist()
    assert np.add.reduceat(expected, starts[:-1]).tolist() == [1] * 6


@pytest.mark.parametrize(("share", "length"), [(0.5, 2), (0.1, 10), (0.2, 5), (0.25, 4), (0.01, 100)])
def test_of_each_run_of_places_exactly_one_is_drawn(share: float, length: int) -> None:
    mask = Slots(4, share).mask(0, 200 * length).reshape(200, length)
    assert (mask.sum(axis=1) == 1).all()
    # Each place of a slot has its turn: 200 draws leave one of at most 10 out with probability below 1e-8.
    assert length > 10 or mask.any(axis=0).all()


@given(seed=st.integers(0, 99), share=SHARES, start=st.integers(0, 3_000), length=st.integers(0, 500))
def test_any_part_of_the_mask_is_that_part_of_the_whole(seed: int, share: float, start: int, length: int) -> None:
    slots = Slots(seed, share)
    whole = slots.mask(0, start + length)
    assert slots.mask(start, start + length).tolist() == whole[start:].tolist()
    assert slots.count_before(start) == int(whole[:start].sum())
    # One place in each slot: never more than one slot away from the share.
    assert abs(int(whole.sum()) - share * (start + length)) <= 1 + 1e-6


@given(seed=st.integers(0, 99), share=SHARES, start=st.integers(10**8, 2 * 10**9))
def test_far_places_are_counted_as_they_are_masked(seed: int, share: float, start: int) -> None:
    slots = Slots(seed, share)
    mask = slots.mask(start, start + 300)
    counts = [slots.count_before(start + k) for k in range(0, 301, 50)]
    assert np.diff(counts).tolist() == mask.reshape(6, 50).sum(axis=1).tolist()


@given(seed=st.integers(0, 99), share=SHARES, total=st.integers(0, 400), num_lanes=st.integers(1, 30))
def test_training_test_rows_are_counted(seed: int, share: float, total: int, num_lanes: int) -> None:
    slots = Slots(seed, share)
    mask = slots.mask(0, total // num_lanes + 1)
    assert slots.rows(total, num_lanes) == sum(bool(mask[n // num_lanes]) for n in range(total))


def test_another_seed_draws_other_places() -> None:
    assert Slots(0, 0.1).mask(0, 1000).tolist() != Slots(1, 0.1).mask(0, 1000).tolist()


@settings(max_examples=200)
@given(total=st.integers(0, 300), batch=st.integers(1, 80), lanes=LANES)
def test_a_schedule_deals_row_n_of_the_pass_to_batch_n_div_g(total: int, batch: int, lanes: tuple[int, int]) -> None:
    num_lanes, world_size = lanes
    schedule = Schedule(total, batch, num_lanes, world_size)
    step_of = [n // batch for n in range(total)]
    assert schedule.steps == len(set(step_of))
    for step in range(schedule.steps):
        members = [n for n in range(total) if step_of[n] == step]
        assert schedule.global_count(step) == len(members) > 0
        by_rank = [sum(n % world_size == rank for n in members) for rank in range(world_size)]
        assert schedule.capacity(step) == max(by_rank)
        for lane in range(num_lanes):
            dealt = schedule.lane_rows_before(step + 1, lane) - schedule.lane_rows_before(step, lane)
            assert dealt == sum(n % num_lanes == lane for n in members)
    assert schedule.rows_before(schedule.steps) == total


def test_the_order_of_rows_follows_from_seed_round_and_row_number() -> None:
    rows = np.arange(3, 3 + 24 * 100, 24)
    order = row_order(rows, seed=1, round=2)
    assert sorted(order.tolist()) == list(range(100))
    assert row_order(rows, seed=1, round=2).tolist() == order.tolist()
    assert row_order(rows, seed=1, round=3).tolist() != order.tolist()
    assert row_order(rows, seed=2, round=2).tolist() != order.tolist()
    # Rows keep their order among themselves whatever stands between them.
    half = rows[order[order % 2 == 0]]
    assert rows[::2][row_order(rows[::2], seed=1, round=2)].tolist() == half.tolist()


def test_keys_are_ordered_by_all_their_bits() -> None:
    # Two upper halves, 3 and 1, each with lower halves out of order.
    keys = np.array([(3 << 32) | 7, (1 << 32) | 9, (3 << 32) | 5, (1 << 32) | 2, 2**64 - 1, 0], dtype=np.uint64)
    assert key_order(keys).tolist() == [5, 3, 1, 2, 0, 4]
    random = np.random.default_rng(0).integers(0, 2**64, 5_000, dtype=np.uint64)
    assert np.array_equal(key_order(random), np.argsort(random))


def test_lanes_with_fewer_blocks_take_theirs_in_the_same_order() -> None:
    for round in range(5):
        long, short = (block_order(blocks, seed=1, round=round) for blocks in (9, 6))
        assert sorted(long) == list(range(9))
        assert [block for block in long if block < 6] == short
    assert len({tuple(block_order(9, seed=1, round=round)) for round in range(5)}) == 5
