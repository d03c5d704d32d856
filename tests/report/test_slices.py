"""Rows by activity, against groups made by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distributed_il.report.slices import GROUPS, activity_slices


def test_groups_are_fifths_of_the_rows_and_those_never_met() -> None:
    slices = activity_slices(np.array([9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 0, 0]))
    # Ten rows that training met, two to a group; three that it did not.
    assert slices.names == ["0", "1–2", "3–4", "5–6", "7–8", "9–10"]
    assert slices.numbers.tolist() == [5, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 0, 0]


def test_rows_of_equal_activity_stay_together() -> None:
    slices = activity_slices(np.array([1] * 7 + [1_000] * 3))
    assert slices.names == ["1", "1,000"]
    assert np.bincount(slices.numbers).tolist() == [7, 3]


def test_no_rows_make_no_groups() -> None:
    assert activity_slices(np.zeros(0, dtype=np.int64)).names == []


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80))
def test_every_row_is_in_one_group_and_groups_follow_activity(activity: list[int]) -> None:
    values = np.array(activity)
    slices = activity_slices(values)
    assert np.bincount(slices.numbers).sum() == len(activity)
    assert len(slices.names) <= GROUPS + 1
    order = np.argsort(values, kind="stable")
    assert (np.diff(slices.numbers[order]) >= 0).all()
    assert set(slices.numbers.tolist()) == set(range(len(slices.names)))
