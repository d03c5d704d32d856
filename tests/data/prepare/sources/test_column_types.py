"""Raw columns become ids, labels and preferences; the first value that can't is told with its row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
import pytest

from distributed_il.data.prepare.sources.column_types import (
    BadValueError,
    only_binary,
    read_ids,
    read_labels,
    read_preferences,
    read_ratings,
)


@pytest.mark.parametrize(
    ("column", "wanted", "expected"),
    [
        (pa.array([3, 1], pa.int32()), "auto", pa.array([3, 1], pa.int64())),
        (pa.array([3, 1], pa.uint64()), "auto", pa.array([3, 1], pa.int64())),
        (pa.array(["3", "1"]), "auto", pa.array([3, 1], pa.int64())),
        (pa.array(["3 ", " 1"]), "auto", pa.array([3, 1], pa.int64())),
        (pa.array(["3", "u1"]), "auto", pa.array(["3", "u1"])),
        (pa.array(["3", "1"]), "string", pa.array(["3", "1"])),
        (pa.array([3, 1]), "string", pa.array(["3", "1"])),
        (pa.array(["é", "b"], pa.large_string()), "auto", pa.array(["é", "b"])),
        (pa.array(["b", "a", "b"]).dictionary_encode(), "auto", pa.array(["b", "a", "b"])),
    ],
)
def test_ids(column: pa.Array, wanted: Any, expected: pa.Array) -> None:
    ids = read_ids(column, wanted)
    assert ids.type == expected.type
    assert ids.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, 0, None], pa.int8()), [1, 0, None]),
        (pa.array([True, False, None]), [1, 0, None]),
        (pa.array([1.0, 0.0, float("nan"), None]), [1, 0, None, None]),
        (pa.array(["1", "0", "", "null", "NaN", "1.0", " 0"]), [1, 0, None, None, None, 1, 0]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_labels(column: pa.Array, expected: list[int | None]) -> None:
    labels = read_labels(column)
    assert labels.type == pa.int8()
    assert labels.to_pylist() == expected


@pytest.mark.parametrize("column", [pa.array([1, 2, 3, 5], pa.int8()), pa.array(["1", "2.0", "2.5", "5"])])
def test_ratings_above_the_threshold_are_positive(column: pa.Array) -> None:
    assert read_ratings(column, 2.0).to_pylist() == [0, 0, 1, 1]


def test_preferences_are_numbers() -> None:
    preferences = read_preferences(pa.array([0.25, 1.0]))
    assert preferences.type == pa.float32()
    assert preferences.to_pylist() == [0.25, 1.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0", "1", ""], True),
        (["0", "5"], False),
        (["0", "x"], False),
        ([], True),
    ],
)
def test_whether_values_are_binary(values: list[str], expected: bool) -> None:
    assert only_binary(pa.array(values, pa.string())) is expected


@pytest.mark.parametrize(
    ("read", "column", "row", "value", "message"),
    [
        (partial(read_ids, wanted="auto"), pa.array([1, None]), 1, None, "the id is missing"),
        (partial(read_ids, wanted="auto"), pa.array(["1", "", "2"]), 1, "", "the id is missing"),
        (partial(read_ids, wanted="auto"), pa.array([4, 5, -1, -2]), 2, -1, "must not be negative"),
        (partial(read_ids, wanted="auto"), pa.array(["4", "-5"]), 1, -5, "must not be negative"),
        (partial(read_ids, wanted="auto"), pa.array([2**63], pa.uint64()), 0, 2**63, r"above 2\*\*63"),
        (partial(read_ids, wanted="auto"), pa.array([1.5]), 0, 1.5, "type double; ids are integers or strings"),
        (partial(read_ids, wanted="integer"), pa.array(["1", "2", "u3", "4", "u5"]), 2, "u3", "it is no integer"),
        (read_labels, pa.array([0, 1, 2]), 2, 2, "a label is 0, 1 or missing"),
        (read_labels, pa.array([0.0, 0.5]), 1, 0.5, "a label is 0, 1 or missing"),
        (read_labels, pa.array(["0", "yes"]), 1, "yes", "a label is 0, 1 or missing"),
        (read_labels, pa.array(["0", "3"]), 1, "3", "set rule to rating"),
        (read_labels, pa.array([[1]]), 0, [1], "the column is of type list"),
        (partial(read_ratings, positive_above=2), pa.array([3, None]), 1, None, "a rating is a finite number"),
        (partial(read_ratings, positive_above=2), pa.array(["3", "inf"]), 1, "inf", "a rating is a finite number"),
        (partial(read_ratings, positive_above=2), pa.array(["3", "good"]), 1, "good", "a rating is a finite number"),
        (read_preferences, pa.array([0.5, None]), 1, None, "a preference is a finite number"),
    ],
)
def test_the_first_bad_value_is_told(
    read: Callable[[pa.Array], pa.Array], column: pa.Array, row: int, value: object, message: str
) -> None:
    with pytest.raises(BadValueError, match=message) as caught:
        read(column)
    assert (caught.value.row, caught.value.value) == (row, value)


def test_a_bad_value_is_found_among_many() -> None:
    values = ["1"] * 1000
    values[637] = values[900] = "one"
    with pytest.raises(BadValueError) as caught:
        read_labels(pa.array(values))
    assert caught.value.row == 637
