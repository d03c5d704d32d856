"""Watch time by interest: the more somebody likes a video, the longer they stay, so that unclear means lukewarm.

The interest of a watch is its logit and a logistic surprise, z = x + ε. With a half width t above t the watch is a long
view (label 1), below −t a quick skip (label 0), and between them lukewarm: proportional odds with cut points ± t
(McCullagh: Regression models for ordinal data. J. R. Stat. Soc. B 42, 1980). Some watches are broken off whatever the
interest, and a clear view or skip is hidden among the lukewarm ones. A clear watch has label 1 with probability

    π = P(z > t) / (P(z > t) + P(z < −t)) = σ(s(x + t) − s(t − x)),   s(a) = log(1 + e^a),

the best prediction of it that anybody can make.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.prepare.simulate.bisection import solve
from distributed_il.data.prepare.simulate.population import sigmoid
from distributed_il.data.prepare.simulate.randomness import Purpose, uniforms
from distributed_il.data.prepare.simulate.watches import (
    LONG_VIEW_MS,
    MAX_LOOPS,
    SHORT_PLAY_MS,
    STAY_SHARE,
    Watches,
    kuaishou_labels,
)

HIDDEN_SHARE = 0.2
"""Share of the unclear watches that were broken off, and would have been clear."""
_ROUNDS, _BRACKET = 5, 30.0

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interest:
    """What a simulation adds to every pair.

    Attributes:
        offset: Log-odds of liking, added to all logits.
        half_width: t, at least 0.
        broken_off: Share of the watches beyond ± t that are broken off.
    """

    offset: float
    half_width: float
    broken_off: float

    def preferences(self, logits: Float64) -> Float64:
        """π, float64 [n], of logits without the offset."""
        x, t = logits + self.offset, self.half_width
        return sigmoid(np.logaddexp(0, x + t) - np.logaddexp(0, t - x))

    def watch(
        self,
        seed: int,
        users: Int64,
        items: Int64,
        logits: Float64,
        duration_ms: Int64,
        always_clear: NDArray[np.bool_],
    ) -> Watches:
        """Draws how long each watch lasts, by counter hash of user and item.

        Args:
            seed: Decides everything.
            users: int64 [n].
            items: int64 [n].
            logits: float64 [n], without the offset.
            duration_ms: int64 [n], at least `MIN_DURATION_MS`.
            always_clear: bool [n], watches that may neither be lukewarm nor broken off.

        Returns:
            Play times, and the labels that `kuaishou_labels` gives them.
        """
        x, t = logits + self.offset, self.half_width
        skipped, viewed = sigmoid(-x - t), sigmoid(x - t)
        height = uniforms(seed, Purpose.INTEREST, users, items)
        # A watch that is always clear leaves out what lies between, 1 − skipped − viewed.
        height[always_clear] *= (skipped + viewed)[always_clear]
        height[always_clear & (height >= skipped)] += (1 - skipped - viewed)[always_clear & (height >= skipped)]
        height = np.clip(height, 2**-54, 1 - 2**-53)
        interest = x + np.log(height) - np.log1p(-height)

        long_ms = np.minimum(LONG_VIEW_MS, duration_ms)
        between = (interest + t) / max(2 * t, 1e-9)
        broken_off = (uniforms(seed, Purpose.BROKEN_OFF, users, items) < self.broken_off) & ~always_clear
        at = np.flatnonzero(broken_off & (np.abs(interest) > t))
        between[at] = uniforms(seed, Purpose.BROKEN_OFF_AT, users[at], items[at])
        play_ms = SHORT_PLAY_MS + (np.clip(between, 0, 1) * (long_ms - SHORT_PLAY_MS)).astype(np.int64)
        play_ms = np.minimum(play_ms, long_ms - 1)

        views = np.flatnonzero((height > 1 - viewed) & ~broken_off)
        lingering = STAY_SHARE * np.maximum(interest[views] - t, 0) * duration_ms[views]
        play_ms[views] = np.minimum(long_ms[views] + lingering, MAX_LOOPS * duration_ms[views]).astype(np.int64)
        skips = np.flatnonzero((height < skipped) & ~broken_off)
        play_ms[skips] = (SHORT_PLAY_MS * np.exp(np.minimum(interest[skips] + t, 0))).astype(np.int64)
        play_ms[skips] = np.minimum(play_ms[skips], SHORT_PLAY_MS - 1)
        return Watches(play_ms, kuaishou_labels(play_ms, duration_ms))


def calibrate(logits: Float64, *, positive_share: float, unclear_share: float) -> Interest:
    """Solves for the levels on a sample of pairs, by bisection in turn: each depends on the other only weakly.

    Args:
        logits: float64 [n], of pairs that the policy shows.
        positive_share: That of positives among the clear watches, above 0 and below 1.
        unclear_share: That of unclear watches among all, from 0 to below 1.
    """
    lukewarm = (1 - HIDDEN_SHARE) * unclear_share
    offset, half_width = 0.0, 0.0
    for _ in range(_ROUNDS):
        if lukewarm > 0:
            half_width = solve(lambda t, x=logits + offset: lukewarm_share(x, t) - lukewarm, 0.0, _BRACKET)
        offset = solve(lambda c, t=half_width: _positive_share(logits + c, t) - positive_share, -_BRACKET, _BRACKET)
    return Interest(offset, half_width, HIDDEN_SHARE * unclear_share / (1 - lukewarm))


def lukewarm_share(x: Float64, half_width: float) -> float:
    """Mean of P(|x + ε| ≤ t)."""
    return float((sigmoid(x + half_width) - sigmoid(x - half_width)).mean())


def _positive_share(x: Float64, half_width: float) -> float:
    viewed, skipped = sigmoid(x - half_width).sum(), sigmoid(-x - half_width).sum()
    return float(viewed / (viewed + skipped))
