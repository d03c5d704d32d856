"""A clean environment, and a `train` that trains nothing."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest

from distributed_il.core.config import TrainConfig
from distributed_il.runtime import opening


@pytest.fixture(autouse=True)
def no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own environment stays out of the tests."""
    for name in os.environ:
        if name.startswith("DISTRIBUTED_IL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def metrics() -> dict[str, Any]:
    """As they stand in metrics.json, two of them undefined."""
    return {
        "auc": 0.84,
        "gauc": 0.77,
        "ndcg@10": 0.95,
        "ndcg@20": 0.96,
        "mrr": 0.5,
        "logloss": None,
        "ece": float("nan"),
        "rows": 2000,
        "users": 30,
        "users_left_out": 3,
        "positives_share": 0.5,
    }


@pytest.fixture
def ranking() -> dict[str, Any]:
    """The rankings as they stand in metrics.json, some of them undefined."""
    names = ("recall", "ndcg", "hit_rate", "precision", "map", "mrr", "coverage", "popularity")
    measured = {f"{name}@{k}": 0.25 if k == 20 else None for k in (10, 20) for name in names}
    counts = {"users": 900, "users_left_out": 100, "users_with_positives": 1_234}
    return {**measured, **counts, "trivial": {"popularity": {**measured, "users": 900, "users_left_out": 100}}}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, metrics: dict[str, Any], ranking: dict[str, Any]) -> list[TrainConfig]:
    """Configurations that reached `start_run`, which here trains nothing."""
    configs: list[TrainConfig] = []

    def launch(config: TrainConfig) -> dict[str, Any]:
        configs.append(config)
        trivial = {"item_mean": metrics, "user_item_bias": metrics}
        run = {"rounds": 9, "best_round": 6}
        return {"valid": metrics, "test": metrics, "trivial": trivial, "ranking": ranking, "run": run}

    module = types.ModuleType("distributed_il.runtime.early_start")
    module.start_run = launch  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "distributed_il.runtime.early_start", module)
    monkeypatch.setattr(opening, "open_run", lambda config: None)
    return configs
