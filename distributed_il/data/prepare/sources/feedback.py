"""Turns what a log recorded into feedback: clear positives, clear negatives, and the unclear rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.data.prepare.config import PrepareConfig, Rule
from distributed_il.data.prepare.simulate.watches import UNCLEAR, kuaishou_labels

_MS_PER_UNIT = {"ms": 1.0, "s": 1000.0}


def describe(rule: Rule, config: PrepareConfig) -> dict[str, Any]:
    """The rule with its thresholds, for the manifest."""
    thresholds: dict[Rule, tuple[str, ...]] = {
        "kuaishou": ("short_play_s", "long_view_s"),
        "watch_ratio": ("high_ratio", "low_ratio"),
        "rating": ("positive_above",),
        "binary": (),
    }
    return {"name": rule, **{name: getattr(config, name) for name in thresholds[rule]}}


def watch_labels(
    rule: Literal["kuaishou", "watch_ratio"],
    columns: Mapping[str, pa.Array],
    engagement: NDArray[np.bool_] | None,
    config: PrepareConfig,
) -> pa.Array:
    """Labels of watches.

    `kuaishou`, in this order: hate is 0; like, follow, comment or forward is 1; a complete play or long view is 1; a
    short play is 0; the rest is unclear. `watch_ratio`: at `high_ratio` and above 1, at `low_ratio` and below 0, else
    unclear. Where the duration is missing or 0, the watch time says nothing.

    Args:
        rule: Which of the two.
        columns: `play` and `duration` (float64, in the unit of the configuration), or `ratio`; `hate` (bool) where the
            log has it.
        engagement: bool [n], any like, follow, comment or forward; None where the log tells of none.
        config: Thresholds and unit.

    Returns:
        int8 with nulls where the feedback is unclear.
    """
    if rule == "watch_ratio":
        labels = _by_ratio(_ratios(columns), config)
    else:
        play, duration, known = _watch_times(columns, config)
        labels = kuaishou_labels(
            play, duration, short_play_ms=config.short_play_s * 1000, long_view_ms=config.long_view_s * 1000
        )
        labels[~known] = UNCLEAR
        if engagement is not None:
            labels[engagement] = 1
        if "hate" in columns:
            labels[columns["hate"].to_numpy(zero_copy_only=False)] = 0
    return pa.array(labels, mask=labels == UNCLEAR)


def _watch_times(
    columns: Mapping[str, pa.Array], config: PrepareConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Play and duration in ms, and whether there is a duration."""
    unit = _MS_PER_UNIT[config.watch_time_unit]
    duration = columns["duration"].fill_null(0.0).to_numpy() * unit
    return columns["play"].to_numpy() * unit, duration, duration > 0


def _ratios(columns: Mapping[str, pa.Array]) -> NDArray[np.float64]:
    """Watched share; NaN where there is no duration."""
    if "ratio" in columns:
        return columns["ratio"].to_numpy()
    duration = columns["duration"].fill_null(0.0).to_numpy()
    return np.divide(columns["play"].to_numpy(), duration, out=np.full(duration.size, np.nan), where=duration > 0)


def _by_ratio(ratios: NDArray[np.float64], config: PrepareConfig) -> NDArray[np.int8]:
    labels = np.full(ratios.size, UNCLEAR, dtype=np.int8)
    labels[ratios <= config.low_ratio] = 0
    labels[ratios >= config.high_ratio] = 1
    return labels


EDGES_S = (0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 18.0, 25.0, 35.0, 60.0, 120.0, 300.0)
"""Lower edges of the bins; the last one is open. The rule's own thresholds are among them."""
CLASSES = ("negative", "positive", "unclear")
"""What a watch can be, by number."""


class WatchTimes:
    """Numbers of watches by class and length."""

    def __init__(self) -> None:
        """None yet."""
        self.counts: NDArray[np.int64] = np.zeros((len(CLASSES), len(EDGES_S)), dtype=np.int64)
        """int64 [classes, bins]."""
        self.without_duration = 0
        """Watches whose duration is missing or 0."""

    def add(self, play: pa.Array, duration: pa.Array | None, labels: pa.Array, unit: str) -> None:
        """Counts watches.

        Args:
            play: float64 [n] from 0 up, without nulls.
            duration: float64 [n]; None where it is not read.
            labels: int8 [n], null where unclear.
            unit: `ms` or `s`.
        """
        if duration is not None:
            self.without_duration += int(np.count_nonzero(duration.fill_null(0.0).to_numpy() <= 0))
        seconds = play.to_numpy() / (1000.0 if unit == "ms" else 1.0)
        bins = np.searchsorted(EDGES_S, seconds, side="right") - 1
        classes = labels.fill_null(2).to_numpy()
        cells = classes.astype(np.int64) * len(EDGES_S) + bins
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)
