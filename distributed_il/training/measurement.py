"""What a run measures of its model: valid after each round, by which it is chosen, and valid and test at the end."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from distributed_il.core.collectives import Collectives
from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import BlockReader, Dataset
from distributed_il.evaluation.output import Output
from distributed_il.evaluation.selection import RANKING, Selection
from distributed_il.evaluation.split_ranking import USERS_OF_A_ROUND, SplitRanking, most_users
from distributed_il.evaluation.split_scores import SplitReader, score_split
from distributed_il.models.learner import Learner


class MeasuredRound(NamedTuple):
    """Valid after a round."""

    metrics: dict[str, Any]
    """Of labelled rows, and where they are wanted, of the ranking over all unseen items."""
    output: Output
    """What would be served of the model's logits."""
    value: float
    """The metric that rounds are chosen by."""


class Measurement:
    """Measures the model of one rank; all ranks call each method together, when the model's rows are up to date."""

    def __init__(
        self, config: TrainConfig, dataset: Dataset, *, reader: BlockReader, learner: Learner, collectives: Collectives
    ) -> None:
        """Reads nothing yet.

        Args:
            config: Says what rounds are chosen by and who is ranked.
            dataset: What is measured on.
            reader: Reads its rows.
            learner: The model.
            collectives: The ranks.
        """
        rank, world = collectives.rank, collectives.world_size
        self.splits = {
            name: SplitReader(dataset, reader, name, rank=rank, world_size=world) for name in ("valid", "test")
        }
        self.selection = Selection(config.run.select_by)
        self._config, self._dataset = config.evaluation, dataset
        self._learner, self._collectives = learner, collectives
        self._ranking: SplitRanking | None = None  # of valid

    def of_round(self, half_width: float | None) -> MeasuredRound:
        """Measures the validation split, and fits what is served to it.

        Args:
            half_width: t, where the method has one.

        Raises:
            UserError: The metric that rounds are chosen by is not defined on these rows; on every rank.
        """
        scores = score_split(self._learner, self.splits["valid"], self._collectives)
        output = scores.fit(half_width)
        metrics: dict[str, Any] = scores.metrics(output)
        ranking = self._valid_ranking()
        if ranking is not None:
            metrics[RANKING] = ranking.of(self._learner)
        value = self.selection.value(metrics)
        if not math.isfinite(value):
            raise UserError(
                f"run.select_by is {self.selection.key}, which is {value} on the valid split; set it to "
                "calibrated_logloss, or prepare a dataset with more validation rows"
            )
        return MeasuredRound(metrics, output, value)

    def of_run(self, output: Output) -> dict[str, Any]:
        """Measures a finished run's best model.

        Args:
            output: What is served of its logits.

        Returns:
            `valid`, `test`, `trivial`, the test metrics of what needs no model, and `ranking`, of the users of test.
        """
        valid = score_split(self._learner, self.splits["valid"], self._collectives).metrics(output)
        scores = score_split(self._learner, self.splits["test"], self._collectives)
        return {
            "valid": valid,
            "test": scores.metrics(output),
            "trivial": scores.baseline_metrics(self._dataset),
            RANKING: self._test_ranking(),
        }

    def _valid_ranking(self) -> SplitRanking | None:
        """Returns what ranks users of valid, built once; None where neither the choice nor the user asks for it."""
        cutoff = self.selection.cutoff
        if self._ranking is None and (cutoff is not None or self._config.users != "auto"):
            self._ranking = SplitRanking(
                self._dataset,
                self.splits["valid"],
                (),
                self._config,
                cutoffs=() if cutoff is None else (cutoff,),
                most=USERS_OF_A_ROUND,
                collectives=self._collectives,
                device=self._learner.device,
            )
        return self._ranking

    def _test_ranking(self) -> dict[str, Any]:
        """Ranks all unseen items for users of test, by the model and by what needs none."""
        ranking = SplitRanking(
            self._dataset,
            self.splits["test"],
            (self.splits["valid"],),
            self._config,
            most=most_users(self._dataset.num_items),
            collectives=self._collectives,
            device=self._learner.device,
        )
        return {**ranking.of(self._learner), "trivial": ranking.trivial()}
