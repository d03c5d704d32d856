"""The input of a step: a batch of a phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives, sum_over_ranks
from distributed_il.data.loading.index_plan import IndexPlan, Overlap

Subset = Literal["all", "train", "test"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One pass of a round."""

    name: str  # what people see
    subset: Subset  # which labelled training rows it goes over: all, training-train or training-test
    unlabelled: bool  # whether its batches carry unlabelled pairs
    joined: bool = False  # whether rows and pairs go through the model together
    trial: bool = False  # whether it may be taken back: then no checkpoint and no curve tells of its steps


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Unlabelled pairs drawn for a batch, `rate` of them for each labelled row."""

    user_ids: Tensor  # int64 [B·rate]
    item_ids: Tensor  # int64 [B·rate]
    # 1 for a pair, or its row's weight; 0 where the user has observed every item and there was nothing to draw,
    # float [B·rate]
    weight: Tensor
    rate: int  # pairs for each labelled row
    fallback_pairs: int = 0  # how many of them were sampled because the user has no logged pair
    undrawable: int = 0  # how many could not be drawn
    plan: IndexPlan | None = None  # of these pairs, if it was made ahead
    overlap: Overlap | None = None  # of the labelled rows with these pairs, if it was made ahead


@dataclass(frozen=True, slots=True)
class Batch:
    """This rank's part of a global batch."""

    user_ids: Tensor  # int64 [B]
    item_ids: Tensor  # int64 [B]
    labels: Tensor  # 0 or 1, float [B]
    row_numbers: Tensor  # global number of each row in the training data, int64 [B]
    unlabelled: Unlabelled | None  # the pairs drawn for it; None where the phase uses none
    global_count: int  # labelled rows of the global batch, the same on every rank
    capacity: int  # most labelled rows that any rank has of it, the same on every rank
    # of its rows, followed by the unlabelled pairs where the phase joins them; if it was made ahead
    plan: IndexPlan | None = None
    weights: Tensor | None = None  # of each row, above 0, float [B]; None where rows have no weights
    # Σ w over the rows of the global batch, the same on every rank; see `with_global_weights`
    global_weight: float | None = None

    @property
    def total_weight(self) -> float:
        """What a mean over the labelled rows of all ranks divides by: their number, or where they have weights, Σ w."""
        if self.weights is None:
            return self.global_count
        if self.global_weight is None:
            raise ValueError("the rows have weights, whose sum over all ranks is not known")
        return self.global_weight

    @property
    def joined_plan(self) -> IndexPlan:
        """The plan of the rows, followed by the unlabelled pairs where there are some."""
        if self.plan is not None:
            return self.plan
        pairs = self.unlabelled
        if pairs is None:
            return IndexPlan.of(self.user_ids, self.item_ids)
        return IndexPlan.of(torch.cat([self.user_ids, pairs.user_ids]), torch.cat([self.item_ids, pairs.item_ids]))

    @property
    def joined_capacity(self) -> int:
        """Most rows and pairs together that any rank has of it."""
        return self.capacity * (1 if self.unlabelled is None else 1 + self.unlabelled.rate)

    @property
    def plans(self) -> list[IndexPlan]:
        """The plans made ahead, of its rows and of its pairs."""
        made = (self.plan, self.unlabelled and self.unlabelled.plan)
        return [plan for plan in made if plan is not None]


def with_global_weights(window: Sequence[Batch], collectives: Collectives) -> list[Batch]:
    """Tells batches whose rows have weights what these sum to over all ranks, with one collective for all of them."""
    mine = torch.stack([_weight_of(batch) for batch in window])
    sums = sum_over_ranks(collectives, mine).tolist()
    return [replace(batch, global_weight=weight) for batch, weight in zip(window, sums, strict=True)]


def _weight_of(batch: Batch) -> Tensor:
    assert batch.weights is not None
    return batch.weights.to(torch.float64).sum()
