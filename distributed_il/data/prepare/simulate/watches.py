"""Watches of short videos: how long somebody stays, and what the `kuaishou` rule makes of it.

A watch ends in one of three ways. Who has made up their mind either stays (label 1) or skips (label 0); who has not
leaves somewhere between (no label). Given that a watch is clear, its label is 1 with exactly the probability that the
preference says, so the preference is the best prediction of a label that anybody can make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNCLEAR = -1

SHORT_PLAY_MS = 3_000
"""`short_time_play` of KuaiRand: a play below min(3 s, duration)."""
LONG_VIEW_MS = 18_000
"""`long_view` of KuaiRand: a play of 18 s, or of the whole video where that is shorter."""

MIN_DURATION_MS, MAX_DURATION_MS = 4_000, 300_000
"""Shortest and longest video. Above 3 s, so that every video has room for a stay that is neither skip nor long view."""
_MEDIAN_DURATION_MS, _DURATION_SIGMA = 25_000, 0.9
"""Lognormal durations: a median of 25 s, nine in ten between 6 s and 110 s."""

_DOUBT = 1.5
"""How much more the undecided leave unclear watches: the log-odds of an unclear watch at preference ½ above those
at 0 or 1."""
STAY_SHARE = 0.6
"""Mean stay beyond the long-view threshold, in durations: long videos are mostly left before their end, short ones
loop."""
MAX_LOOPS = 3
_SKIP_SHAPE = (2.0, 3.0)
"""Beta of a skip's length within the first 3 s: a second or so."""
_LIKED_SHAPE, _DISLIKED_SHAPE = (3.0, 2.0), (2.0, 3.0)
"""Beta of an unclear stay between skip and long view: who likes it stays longer, but the two overlap widely, so
the time hints at the preference and never settles it."""


@dataclass(frozen=True, slots=True)
class Watches:
    """What a log would show of some watches, and the label that the rule gives them.

    Attributes:
        play_ms: int64[n], play duration.
        labels: int8[n], 1, 0 or `UNCLEAR`.
    """

    play_ms: NDArray[np.int64]
    labels: NDArray[np.int8]


def kuaishou_labels(
    play_ms: NDArray[Any],
    duration_ms: NDArray[Any],
    *,
    short_play_ms: float = SHORT_PLAY_MS,
    long_view_ms: float = LONG_VIEW_MS,
) -> NDArray[np.int8]:
    """Turns watch times into feedback by the platform's own definitions.

    1 for a complete play or a long view (play ≥ min(duration, 18 s)), 0 for a short play (play < min(3 s, duration)),
    `UNCLEAR` for the rest.

    Args:
        play_ms: Numbers [n].
        duration_ms: Numbers [n], above 0.
        short_play_ms: In place of 3 s.
        long_view_ms: In place of 18 s.

    Returns:
        int8[n] of 1, 0 and `UNCLEAR`.
    """
    labels = np.full(len(play_ms), UNCLEAR, dtype=np.int8)
    labels[play_ms < np.minimum(short_play_ms, duration_ms)] = 0
    labels[play_ms >= np.minimum(long_view_ms, duration_ms)] = 1
    return labels


def draw_durations(rng: np.random.Generator, num_items: int) -> NDArray[np.int64]:
    """Draws the length of each video: int64[num_items], ms from `MIN_DURATION_MS` to `MAX_DURATION_MS`."""
    drawn = rng.lognormal(np.log(_MEDIAN_DURATION_MS), _DURATION_SIGMA, num_items)
    return np.clip(drawn, MIN_DURATION_MS, MAX_DURATION_MS).astype(np.int64)


def unclear_probabilities(preferences: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Probability that a watch stays unclear: σ(level + doubt · (1 − |2π − 1|)).

    It is the same for π and 1 − π, which is what keeps P(label = 1 | clear) equal to π.

    Args:
        preferences: float64[n], π in [0, 1].
        level: Log-odds of an unclear watch by somebody who is sure; −inf gives none.

    Returns:
        float64[n] in [0, 1].
    """
    doubt = 1.0 - np.abs(2.0 * preferences - 1.0)
    return 1.0 / (1.0 + np.exp(-(level + _DOUBT * doubt)))


def draw_watches(
    rng: np.random.Generator,
    preferences: NDArray[np.float64],
    duration_ms: NDArray[np.int64],
    *,
    unclear_level: float,
    always_clear: NDArray[np.bool_],
) -> Watches:
    """Draws how long each watch lasts: a like by its preference, then clear or not, then the time within that mode.

    Args:
        rng: Source of randomness.
        preferences: float64[n], π.
        duration_ms: int64[n].
        unclear_level: See `unclear_probabilities`.
        always_clear: bool[n], watches that may not stay unclear.

    Returns:
        Play times, and the labels that `kuaishou_labels` gives them.
    """
    num_watches = len(preferences)
    likes = rng.random(num_watches) < preferences
    unclear = (rng.random(num_watches) < unclear_probabilities(preferences, unclear_level)) & ~always_clear
    play_ms = np.empty(num_watches, dtype=np.int64)
    long_ms = np.minimum(LONG_VIEW_MS, duration_ms)

    stays = np.flatnonzero(likes & ~unclear)
    lingering = rng.exponential(STAY_SHARE, len(stays)) * duration_ms[stays]
    play_ms[stays] = np.minimum(long_ms[stays] + lingering, MAX_LOOPS * duration_ms[stays]).astype(np.int64)

    skips = np.flatnonzero(~likes & ~unclear)
    play_ms[skips] = (rng.beta(*_SKIP_SHAPE, len(skips)) * SHORT_PLAY_MS).astype(np.int64)

    for shape, who in ((_LIKED_SHAPE, likes), (_DISLIKED_SHAPE, ~likes)):
        between = np.flatnonzero(who & unclear)
        room = long_ms[between] - SHORT_PLAY_MS
        play_ms[between] = SHORT_PLAY_MS + (rng.beta(*shape, len(between)) * room).astype(np.int64)
    return Watches(play_ms, kuaishou_labels(play_ms, duration_ms))
