"""What answers for users and items that a model does not know, and where such items are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.data.dataset import Activity
from distributed_il.evaluation.baselines import item_mean
from distributed_il.evaluation.output import Output
from distributed_il.models.embedding.factored import RowFactors

FALLBACKS = ("model", "item_mean", "overall_mean")
"""What a pair's score comes from: the model, where it knows user and item; as fallback the smoothed share of positives
of the item, where the model knows it, or that of all rows."""
MODEL, ITEM_MEAN, OVERALL_MEAN = range(len(FALLBACKS))
_SURE = 1e-6
"""A mean keeps this distance from 0 and 1, so that its logit is finite."""


class KnownIds(NamedTuple):
    """Whom a model knows: who has labelled training rows, and with exposure factors whoever has any exposure."""

    users: NDArray[np.bool_]  # bool [num_users]
    items: NDArray[np.bool_]  # bool [num_items]

    @classmethod
    def of(cls, activity: Activity, factors: Sequence[RowFactors] | None) -> KnownIds:
        """Finds them.

        Args:
            activity: Of the dataset that the model was trained on.
            factors: Of users and of items; None where the model takes none.
        """
        known = cls(activity.user_rows > 0, activity.item_rows > 0)
        for ids, side in zip(known, factors or (), strict=False):
            ids |= side.exposed()
        return known

    def fallbacks(self, user_ids: NDArray[np.int64], item_ids: NDArray[np.int64]) -> NDArray[np.int8]:
        """Returns what the scores of pairs come from: places in `FALLBACKS`, int8 [B]; nobody knows an id of −1."""
        known_user = (user_ids >= 0) & self.users[user_ids]
        known_item = (item_ids >= 0) & self.items[item_ids]
        return np.where(known_item, np.where(known_user, MODEL, ITEM_MEAN), OVERALL_MEAN).astype(np.int8)


class Priors(NamedTuple):
    """Raw logits of which a model's output makes the means over training rows."""

    items: NDArray[np.float64]  # of each item, smoothed, [num_items]
    overall: float  # of all rows

    @classmethod
    def of(cls, activity: Activity, output: Output) -> Priors:
        """Takes the means of a dataset's training rows, and what a model's output makes of its logits."""

        def raw(means: Any) -> NDArray[np.float64]:
            means = np.clip(means, _SURE, 1 - _SURE)
            return output.raw(torch.from_numpy(np.asarray(np.log(means) - np.log1p(-means)))).numpy()

        means = item_mean(activity.item_rows, activity.item_positives)
        return cls(raw(means), float(raw(activity.item_positives.sum() / activity.item_rows.sum())))

    def answered(self, logits: Tensor, fallbacks: NDArray[np.int8], item_ids: NDArray[np.int64]) -> Tensor:
        """Returns the logits of pairs, [B], with the priors in the places of those that the model does not know."""
        prior = np.where(fallbacks == ITEM_MEAN, self.items[item_ids], self.overall)
        return torch.where(torch.from_numpy(fallbacks == MODEL), logits, torch.from_numpy(prior).to(logits.dtype))


def rank_last(logits: Tensor, cold: Tensor) -> None:
    """Puts cold items behind all others, in place: their prior is on another scale than a model's logits.

    Args:
        logits: Of users and items, [U, I]; −∞ is left for what is no candidate.
        cold: Whether an item is unknown, bool [I].
    """
    if cold.any():
        logits[:, cold] = torch.finfo(logits.dtype).min
