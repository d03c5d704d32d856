"""Watch time by interest: exact probabilities, and a time that follows from the interest."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distributed_il.data.prepare.simulate.interest import HIDDEN_SHARE, Interest, calibrate
from distributed_il.data.prepare.simulate.watches import LONG_VIEW_MS, SHORT_PLAY_MS, UNCLEAR, Watches

ROWS = 40_000


def watch(interest: Interest, logit: float, *, always_clear: bool = False) -> Watches:
    ids = np.arange(ROWS)
    return interest.watch(5, ids, ids % 7, np.full(ROWS, logit), np.full(ROWS, 60_000), np.full(ROWS, always_clear))


def test_preference_is_what_proportional_odds_say() -> None:
    # x = 0.5 + 0.2: P(z > 1) = σ(−0.3) = .42556, P(z < −1) = σ(−1.7) = .15447, and .42556 / .58003 = .73369.
    found = Interest(offset=0.2, half_width=1.0, broken_off=0.3).preferences(np.array([0.5, -0.2]))
    np.testing.assert_allclose(found, [0.73369, 0.5], atol=1e-5)


@pytest.mark.parametrize("always_clear", [False, True])
@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.0])
def test_label_of_a_clear_watch_is_one_as_often_as_the_preference_says(logit: float, always_clear: bool) -> None:
    interest = Interest(offset=0.3, half_width=0.8, broken_off=0.2)
    labels = watch(interest, logit, always_clear=always_clear).labels
    clear = labels[labels != UNCLEAR]
    preference = float(interest.preferences(np.array([logit]))[0])
    assert clear.mean() == pytest.approx(preference, abs=4 * math.sqrt(0.25 / len(clear)))
    # P(unclear) = P(|x + ε| ≤ t) + (1 − that) · 0.2
    x = logit + 0.3
    lukewarm = 1 / (1 + math.exp(-x - 0.8)) - 1 / (1 + math.exp(-x + 0.8))
    expected = 0.0 if always_clear else lukewarm + 0.2 * (1 - lukewarm)
    assert (labels == UNCLEAR).mean() == pytest.approx(expected, abs=4 * math.sqrt(0.25 / ROWS) * (expected > 0))


def test_who_likes_more_stays_longer_in_every_class() -> None:
    interest = Interest(offset=0.0, half_width=1.0, broken_off=0.0)
    liked, disliked = watch(interest, 1.0), watch(interest, -1.0)
    for label in (0, UNCLEAR):
        assert liked.play_ms[liked.labels == label].mean() > disliked.play_ms[disliked.labels == label].mean() + 20
    unclear = liked.play_ms[liked.labels == UNCLEAR]
    assert SHORT_PLAY_MS <= unclear.min() < unclear.max() < LONG_VIEW_MS


def test_a_watch_does_not_depend_on_those_beside_it() -> None:
    interest = Interest(offset=0.1, half_width=0.7, broken_off=0.1)
    ids = np.arange(1_001)
    logits, durations, clear = np.linspace(-3, 3, 1_001), ids * 50 + 4_000, ids % 3 == 0
    whole = interest.watch(1, ids, ids + 4, logits, durations, clear).play_ms
    for start in range(0, 1_001, 143):
        part = slice(start, start + 143)
        piece = interest.watch(1, ids[part], ids[part] + 4, logits[part], durations[part], clear[part])
        np.testing.assert_array_equal(piece.play_ms, whole[part])


@pytest.mark.parametrize(("positive_share", "unclear_share"), [(0.52, 1 / 3), (0.1, 0.6), (0.5, 0.0)])
def test_calibration_meets_the_shares(positive_share: float, unclear_share: float) -> None:
    logits = np.random.default_rng(0).normal(0.4, 1.9, ROWS)
    interest = calibrate(logits, positive_share=positive_share, unclear_share=unclear_share)
    ids = np.arange(ROWS)
    labels = interest.watch(2, ids, ids, logits, np.full(ROWS, 60_000), np.zeros(ROWS, dtype=np.bool_)).labels
    clear = labels != UNCLEAR
    assert labels[clear].mean() == pytest.approx(positive_share, abs=0.012)
    assert 1 - clear.mean() == pytest.approx(unclear_share, abs=0.01)
    # Broken off is a fifth of the unclear: (1 − lukewarm) · broken_off = 0.2 · unclear.
    lukewarm = unclear_share * (1 - HIDDEN_SHARE)
    assert (1 - lukewarm) * interest.broken_off == pytest.approx(HIDDEN_SHARE * unclear_share)
