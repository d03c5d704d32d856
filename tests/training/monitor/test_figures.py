"""The pictures of a run: their shape, and what must be seen in them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from distributed_il.training.monitor import WeightHistogram, decision_curve_figure, figures, weight_distribution_figure
from distributed_il.training.monitor.figures import COLOURS, Picture
from distributed_il.training.monitor.histories import NAMES


def pixels(picture: Picture, name: str) -> int:
    """Pixels of exactly a decision's colour."""
    colour = [int(COLOURS[name][place : place + 2], 16) for place in (1, 3, 5)]
    return int((picture == np.array(colour, dtype=np.uint8)).all(axis=2).sum())


def curve(choices: NDArray[np.int8], *, noise: float = 0.03, fall: float = 0.4) -> Picture:
    steps = np.arange(len(choices)) * 3 + 1
    losses = 0.3 + fall * np.exp(-steps / 900) + np.random.default_rng(0).normal(0, noise, len(choices))
    shares = {name: float((choices == code).mean()) for code, name in enumerate(NAMES)}
    picture = decision_curve_figure(steps, losses, choices, shares=shares)
    assert picture is not None
    return picture


def weights(values: NDArray[np.float64]) -> WeightHistogram:
    histogram = WeightHistogram()
    histogram.add(values)
    return histogram


def legend_pixels(name: str, points: int) -> int:
    """Pixels of a colour that the legend alone brings."""
    other = (NAMES.index(name) + 1) % 3
    return pixels(curve(np.full(points, other, dtype=np.int8)), name)


def assert_rgb(picture: Picture | None) -> None:
    assert picture is not None
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) >= 300
    assert (picture == 255).all(axis=2).mean() > 0.3  # a white ground, not black or transparent


@pytest.mark.parametrize("count", [1, 12, 1000])
def test_decision_curve_is_an_rgb_picture(count: int) -> None:
    assert_rgb(curve(np.zeros(count, dtype=np.int8)))


@pytest.mark.parametrize("count", [30, 3000])
@pytest.mark.parametrize("name", NAMES)
def test_every_decision_shows_its_colour_among_the_points(name: str, count: int) -> None:
    # Alternating decisions: all three must colour more than their mark in the legend does.
    picture = curve((np.arange(count) % 3).astype(np.int8))
    assert pixels(picture, name) > legend_pixels(name, count) + 50


@pytest.mark.parametrize("name", NAMES)
def test_three_rare_decisions_are_seen_among_thousands(name: str) -> None:
    # At one height the marks of the common decision overlap without a gap, so that nothing beneath them shows.
    rare = NAMES.index(name)
    common = np.full(6000, (rare + 1) % 3, dtype=np.int8)
    mixed = common.copy()
    mixed[[1500, 3000, 4500]] = rare
    without, with_rare = (curve(choices, noise=0.0, fall=0.0) for choices in (common, mixed))
    assert pixels(with_rare, name) >= pixels(without, name) + 6


def test_shares_of_rare_decisions_are_not_rounded_away() -> None:
    assert [figures._percent(share) for share in (0.0, 0.001, 0.01, 0.254, 0.99, 0.999, 1.0)] == [
        "0%",
        "<1%",
        "1%",
        "25%",
        "99%",
        ">99%",
        "100%",
    ]


def test_means_of_neighbours_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MEANS", 2)
    # Five points in two runs, 2 + 3: steps (1 + 2)/2 and (3 + 5 + 10)/3, losses (1 + 2)/2 and (4 + 5 + 9)/3.
    steps, losses = figures._means(np.array([1, 2, 3, 5, 10]), np.array([1.0, 2.0, 4.0, 5.0, 9.0]))
    assert steps.tolist() == [1.5, 6.0]
    assert losses.tolist() == [1.5, 6.0]


def bar_columns(picture: Picture) -> NDArray[np.int64]:
    """For the left and the right half: columns that hold the bars' colour."""
    colour = np.array([int(COLOURS["direct"][place : place + 2], 16) for place in (1, 3, 5)], dtype=np.uint8)
    columns = (picture == colour).all(axis=2).any(axis=0)
    half = len(columns) // 2
    return np.array([columns[:half].sum(), columns[half:].sum()])


def test_a_spread_of_weights_is_wider_than_a_peak_and_first_stands_left() -> None:
    peak, spread = weights(np.full(1000, 0.5)), weights(np.linspace(0, 1, 1000))
    for first, last in ((peak, spread), (spread, peak)):
        picture = weight_distribution_figure(first, last)
        assert_rgb(picture)
        assert picture is not None
        left, right = bar_columns(picture)
        narrow, wide = (left, right) if first is peak else (right, left)
        # One bar of fifty against all fifty; the edges of bars are blended with the ground.
        assert 3 <= narrow <= 12
        assert wide > 200


def test_an_empty_round_draws_no_bars() -> None:
    picture = weight_distribution_figure(weights(np.array([0.1, 0.9])), WeightHistogram())
    assert_rgb(picture)
    assert picture is not None
    left, right = bar_columns(picture)
    assert left > 0
    assert right == 0


def test_the_same_data_make_the_same_picture() -> None:
    choices = (np.arange(500) % 3).astype(np.int8)
    np.testing.assert_array_equal(curve(choices), curve(choices))


def test_without_matplotlib_there_is_a_warning_and_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.warns(UserWarning, match=r"matplotlib is missing.*pip install distributed-il\[plots\]"):
        assert weight_distribution_figure(WeightHistogram(), WeightHistogram()) is None
    none = np.array([], dtype=np.int64)
    with pytest.warns(UserWarning, match="matplotlib is missing"):
        assert decision_curve_figure(none, none.astype(np.float64), none.astype(np.int8), shares={}) is None
