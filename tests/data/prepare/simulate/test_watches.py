"""The watch-time model and the rule that labels it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distributed_il.data.prepare.simulate.watches import (
    LONG_VIEW_MS,
    MAX_DURATION_MS,
    MIN_DURATION_MS,
    SHORT_PLAY_MS,
    UNCLEAR,
    Watches,
    draw_durations,
    draw_watches,
    kuaishou_labels,
    unclear_probabilities,
)


@pytest.mark.parametrize(
    ("play_ms", "duration_ms", "label"),
    [
        (2_999, 60_000, 0),  # just below 3 s
        (3_000, 60_000, UNCLEAR),
        (17_999, 60_000, UNCLEAR),
        (18_000, 60_000, 1),  # a long view
        (9_999, 10_000, UNCLEAR),  # shorter than 18 s: only a complete play counts
        (10_000, 10_000, 1),
        (18_000, 18_000, 1),
        (17_999, 18_001, UNCLEAR),
        (1_999, 2_000, 0),  # shorter than 3 s: skipped unless complete
        (2_000, 2_000, 1),
        (0, 2_000, 0),
    ],
)
def test_rule_boundaries(play_ms: int, duration_ms: int, label: int) -> None:
    assert kuaishou_labels(np.array([play_ms]), np.array([duration_ms])).tolist() == [label]


def draw(preference: float, *, level: float = 0.0, rows: int = 20_000, always_clear: bool = False) -> Watches:
    rng = np.random.default_rng(0)
    return draw_watches(
        rng,
        np.full(rows, preference),
        draw_durations(rng, rows),
        unclear_level=level,
        always_clear=np.full(rows, always_clear),
    )


def test_durations_stay_within_their_limits() -> None:
    durations = draw_durations(np.random.default_rng(0), 20_000)
    assert durations.min() >= MIN_DURATION_MS > SHORT_PLAY_MS
    assert durations.max() <= MAX_DURATION_MS
    assert np.median(durations) == pytest.approx(25_000, rel=0.05)


@pytest.mark.parametrize("preference", [0.1, 0.5, 0.8])
def test_label_of_a_clear_watch_is_one_as_often_as_the_preference_says(preference: float) -> None:
    labels = draw(preference).labels
    clear = labels[labels != UNCLEAR]
    # Three standard errors of a share among at least 5,000 rows.
    assert clear.mean() == pytest.approx(preference, abs=3 * math.sqrt(0.25 / 5_000))


def test_unclear_probability_is_symmetric_and_largest_in_doubt() -> None:
    unclear = unclear_probabilities(np.array([0.0, 0.2, 0.5, 0.8, 1.0]), -0.5)
    assert unclear[2] > unclear[1] > unclear[0]
    np.testing.assert_allclose(unclear, unclear[::-1], rtol=1e-12)


def test_an_unclear_stay_hints_at_the_preference_but_does_not_settle_it() -> None:
    liked, disliked = (draw(preference, level=30.0).play_ms for preference in (1.0, 0.0))
    assert np.median(liked) > np.median(disliked)
    assert np.quantile(disliked, 0.9) > np.quantile(liked, 0.5)
    assert min(liked.min(), disliked.min()) >= SHORT_PLAY_MS
    assert max(liked.max(), disliked.max()) < LONG_VIEW_MS


def test_unclear_watches_can_be_ruled_out() -> None:
    assert (draw(0.5, level=-math.inf).labels != UNCLEAR).all()
    assert (draw(0.5, level=30.0, always_clear=True).labels != UNCLEAR).all()
