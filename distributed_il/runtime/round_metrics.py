"""The metrics of each round, told to Ray where there is a cluster to watch: to Ray Train, and to Ray's metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import ray.train
from ray.util.metrics import Gauge

from distributed_il.core.config import flat

_TAG = "run_dir"


class RoundMetrics:
    """Reports rounds; every rank has one and calls it after each round, since Ray Train waits for all of them.

    Ray Train hands what it is told to callbacks and keeps it with the run. Ray's dashboard draws nothing of that, but
    its metrics, which Prometheus and Grafana read of every node: rank 0 sets them, `ray_distributed_il_auc` and so on.
    Ray Train takes one report for each time that it looks after its workers, every two seconds, so rounds that are
    shorter wait for it.
    """

    def __init__(self, run_dir: str, rank: int) -> None:
        """Tells nothing yet.

        Args:
            run_dir: Names the run among others.
            rank: Of this worker.
        """
        self._run_dir, self._rank = run_dir, rank
        self._gauges: dict[str, Gauge] = {}

    def __call__(self, entry: Mapping[str, Any]) -> None:
        """Reports a round's entry of the history; what is no number or not finite is left out."""
        numbers = {
            name: value
            for name, value in flat(entry, separator="/").items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        ray.train.report(numbers)
        if self._rank == 0:
            for name, value in numbers.items():
                self._gauge(name).set(value, {_TAG: self._run_dir})

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            known = f"distributed_il_{re.sub('[^a-z0-9]', '_', name)}"
            self._gauges[name] = Gauge(known, f"{name} of the round finished last, on valid", tag_keys=(_TAG,))
        return self._gauges[name]
