"""External ids find their rows, in whatever order the vocabulary is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.prepare.sources.column_types import BadValueError


@pytest.mark.parametrize(
    ("ids", "given"),
    [
        ([3, 5, 9], [9, 4, 3, 10, -1]),
        ([5, 9, 3], [9, 4, 3, 10, -1]),  # 3 was appended later
        (["b", "ä", "a"], ["a", "x", "b", "", "ab"]),
        ([7], [8, 7]),
    ],
)
def test_rows_of_ids_and_ids_of_rows(ids: list[Any], given: list[Any]) -> None:
    lookup = IdLookup("user", pa.array(ids))
    rows = lookup.rows(pa.array(given))
    assert rows.dtype == np.int64
    assert rows.tolist() == [ids.index(one) if one in ids else -1 for one in given]
    assert lookup.rows(pa.array([], lookup.ids.type)).tolist() == []
    assert lookup.external(np.array([len(ids) - 1, 0])).to_pylist() == [ids[-1], ids[0]]


def test_raw_columns_take_the_type_of_the_ids() -> None:
    numbers, words = IdLookup("user", pa.array([1, 2])), IdLookup("user", pa.array(["1", "x"]))
    assert numbers.read(pa.array(["1", "2"])).to_pylist() == [1, 2]
    assert numbers.read(pa.array([1.0, 2.0])).to_pylist() == [1, 2]
    assert words.read(pa.array([1, 2])).to_pylist() == ["1", "2"]
    for column, row in ((pa.array(["1", "1.5"]), 1), (pa.array([2.0, 1.0, 1.5]), 2), (pa.array([None, 1]), 0)):
        with pytest.raises(BadValueError) as refused:
            numbers.read(column)
        assert refused.value.row == row
    with pytest.raises(BadValueError, match="'' is no user id"):
        words.read(pa.array(["x", ""]))
