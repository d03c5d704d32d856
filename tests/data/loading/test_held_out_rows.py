"""Training-test rows in a file: every lane in its own order, slice after slice, whatever order they were added in."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import pytest

from distributed_il.data.dataset import Block
from distributed_il.data.lanes import row_order
from distributed_il.data.loading.held_out_rows import HeldOutRows, LabelledRows

LANES = 2
BLOCKS = {
    0: (Block("a", 0, 0, 0, 40), Block("a", 1, 0, 40, 25)),
    1: (Block("b", 0, 1, 0, 40),),
}
SEED = 3


def rows_of(block: Block) -> LabelledRows:
    """All rows of a block: user 10 · place, item 100 · place, label place mod 2."""
    places = np.arange(block.start, block.start + block.rows)
    columns = ((10 * places).astype(np.int32), (100 * places).astype(np.int32), (places % 2).astype(np.int8))
    return LabelledRows(places * LANES + block.lane, *columns)


def held_out_rows(order: Iterable[Block] | None = None) -> HeldOutRows:
    held_out = HeldOutRows(BLOCKS, lambda block: block.rows)
    for block in order or [block for blocks in BLOCKS.values() for block in blocks]:
        held_out.add(block, rows_of(block))
    return held_out


def shuffled(held_out: HeldOutRows, round: int = 0, skip: dict[int, int] | None = None) -> dict[int, LabelledRows]:
    parts: dict[int, list[LabelledRows]] = {}
    for lane, rows in held_out.shuffled(seed=SEED, round=round, skip=skip or {0: 0, 1: 0}):
        parts.setdefault(lane, []).append(rows)
    return {lane: LabelledRows.join(rows) for lane, rows in parts.items()}


def whole_lane(lane: int, round: int) -> LabelledRows:
    """The lane sorted at once."""
    rows = LabelledRows.join([rows_of(block) for block in BLOCKS[lane]])
    return rows.take(row_order(rows.numbers, seed=SEED, round=round))


def assert_same(found: LabelledRows, expected: LabelledRows) -> None:
    assert found.numbers.tolist() == expected.numbers.tolist()
    assert found.user_ids.tolist() == expected.user_ids.tolist()
    assert found.item_ids.tolist() == expected.item_ids.tolist()
    assert found.labels.tolist() == expected.labels.tolist()


@pytest.mark.parametrize("slice_rows", [1, 7, 64, 65, 1000])
@pytest.mark.parametrize("round", [0, 5])
def test_slices_do_not_show_in_the_order(monkeypatch: pytest.MonkeyPatch, slice_rows: int, round: int) -> None:
    monkeypatch.setattr("distributed_il.data.loading.held_out_rows.SLICE_ROWS", slice_rows)
    found = shuffled(held_out_rows(), round)
    assert list(found) == [0, 1]
    for lane, rows in found.items():
        assert_same(rows, whole_lane(lane, round))


def test_a_slice_is_a_small_part_of_a_lane_and_lanes_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributed_il.data.loading.held_out_rows.SLICE_ROWS", 13)
    parts = [(lane, len(rows)) for lane, rows in held_out_rows().shuffled(seed=SEED, round=0, skip={0: 0, 1: 0})]
    # The longer lane has 65 rows: five slices of about 13 rows there, and of about 8 in the other.
    assert [lane for lane, _ in parts] == [0, 1] * 5
    assert max(rows for _, rows in parts) < 30


def test_blocks_come_in_any_order() -> None:
    found = shuffled(held_out_rows([BLOCKS[1][0], BLOCKS[0][1], BLOCKS[0][0]]))
    for lane, rows in found.items():
        assert_same(rows, whole_lane(lane, 0))


@pytest.mark.parametrize("skip", [{0: 0, 1: 1}, {0: 20, 1: 39}, {0: 65, 1: 40}, {0: 64, 1: 40}])
def test_rows_left_out_are_the_first_of_their_lane(monkeypatch: pytest.MonkeyPatch, skip: dict[int, int]) -> None:
    monkeypatch.setattr("distributed_il.data.loading.held_out_rows.SLICE_ROWS", 10)
    found = shuffled(held_out_rows(), skip=skip)
    for lane in BLOCKS:
        expected = whole_lane(lane, 0).take(slice(skip[lane], None))
        assert_same(found.get(lane, expected.take(slice(0))), expected)


def test_what_is_missing_is_told_until_it_is_added() -> None:
    held_out = HeldOutRows(BLOCKS, lambda block: block.rows)
    first, second = BLOCKS[0]
    assert held_out.missing == [first, second, BLOCKS[1][0]]
    held_out.add(second, rows_of(second))
    assert held_out.missing == [first, BLOCKS[1][0]]
    assert held_out.lacks(first)
    assert not held_out.lacks(second)


def test_lanes_without_rows() -> None:
    assert shuffled(HeldOutRows({0: (), 1: ()}, lambda block: block.rows)) == {}


def test_a_disk_that_takes_a_part_at_a_time_gets_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, start: write(file, data[:100], start))
    found = shuffled(held_out_rows())
    monkeypatch.undo()
    for lane, rows in found.items():
        assert_same(rows, whole_lane(lane, 0))
