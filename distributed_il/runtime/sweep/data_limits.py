"""What the data rule out: runs that would be refused, or would only repeat a simpler one."""

from __future__ import annotations

from distributed_il.core.config import TrainConfig
from distributed_il.data.dataset import Dataset
from distributed_il.methods import make_method


class DataLimits:
    """Says which runs are worth a trial on a dataset.

    Attributes:
        reasons: Why some were not, each once.
    """

    def __init__(self, dataset: Dataset) -> None:
        logged = dataset.logged()
        self._logs_nothing = logged is None or not logged.items.size
        self.reasons: list[str] = []

    def allow(self, config: TrainConfig) -> bool:
        """Returns whether a run is worth a trial."""
        reason = self._reason(config)
        if reason is not None and reason not in self.reasons:
            self.reasons.append(reason)
        return reason is None

    def _reason(self, config: TrainConfig) -> str | None:
        source, pairs = config.unlabelled.source, any(phase.unlabelled for phase in make_method(config.method).phases)
        if self._logs_nothing and pairs and source != "sampled":
            return f"unlabelled.source {source}, because the dataset has no logged unclear pairs"
        return None
