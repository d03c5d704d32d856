"""Turns what a log recorded into labels: positive, negative, or unclear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.data.prepare.config import PrepareConfig, Rule
from distributed_il.data.prepare.simulate.watches import UNCLEAR, kuaishou_labels

THRESHOLDS: dict[Rule, tuple[str, ...]] = {
    "kuaishou": ("short_play_s", "long_view_s"),
    "watch_ratio": ("high_ratio", "low_ratio"),
    "rating": ("positive_above", "negative_below"),
    "binary": (),
    "positive": (),
}
"""Options that a rule goes by."""
_MS_PER_UNIT = {"ms": 1.0, "s": 1000.0}


def describe(rule: Rule, config: PrepareConfig) -> dict[str, Any]:
    """Returns the rule with the thresholds that it has, for the manifest."""
    thresholds = {name: getattr(config, name) for name in THRESHOLDS[rule]}
    return {"name": rule, **{name: value for name, value in thresholds.items() if value is not None}}


def watch_labels(
    rule: Literal["kuaishou", "watch_ratio"],
    columns: Mapping[str, pa.Array],
    engagement: NDArray[np.bool_] | None,
    config: PrepareConfig,
) -> pa.Array:
    """Labels watches.

    `kuaishou`, in this order: hate is 0; like, follow, comment or forward is 1; a complete play or long view is 1; a
    short play is 0; the rest is unclear. `watch_ratio`: at `high_ratio` and above 1, at `low_ratio` and below 0, else
    unclear. Where the duration is missing or 0, no play is complete, and what the time alone tells still holds.

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
        play, duration = _watch_times(columns, config)
        labels = kuaishou_labels(
            play, duration, short_play_ms=config.short_play_s * 1000, long_view_ms=config.long_view_s * 1000
        )
        if engagement is not None:
            labels[engagement] = 1
        if "hate" in columns:
            labels[columns["hate"].to_numpy(zero_copy_only=False)] = 0
    return pa.array(labels, mask=labels == UNCLEAR)


def _watch_times(
    columns: Mapping[str, pa.Array], config: PrepareConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns play and duration in ms; an infinite duration where there is none, so that no play is complete."""
    unit = _MS_PER_UNIT[config.watch_time_unit]
    duration = columns["duration"].fill_null(0.0).to_numpy() * unit
    return columns["play"].to_numpy() * unit, np.where(duration > 0, duration, np.inf)


def _ratios(columns: Mapping[str, pa.Array]) -> NDArray[np.float64]:
    """Returns the watched shares; NaN where there is no duration."""
    if "ratio" in columns:
        return columns["ratio"].to_numpy()
    duration = columns["duration"].fill_null(0.0).to_numpy()
    return np.divide(columns["play"].to_numpy(), duration, out=np.full(duration.size, np.nan), where=duration > 0)


def _by_ratio(ratios: NDArray[np.float64], config: PrepareConfig) -> NDArray[np.int8]:
    labels = np.full(ratios.size, UNCLEAR, dtype=np.int8)
    labels[ratios <= config.low_ratio] = 0
    labels[ratios >= config.high_ratio] = 1
    return labels
