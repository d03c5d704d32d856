"""What the data rule out: runs that would be refused, or would only repeat a simpler one."""

from __future__ import annotations

from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.methods import make_method
from distributed_il.runtime.sweep.space import Space
from distributed_il.training.exposure_factors import resolve_factors
from distributed_il.training.feedback import check_feedback, resolve_feedback
from distributed_il.training.pair_sampler import pair_sampler
from distributed_il.training.warm_start import find_warm_start

_FACTORS = "model.factors"


class DataLimits:
    """Says which runs are worth a trial on a dataset.

    Attributes:
        reasons: Why some were not, each once.
    """

    def __init__(self, dataset: Dataset, space: Space, base: TrainConfig) -> None:
        """Reads what it takes of a dataset; `base` is the run whose settings the space changes.

        Raises:
            UserError: There is no run to start from where one is named.
        """
        self._dataset = dataset
        self._origin = None if base.run.start_from is None else find_warm_start(base.run.start_from)[1]
        self._tries_none = any(domain.key == _FACTORS and 0 in domain.values for domain in space.domains)
        self.reasons: list[str] = []

    def allow(self, config: TrainConfig) -> bool:
        """Returns whether a run is worth a trial."""
        reason = self._reason(config)
        if reason is not None and reason not in self.reasons:
            self.reasons.append(reason)
        return reason is None

    def _reason(self, config: TrainConfig) -> str | None:
        try:
            config = resolve_feedback(config, self._dataset)
            check_feedback(config, self._dataset)
            resolved = resolve_factors(config, self._dataset, origin=self._origin)
            if any(phase.unlabelled for phase in make_method(config.method).phases):
                pair_sampler(config, self._dataset)
        except UserError as error:
            return str(error)
        if self._tries_none and config.model.factors and not resolved.model.factors:
            lacking = "no exposure factors" if self._dataset.factors() is None else "exposure factors without structure"
            return f"{_FACTORS} is {config.model.factors}, but the dataset has {lacking}, and it would mean 0"
        return None
