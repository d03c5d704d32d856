"""Charts: what is drawn where, and SVG that fits into a page."""

from __future__ import annotations

import re
from math import nan
from typing import Any

import pytest
from matplotlib.figure import Figure

from distributed_il.core.charts import (
    Interval,
    Series,
    bar_chart,
    column_chart,
    interval_chart,
    line_chart,
    scatter_chart,
    share_bar,
    short,
)
from distributed_il.core.drawing import COLOURS, Chart, pixels


def axes_of(chart: Chart | None) -> Any:
    assert chart is not None
    axes = Figure((6, 3)).add_subplot()
    chart.draw(axes)
    return axes


def tick_texts(chart: Chart | None) -> list[str]:
    """Texts along the axis at the bottom, in the SVG."""
    assert chart is not None
    return re.findall(r'<text style="text-anchor: middle[^>]*>([^<]+)</text>', chart.svg())


@pytest.mark.parametrize(
    ("xs", "expected"),
    [([1, 2, 3], ["1", "2", "3"]), ([4], ["4"]), ([0, 30_000], ["0", "5,000", "10k", "15k", "20k", "25k", "30k"])],
)
def test_axes_have_round_whole_numbers(xs: list[float], expected: list[str]) -> None:
    chart = line_chart("t", [Series("s", xs, [0.5] * len(xs), 0)], x_label="x")
    assert tick_texts(chart) == [*expected, "x"]


def test_numbers_on_axes_are_short() -> None:
    assert [short(value) for value in (0, 5e-17, 0.25, 1_000, 20_000, 3e6, 1e-5)] == [
        "0",
        "0",
        "0.25",
        "1,000",
        "20k",
        "3M",
        "1e-05",
    ]


def test_what_is_not_finite_is_left_out() -> None:
    (line,) = axes_of(line_chart("t", [Series("s", [0, 1, 2], [0.0, nan, 1.0], 0)], x_label="x")).lines
    assert line.get_xydata().tolist() == [[0, 0], [2, 1]]
    assert line_chart("t", [Series("s", [0], [nan], 0)], x_label="x") is None
    assert interval_chart("t", []) is None


def test_lines_differ_in_dashes_as_well_as_in_colour() -> None:
    chart = line_chart("t", [Series(str(style), [0, 1], [0, 1], style) for style in range(4)], x_label="x")
    assert chart is not None
    assert len({line.get_linestyle() + str(line._dash_pattern) for line in axes_of(chart).lines}) == 4
    assert [key.dashes for key in chart.legend] == ["", "7 4", "2 4", "9 3 2 3"]


def test_bars_are_as_high_as_their_shares() -> None:
    axes = axes_of(bar_chart("t", [0.0, 0.5, 1.0], [0.25, 0.75], x_label="x", mark=0.5))
    assert [bar.get_height() for bar in axes.patches] == [0.25, 0.75]
    assert [bar.get_x() for bar in axes.patches] == [0, 0.5]
    assert axes.get_ylim()[0] == 0
    assert axes_of(bar_chart("t", [0.0, 1.0], [0.0], x_label="x", mark=0.5)).get_ylim() == (0, 1)


def test_columns_are_stacks_of_counts_that_tell_what_they_are() -> None:
    series = [Series("a", [0, 1], [10, 0], 1), Series("b", [0, 1], [30, 2_000], 2)]
    chart = column_chart("t", ["0", "5"], series, x_label="x")
    bars = axes_of(chart).patches
    assert [bar.get_x() for bar in bars] == [0, 1, 0, 1]
    assert [bar.get_y() for bar in bars] == [0, 0, 10, 0]
    assert [bar.get_height() for bar in bars] == [10, 0, 30, 2_000]
    assert re.findall(r"<title>(.*?)</title>", chart.svg()) == [
        "from 0, a: 10",
        "from 5, a: 0",
        "from 0, b: 30",
        "from 5, b: 2,000",
    ]


def test_names_on_an_axis_keep_clear_of_each_other() -> None:
    """Ten columns of 49.8 have room for six letters of 7.8; of seven letters every second name is shown."""
    edges = [f"{number:,}" for number in range(999_990, 1_000_000)]
    many = column_chart("t", edges, [Series("a", [0], [1] * 10, 0)], x_label="x").svg()
    assert ">999,990<" in many
    assert ">999,991<" not in many
    marks = Series("a", [0, 1], [1.0, 2.0], 0)
    names = tick_texts(line_chart("t", [marks], x_label="x", x_names=["short", "a very long name" * 3]))
    assert names == ["short", "a very long namea very long namea …", "x"]


def test_shares_fill_the_bar() -> None:
    axes = axes_of(share_bar("t", {"direct": 0.75, "skip": 0.0, "inverse": 0.25}, styles=[0, 2, 1]))
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    assert ends == [pytest.approx((0, 0.75), abs=0.002), (0.75, 0.75), pytest.approx((0.75, 1), abs=0.002)]
    assert [text.get_text() for text in axes.texts] == ["75.0%", "25.0%"]


def test_an_interval_lies_around_its_value() -> None:
    axes = axes_of(interval_chart("t", [Interval("a", 0.5, 0.4, 0.7, 0), Interval("b", 0.6, nan, nan, 1)]))
    interval, dot, _, other = (line.get_xydata().tolist() for line in axes.lines)
    assert (interval, dot, other) == ([[0.4, 0], [0.7, 0]], [[0.5, 0]], [[0.6, 1]])
    assert axes.yaxis_inverted()


def test_rare_points_lie_over_common_ones() -> None:
    many, few = Series("many", range(200), [0.0] * 200, 0), Series("few", [7], [0.0], 1)
    for groups in ([many, few], [few, many]):
        line, *points = axes_of(scatter_chart("t", groups, x_label="x", line=Series("", [0, 199], [0, 0], 0))).lines
        order = {one.get_label(): one.get_zorder() for one in points}
        assert order["many"] < line.get_zorder() < order["few"]


def test_svg_takes_everything_from_the_page_around_it() -> None:
    charts = [
        line_chart("t", [Series("s", [0, 1], [0, 1], style) for style in range(12)], x_label="x"),
        interval_chart("u", [Interval("a", 0.5, 0.4, 0.7, 0)]),
        share_bar("v", {"a": 1.0}),
    ]
    ids: list[str] = []
    for chart in charts:
        assert chart is not None
        svg = chart.svg()
        assert svg == chart.svg()
        assert not re.search(r"#[0-9a-f]{6}\b|font-family|https?://|url\(|<style|<!--", svg)
        assert "fill: var(--" in svg
        ids += re.findall(r'id="([^"]*)"', svg)
    assert len(ids) == len(set(ids)) > 0


def test_text_is_escaped() -> None:
    bad = '<script>"&'
    for chart in (
        line_chart(bad, [Series(bad, [0, 1], [0, 1], 0)], x_label=bad, x_names=[bad, bad]),
        interval_chart(bad, [Interval(bad, 0.5, 0.4, 0.6, 0)]),
        column_chart(bad, [bad, bad], [Series(bad, [0, 1], [0, 1], 0)], x_label=bad),
        share_bar(bad, {bad: 1.0}),
    ):
        assert chart is not None
        svg = chart.svg()
        assert "<script>" not in svg
        assert '"&"' not in svg


def test_pictures_hold_charts_side_by_side_on_white() -> None:
    one = bar_chart("one", [0, 1], [1.0], x_label="x", mark=0.5)
    none = bar_chart("none", [0, 1], [0.0], x_label="x", mark=0.5)
    picture = pixels(one, none)
    blue = (picture == [int(COLOURS[0][place : place + 2], 16) for place in (1, 3, 5)]).all(axis=2).any(axis=0)
    half = picture.shape[1] // 2
    assert blue[:half].sum() > 100
    assert not blue[half:].any()
    assert (picture[0] == 255).all()
