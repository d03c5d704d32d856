"""What a round tells Ray."""

from __future__ import annotations

import math
from typing import Any

import pytest

from distributed_il.runtime import round_metrics
from distributed_il.runtime.round_metrics import RoundMetrics


class Gauges:
    """Stands for Ray's metrics: what was set, by name."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.values: dict[str, Any] = {}

    def __call__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> Any:
        self.made.append(name)

        class Gauge:
            def set(_, value: float, tags: dict[str, str]) -> None:  # noqa: N805, self is the outer one
                assert tuple(tags) == tag_keys
                self.values[name] = value

        return Gauge()


def test_all_ranks_report_and_the_first_sets_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    gauges = Gauges()
    monkeypatch.setattr(round_metrics.ray.train, "report", reported.append)
    monkeypatch.setattr(round_metrics, "Gauge", gauges)
    ranks = [RoundMetrics("/runs/x", rank) for rank in (0, 1)]
    entry = {"round": 1, "auc": 0.8, "ece": math.nan, "ndcg@10": 0.9, "gauc": None, "ranking": {"recall@20": 0.1}}
    for number in (1, 2):
        for rank in ranks:
            rank({**entry, "round": number, "branches": {"chosen": "zero"}})
    told = {"auc": 0.8, "ndcg@10": 0.9, "ranking/recall@20": 0.1}
    assert reported == [{"round": number, **told} for number in (1, 1, 2, 2)]
    assert gauges.values == {
        "distributed_il_round": 2,
        "distributed_il_auc": 0.8,
        "distributed_il_ndcg_10": 0.9,
        "distributed_il_ranking_recall_20": 0.1,
    }
    assert len(gauges.made) == 4
