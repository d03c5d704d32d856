"""The charts of a run, as pictures: their shape, and what must be seen in them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from distributed_il.core.drawing import COLOURS, pixels
from distributed_il.training.monitor import DecisionHistory, WeightHistogram, figures
from distributed_il.training.monitor.figures import STYLES, decision_chart, weight_chart
from distributed_il.training.monitor.histories import NAMES

Picture = NDArray[np.uint8]


def where(picture: Picture, name: str) -> NDArray[np.bool_]:
    """Pixels of exactly a decision's colour."""
    colour = COLOURS[STYLES[name]]
    return (picture == [int(colour[place : place + 2], 16) for place in (1, 3, 5)]).all(axis=2)


def curve(choices: NDArray[np.int8], *, noise: float = 0.03, fall: float = 0.4) -> Picture:
    steps = np.arange(len(choices)) * 3 + 1
    losses = 0.3 + fall * np.exp(-steps / 900) + np.random.default_rng(0).normal(0, noise, len(choices))
    history = DecisionHistory()
    for step, choice, loss in zip(steps.tolist(), choices.tolist(), losses.tolist(), strict=True):
        history.append(step, choice, (loss,) * 3)
    return pixels(decision_chart(history))


def weights(values: NDArray[np.float64]) -> Picture:
    histogram = WeightHistogram()
    histogram.add(values)
    return pixels(weight_chart("First round", histogram))


def legend_pixels(name: str, points: int) -> int:
    """Pixels of a colour that the legend alone brings."""
    other = (NAMES.index(name) + 1) % 3
    return int(where(curve(np.full(points, other, dtype=np.int8)), name).sum())


def assert_rgb(picture: Picture) -> None:
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
    assert where(picture, name).sum() > legend_pixels(name, count) + 50


@pytest.mark.parametrize("name", NAMES)
def test_three_rare_decisions_are_seen_among_thousands(name: str) -> None:
    # At one height the marks of the common decision overlap without a gap, so that nothing beneath them shows.
    rare = NAMES.index(name)
    common = np.full(6000, (rare + 1) % 3, dtype=np.int8)
    mixed = common.copy()
    mixed[[1500, 3000, 4500]] = rare
    without, with_rare = (curve(choices, noise=0.0, fall=0.0) for choices in (common, mixed))
    assert where(with_rare, name).sum() >= where(without, name).sum() + 6


def test_shares_of_rare_decisions_are_not_rounded_away() -> None:
    assert [figures._percent(share) for share in (0.0, 0.0001, 0.01, 0.254, 0.99, 0.9999, 1.0)] == [
        "0.0%",
        "<0.1%",
        "1.0%",
        "25.4%",
        "99.0%",
        ">99.9%",
        "100.0%",
    ]


def test_means_of_neighbours_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MEANS", 2)
    # Five points in two runs, 2 + 3: steps (1 + 2)/2 and (3 + 5 + 10)/3, losses (1 + 2)/2 and (4 + 5 + 9)/3.
    steps, losses = figures._means(np.array([1, 2, 3, 5, 10]), np.array([1.0, 2.0, 4.0, 5.0, 9.0]))
    assert steps.tolist() == [1.5, 6.0]
    assert losses.tolist() == [1.5, 6.0]


def test_a_spread_of_weights_is_wider_than_a_peak() -> None:
    peak, spread = weights(np.full(1000, 0.5)), weights(np.linspace(0, 1, 1000))
    assert_rgb(peak)
    narrow, wide = (where(picture, "direct").any(axis=0).sum() for picture in (peak, spread))
    # One bar of fifty against all fifty; the edges of bars are blended with the ground.
    assert 8 <= narrow <= 20
    assert wide > 600


def test_an_empty_round_draws_no_bars() -> None:
    picture = weights(np.zeros(0))
    assert_rgb(picture)
    assert not where(picture, "direct").any()


def test_the_same_data_make_the_same_picture() -> None:
    choices = (np.arange(500) % 3).astype(np.int8)
    np.testing.assert_array_equal(curve(choices), curve(choices))
