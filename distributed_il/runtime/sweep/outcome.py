"""The outcome of a sweep: each trial's validation metrics, read from its directory, and the best trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.files import read_run_file
from distributed_il.evaluation.metric_columns import METRICS, metric_text
from distributed_il.evaluation.selection import RANKING, Selection
from distributed_il.report.render import setting_text
from distributed_il.runtime.sweep.trial import FAILED
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.run_state import read_facts


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
    def selection(self) -> Selection:
        """What rounds and trials are chosen by, the same for all trials."""
        return Selection(self.config.run.select_by)

    @property
    def values(self) -> list[float]:
        """The validation metric that trials are chosen by, of each finished round."""
        return [self.selection.value(entry) for entry in self.history]

    @property
    def best_round(self) -> int:
        """Round of the best value, from 1; 0 where there is none."""
        place = self.selection.best(self.values)
        return 0 if place is None else place + 1

    @property
    def best_value(self) -> float:
        """The best value; NaN where there is none."""
        return self.values[self.best_round - 1] if self.best_round else math.nan

    @property
    def cost(self) -> float:
        """What is lowest for the best trial; infinite for one without a value."""
        return self.selection.cost(self.best_value)

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
        best: That of the best validation metric.
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

    @property
    def ranking(self) -> Mapping[str, Any]:
        """The rankings of the best trial for users of test."""
        return self.results[self.best.name][RANKING]


def read_trial(name: str, settings: Mapping[str, Any], config: TrainConfig) -> Trial:
    """Reads the metrics of a trial from its last checkpoint."""
    manifest = CheckpointStore(config.run.dir).manifest("last")
    history = [] if manifest is None else read_facts(manifest)[0].history
    return Trial(name, settings, config, history, read_run_file(config.run.dir, FAILED))


def best_of(trials: Sequence[Trial]) -> Trial:
    """Returns the trial of the best validation metric, the first among equals; the test split plays no part.

    Raises:
        UserError: None has finished a round.
    """
    best = min(trials, key=lambda trial: trial.cost)
    if not best.best_round:
        reason = next((trial.failed for trial in trials if trial.failed), "none has finished a round")
        raise UserError(f"no trial of the sweep has a model: {reason}")
    return best


def trial_table(trials: Sequence[Trial], keys: Sequence[str]) -> list[list[str]]:
    """Lays out trials, the best first: name, settings of `keys`, then what `table_ends` says."""
    shown = _shown(trials[0].selection) if trials else {}
    return [
        [
            trial.name,
            *(setting_text(trial.settings.get(key, "–")) for key in keys),
            *(metric_text(Selection(key).value(trial.at_best)) for key in shown),
            str(trial.best_round or "–"),
            str(len(trial.history)),
            trial.ended,
        ]
        for trial in sorted(trials, key=lambda trial: (trial.cost, trial.name))
    ]


def table_ends(selection: Selection) -> list[str]:
    """Returns the headings of `trial_table` after those of the settings; metrics are those of the best round."""
    return [*_shown(selection).values(), "best round", "rounds", "ended"]


def _shown(selection: Selection) -> dict[str, str]:
    """Headings by key: first the metric that trials are chosen by."""
    return {selection.key: f"valid {selection.name}"} | {
        key: METRICS[key] for key in ("auc", "gauc") if key != selection.key
    }
