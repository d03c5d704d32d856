"""Raw columns become labels and preferences; the first value that can't is told with its row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

import pyarrow as pa
import pytest

from distributed_il.data.prepare.sources import times
from distributed_il.data.prepare.sources.column_types import (
    BadValueError,
    only_binary,
    read_labels,
    read_preferences,
    read_ratings,
)
from distributed_il.data.prepare.sources.times import read_times


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


def test_ratings_with_an_unclear_middle() -> None:
    ratings = pa.array(["4.5", "4", "3.5", "3", "2.9"])
    assert read_ratings(ratings, 4.0, 3.0).to_pylist() == [1, None, None, None, 0]
    assert read_ratings(ratings, 3.0, 3.0).to_pylist() == [1, 1, 1, None, 0]


@pytest.mark.parametrize("first", ["nan", "inf", "-inf", "yesterday", ""])
def test_what_is_no_time_does_not_say_of_what_kind_the_others_are(first: str) -> None:
    """`nan` is a number to Arrow, so that the dates behind it were none."""
    for other in ("2024-06-12 01:59:04", "1717200000"):
        with pytest.raises(BadValueError) as caught:
            read_times(pa.array([first, other, other]))
        assert caught.value.all_rows is not None
        assert caught.value.all_rows().tolist() == [0]


def test_of_many_rows_without_a_time_each_text_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    parsed = times.parsed
    monkeypatch.setattr(times, "parsed", lambda column, kind: tried.append(len(column)) or parsed(column, kind))
    with pytest.raises(BadValueError) as caught:
        read_times(pa.array(["nan"] * 500 + [""] * 500 + ["2024-06-12"]))
    assert caught.value.row == 0
    assert len(tried) < 100


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


NOON = "2024-05-01 12:00:00"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00Z", "2024-05-01T07:00:00-0500"], [NOON] * 3),
        (
            ["2024-05-01 12:00:00 UTC", "2024-05-01 14:00:00 +02:00", "2024-05-01 12:00:00.5Z"],
            [NOON, NOON, NOON + ".5"],
        ),
        (["2024/05/01 12:00:00", "2024-05-01T12:00", "2024/05/01"], [NOON, NOON, "2024-05-01"]),
        (["01.05.2024 12:00", "31.12.1999"], [NOON, "1999-12-31"]),
        (["Wed May 01 14:00:00 +0200 2024", "Wed May 01 12:00:00 +0000 2024"], [NOON, NOON]),
    ],
)
def test_dates_as_they_are_written(texts: list[str], expected: list[str]) -> None:
    found = times.without_zone(read_times(pa.array(texts)))
    assert found.cast(pa.timestamp("us")).to_pylist() == [datetime.fromisoformat(text) for text in expected]


@pytest.mark.parametrize(
    ("texts", "row"),
    [
        ([NOON, f"{NOON}Z"], 1),
        ([f"{NOON}Z", NOON], 1),
        (["05/31/2024"], 0),
        ([NOON, "31.02.2024"], 1),
    ],
)
def test_dates_that_do_not_tell_are_refused(texts: list[str], row: int) -> None:
    with pytest.raises(BadValueError, match="a date: 2020-07-05, 2020/07/05 or 05.07.2020.*zone") as caught:
        read_times(pa.array(texts))
    assert caught.value.row == row
