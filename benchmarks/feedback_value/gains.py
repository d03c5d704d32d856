"""What a row gains over the stronger baseline, and whether that could be chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.stats import ttest_rel

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Gain:
    """Of one row in one setting, seed by seed."""

    over: str
    """The baseline: of those given the one of the highest mean."""
    gains: tuple[float, ...]
    p: float
    """Of a paired t-test, two-sided; nan below two seeds, or where all gains are the same."""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.gains))


def gains_over(values: Mapping[str, Sequence[float]], baselines: Sequence[str]) -> dict[str, Gain]:
    """Compares all rows with the stronger baseline.

    Args:
        values: A metric by row, a value a seed, of the same seeds in the same order.
        baselines: Rows to compare with, those of them that there are.

    Returns:
        By row, the baselines among them; empty without a baseline.
    """
    there = [name for name in baselines if name in values]
    if not there:
        return {}
    best = max(there, key=lambda name: float(np.mean(values[name])))
    return {
        name: Gain(best, tuple(np.subtract(own, values[best]).tolist()), _paired(own, values[best]))
        for name, own in values.items()
        if name != best
    }


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Adjusts p values for being several: Holm, Scand. J. Stat. 6 (1979).

    The smallest of m counts m times, the next m − 1 times, …, none less than the one before it.

    Args:
        p_values: By name; nan stays nan and does not count.
    """
    known = sorted((name for name, p in p_values.items() if not math.isnan(p)), key=lambda name: p_values[name])
    counted = np.maximum.accumulate([p_values[name] * (len(known) - place) for place, name in enumerate(known)])
    return dict(p_values) | dict(zip(known, np.minimum(counted, 1.0).tolist(), strict=True))


def _paired(one: Sequence[float], other: Sequence[float]) -> float:
    differences = np.subtract(one, other)
    if differences.size < 2 or np.ptp(differences) == 0:
        return math.nan
    return float(ttest_rel(one, other).pvalue)
