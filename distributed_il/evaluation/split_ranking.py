"""The rankings of a split's users as a run measures them: how many users, which pairs are left out, beside what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from distributed_il.core.collectives import Collectives
from distributed_il.core.config import EvaluationConfig
from distributed_il.data.dataset import Dataset
from distributed_il.data.id_files.reading import items_of_file
from distributed_il.evaluation.full_ranking import OfUsers, measure_ranking
from distributed_il.evaluation.item_scores import CoOccurrence, ItemScores, ModelScores, Popularity
from distributed_il.evaluation.ranked_users import RankedUsers
from distributed_il.evaluation.split_scores import SplitReader
from distributed_il.models.learner import Learner

USERS_OF_A_ROUND = 1_000
MOST_PAIRS = 100_000_000
"""Pairs of users and items that are scored at the end of a run unless more are asked for: seconds, for most models."""


class SplitRanking:
    """Measures rankings of one split's users, always the same ones."""

    def __init__(
        self,
        dataset: Dataset,
        split: SplitReader,
        besides: Sequence[SplitReader],
        config: EvaluationConfig,
        *,
        cutoffs: Sequence[int] = (),
        most: int | None,
        collectives: Collectives,
        device: torch.device,
    ) -> None:
        """Chooses the users; all ranks call it together.

        Args:
            dataset: Whose training pairs and logged unclear pairs are left out.
            split: Its positives are relevant.
            besides: Splits whose pairs are left out, too.
            config: Each k, and how many users.
            cutoffs: Further k.
            most: Users at the most where `config` says auto.
            collectives: The ranks.
            device: Where collectives work.

        Raises:
            UserError: The file of candidates can't be read, or names no item of the dataset; on every rank.
        """
        self._dataset, self._collectives, self._device = dataset, collectives, device
        self._cutoffs = sorted({*config.ks, *cutoffs})
        self._item_positives = dataset.activity().item_positives
        if config.users != "auto":
            most = None if config.users == "all" else config.users
        self._sampled = config.candidates if isinstance(config.candidates, int) else None
        given = config.candidate_file
        allowed = None if given is None else items_of_file(given, dataset)
        self._users = RankedUsers(
            dataset,
            split,
            besides,
            most=most,
            sampled=self._sampled,
            allowed=allowed,
            collectives=collectives,
            device=device,
        )
        self._given = None if allowed is None else self._users.num_candidates

    def of(self, learner: Learner, of_users: OfUsers | None = None) -> dict[str, Any]:
        """Measures a model whose rows are up to date; all ranks call it together.

        Args:
            learner: The model.
            of_users: Told the metrics of each user of this rank.

        Returns:
            What `measure_ranking` returns; `users_with_positives`, those in the split, chosen or not; and where not all
            items are candidates, `sampled_candidates`, how many are drawn for each user, or `given_candidates`, of how
            many items the given list is.
        """
        return self.of_scores(ModelScores(learner, self._dataset), of_users)

    def of_scores(self, scores: ItemScores, of_users: OfUsers | None = None) -> dict[str, Any]:
        """Measures what ranks items by other scores, as `of` does; all ranks call it together."""
        found: dict[str, Any] = self._measured(scores, of_users)
        found["users_with_positives"] = self._users.with_positives
        marks = {"sampled_candidates": self._sampled, "given_candidates": self._given}
        return found | {name: number for name, number in marks.items() if number is not None}

    def trivial(self) -> dict[str, dict[str, Any]]:
        """Measures what needs no model for the same users; all ranks call it together.

        Returns:
            `popularity`, and `item_co_occurrence` where counting it does not take too long.
        """
        found = {"popularity": self._measured(Popularity(self._dataset))}
        observed, items = self._dataset.observed(), self._dataset.num_items
        if not CoOccurrence.takes_too_much(observed, items, self._users.chosen):
            scores = CoOccurrence(observed, items, collectives=self._collectives, device=self._device)
            found["item_co_occurrence"] = self._measured(scores)
        return found

    def _measured(self, scores: ItemScores, of_users: OfUsers | None = None) -> dict[str, float]:
        return measure_ranking(
            self._users,
            scores,
            self._item_positives,
            cutoffs=self._cutoffs,
            collectives=self._collectives,
            device=self._device,
            of_users=of_users,
        )


def most_users(num_items: int) -> int:
    """Returns how many users are ranked at the end of a run unless another number is asked for."""
    return max(USERS_OF_A_ROUND, MOST_PAIRS // num_items)
