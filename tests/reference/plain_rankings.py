"""Metrics of a ranking by their definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence


def metrics_of_order(relevant: Sequence[bool], positives: int, k: int) -> dict[str, float]:
    """Of items in one order, by the definitions."""
    places = [rank for rank, hit in enumerate(relevant[:k], start=1) if hit]
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(positives, k) + 1))
    return {
        "recall": len(places) / positives,
        "ndcg": sum(1 / math.log2(rank + 1) for rank in places) / ideal,
        "hit_rate": float(bool(places)),
        "precision": len(places) / k,
        "map": sum(number / rank for number, rank in enumerate(places, start=1)) / min(positives, k),
        "mrr": 1 / places[0] if places else 0.0,
    }
