"""Rows of a rank's users in parts."""

from __future__ import annotations

import numpy as np
import pytest

from distributed_il.evaluation.split_scores import UserParts

ROW = np.dtype([("user_id", np.int32), ("row", np.int64)])


def test_every_part_has_all_rows_of_its_users_in_their_order() -> None:
    rng = np.random.default_rng(0)
    # Rank 1 of 3 has users 1, 4, 7, ….
    rows = np.empty(500, ROW)
    rows["user_id"], rows["row"] = 3 * rng.integers(0, 40, 500) + 1, np.arange(500)
    parts = UserParts(4, 3)
    for piece in np.array_split(rows, 7):
        parts.add(piece)
    assert len(parts) == 4
    for number, part in enumerate(parts):
        mine = rows[rows["user_id"] // 3 % 4 == number]
        assert part.tolist() == mine.tolist()
        assert part.size > 50


def test_parts_without_rows() -> None:
    parts = UserParts(2, 1)
    parts.add(np.array([(2, 0)], ROW))
    assert [part.size for part in parts] == [1, 0]
    assert [part.size for part in parts[1:]] == [0]
    with pytest.raises(IndexError):
        parts[2]
