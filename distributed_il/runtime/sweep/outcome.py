"""The outcome of a sweep: each trial's validation metrics, read from its directory, and the best trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.files import read_run_file
from distributed_il.evaluation.metric_columns import metric_text
from distributed_il.report.render import setting_text
from distributed_il.runtime.sweep.trial import FAILED
from distributed_il.training.checkpoint import CheckpointStore


@dataclass(frozen=True, eq=False, slots=True)
class Trial:
    """One trial.

    Attributes:
        name: Of its directory.
        settings: Its own settings, by key; all others are shared.
        config: Its run.
        history: Validation metrics of each finished round.
        failed: Why it ended with an error; None where it did not.
    """

    name: str
    settings: Mapping[str, Any]
    config: TrainConfig
    history: Sequence[Mapping[str, Any]]
    failed: str | None

    @property
    def losses(self) -> list[float]:
        """Validation log loss of each finished round."""
        return [float(entry["logloss"]) for entry in self.history]

    @property
    def best_loss(self) -> float:
        """Lowest validation log loss; infinite where there is none."""
        return min((loss for loss in self.losses if math.isfinite(loss)), default=math.inf)

    @property
    def best_round(self) -> int:
        """Round of the lowest loss, from 1; 0 where there is none."""
        return 0 if math.isinf(self.best_loss) else 1 + self.losses.index(self.best_loss)

    @property
    def at_best(self) -> Mapping[str, Any]:
        """Validation metrics of that round; empty where there is none."""
        return self.history[self.best_round - 1] if self.best_round else {}

    @property
    def ended(self) -> str:
        """Why it ended: `failed`, `all rounds`, `patience` or `stopped early`."""
        if self.failed is not None:
            return "failed"
        rounds, run = len(self.history), self.config.run
        if rounds >= run.max_rounds:
            return "all rounds"
        return "patience" if rounds - self.best_round >= run.patience else "stopped early"


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """What came of a sweep.

    Attributes:
        trials: All of them.
        best: That of lowest validation log loss.
        reference: The one that the space puts first, to compare the best with; None without one that has a model.
        results: The content of metrics.json of best and reference, by name; of no other the test split was read.
    """

    trials: Sequence[Trial]
    best: Trial
    reference: Trial | None
    results: Mapping[str, Mapping[str, Any]]

    @property
    def tested(self) -> dict[str, Mapping[str, Any]]:
        """Test metrics by predictor, those of the best first, then of the reference and of the baselines."""
        others = [] if self.reference in (None, self.best) else [self.reference]
        names = {f"trial {trial.name}": self.results[trial.name]["test"] for trial in (self.best, *others)}
        return {**names, **self.results[self.best.name]["trivial"]}


def read_trial(name: str, settings: Mapping[str, Any], config: TrainConfig) -> Trial:
    """Reads the metrics of a trial from its last checkpoint."""
    manifest = CheckpointStore(config.run.dir).manifest("last")
    history = [] if manifest is None else manifest["facts"]["course"]["history"]
    return Trial(name, settings, config, history, read_run_file(config.run.dir, FAILED))


def best_of(trials: Sequence[Trial]) -> Trial:
    """Returns the trial of lowest validation log loss, the first among equals; the test split plays no part.

    Raises:
        UserError: None has finished a round.
    """
    best = min(trials, key=lambda trial: trial.best_loss)
    if math.isinf(best.best_loss):
        reason = next((trial.failed for trial in trials if trial.failed), "none has finished a round")
        raise UserError(f"no trial of the sweep has a model: {reason}")
    return best


def trial_table(trials: Sequence[Trial], keys: Sequence[str]) -> list[list[str]]:
    """Lays out trials, the best first: name, settings of `keys`, then what `TABLE_ENDS` says."""
    return [
        [
            trial.name,
            *(setting_text(trial.settings.get(key, "–")) for key in keys),
            *(metric_text(trial.at_best.get(key)) for key in ("logloss", "auc", "gauc")),
            str(trial.best_round or "–"),
            str(len(trial.history)),
            trial.ended,
        ]
        for trial in sorted(trials, key=lambda trial: (trial.best_loss, trial.name))
    ]


TABLE_ENDS = ("valid log loss", "AUC", "GAUC", "best round", "rounds", "ended")
"""Headings of `trial_table` after those of the settings; the metrics are those of the best round on validation."""
