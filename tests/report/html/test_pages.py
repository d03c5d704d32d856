"""Axes and pictures."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributed_il.report.html.charts import Interval, bar_chart, column_chart, interval_chart, line_chart, share_bar
from distributed_il.report.html.frame import Series
from distributed_il.report.html.html import paragraph, table, words
from distributed_il.report.html.scale import Scale, short, span


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.71, 0.79, False, [0.72, 0.74, 0.76, 0.78]),
        (1, 3, True, [1, 2, 3]),
        (-3, 97, False, [0, 20, 40, 60, 80]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, whole: bool, expected: list[float]) -> None:
    assert Scale(low, high, 0, 100).ticks(5, whole=whole) == pytest.approx(expected)


@given(st.lists(st.floats(-1e9, 1e9) | st.just(math.nan), max_size=5))
def test_a_span_holds_all_values_and_has_a_width(values: list[float]) -> None:
    low, high = span(values)
    assert low < high
    assert all(low <= value <= high for value in values if math.isfinite(value))
    assert len(Scale(low, high, 0, 100).ticks(5)) <= 7


def test_numbers_on_axes_are_short() -> None:
    assert [short(value) for value in (0, 0.25, 1_000, 20_000, 3e6, 1e-5)] == [
        "0",
        "0.25",
        "1,000",
        "20k",
        "3M",
        "1e-05",
    ]


def test_points_stand_where_their_values_are() -> None:
    chart = line_chart("t", [Series("s", [0, 1, 2], [0.0, math.nan, 1.0], 0)], x_label="x").text
    places = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', chart)]
    (left, low), (right, high) = places  # the one that is not a number is left out
    assert left < right
    assert low > high  # pixels are counted from above
    assert line_chart("t", [Series("s", [0], [math.nan], 0)], x_label="x").text == ""


def test_bars_are_as_high_as_their_shares() -> None:
    chart = bar_chart("t", [0.0, 0.5, 1.0], [0.25, 0.75], x_label="x").text
    heights = [float(height) for height in re.findall(r'<rect[^>]* height="([\d.]+)"', chart)]
    assert heights[1] == pytest.approx(3 * heights[0], rel=0.01)


def test_columns_are_stacks_of_counts() -> None:
    series = [Series("a", [0, 1], [10, 0], 1), Series("b", [0, 1], [30, 20], 2)]
    chart = column_chart("t", ["0", "1"], series, x_label="x").text
    stacks = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)"[^>]* height="([\d.]+)" fill="var\(--c([12])\)"', chart)
    (x, top, height, _), (above_x, above_top, above_height, _), (_, _, none, _), (_, _, other, _) = stacks
    assert x == above_x
    assert float(above_top) + float(above_height) == pytest.approx(float(top), abs=0.11)
    assert [float(above_height), float(none), float(other)] == pytest.approx(
        [3 * float(height), 0, 2 * float(height)], abs=0.2
    )


def test_names_on_an_axis_keep_clear_of_each_other() -> None:
    """Ten columns of 49.8 have room for six letters of 7.8; of seven letters every second name is shown."""
    edges = [f"{number:,}" for number in range(999_990, 1_000_000)]
    many = column_chart("t", edges, [Series("a", [0], [1] * 10, 0)], x_label="x")
    assert ">999,990<" in many.text
    assert ">999,991<" not in many.text
    marks = Series("a", [0, 1], [1.0, 2.0], 0)
    assert "a very long na" in line_chart("t", [marks], x_label="x", x_names=["short", "a very long name" * 3]).text


def test_plain_values_as_people_write_them() -> None:
    value = {"split": {"name": "random", "share": 0.6}, "files": ["a", "b"], "rows": 1000, "kept": True}
    assert words(value) == "split name random, share 0.6, files a, b, rows 1,000, kept True"


def test_shares_fill_the_bar() -> None:
    chart = share_bar("t", {"direct": 0.75, "skip": 0.0, "inverse": 0.25}).text
    widths = [float(width) for width in re.findall(r'<rect x="[\d.]+" y="2" width="([\d.]+)"', chart)]
    assert widths == pytest.approx([0.75 * 560 - 1, 0, 0.25 * 560 - 1])


def test_an_interval_lies_around_its_value() -> None:
    chart = interval_chart("t", [Interval("a", 0.5, 0.4, 0.7, 0), Interval("b", 0.6, math.nan, math.nan, 1)]).text
    ((low, high),) = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)"', chart)
    value = re.findall(r'<circle cx="([\d.]+)"', chart)[0]
    assert float(low) < float(value) < float(high)


def test_text_is_escaped_everywhere() -> None:
    bad = '<script>"&'
    markups = [
        paragraph(bad),
        table([bad], [[bad]], caption=bad),
        line_chart(bad, [Series(bad, [0, 1], [0, 1], 0), Series(bad, [0, 1], [0, 1], 1)], x_label=bad, note=bad),
        interval_chart(bad, [Interval(bad, 0.5, 0.4, 0.6, 0)]),
        share_bar(bad, {bad: 1.0}),
    ]
    for markup in markups:
        assert "<script>" not in markup.text
        assert '"&' not in markup.text.replace('"&lt;', "").replace("&quot;&amp;", "")
