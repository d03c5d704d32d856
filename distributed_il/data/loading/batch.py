"""The input of a step: a batch of a phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from distributed_il.data.loading.index_plan import IndexPlan, Overlap

Subset = Literal["all", "train", "test"]


@dataclass(frozen=True, slots=True)
class Phase:
    """One pass of a round.

    Attributes:
        name: What people see.
        subset: Which labelled training rows it goes over: all, training-train or training-test.
        unlabelled: Whether its batches carry unlabelled pairs.
        joined: Whether rows and pairs go through the model together.
    """

    name: str
    subset: Subset
    unlabelled: bool
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Unlabelled pairs drawn for a batch, `rate` of them for each labelled row.

    Attributes:
        user_ids: int64 [B·rate].
        item_ids: int64 [B·rate].
        weight: 1 for a pair, 0 where the user has observed every item and there was nothing to draw, float [B·rate].
        rate: Pairs for each labelled row.
        fallback_pairs: How many of them were sampled because the user has no logged pair.
        undrawable: How many could not be drawn.
        plan: Of these pairs, if it was made ahead.
        overlap: Of the labelled rows with these pairs, if it was made ahead.
    """

    user_ids: Tensor
    item_ids: Tensor
    weight: Tensor
    rate: int
    fallback_pairs: int = 0
    undrawable: int = 0
    plan: IndexPlan | None = None
    overlap: Overlap | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """This rank's part of a global batch.

    Attributes:
        user_ids: int64 [B].
        item_ids: int64 [B].
        labels: 0 or 1, float [B].
        row_numbers: Global number of each row in the training data, int64 [B].
        unlabelled: The pairs drawn for it; None where the phase uses none.
        global_count: Labelled rows of the global batch, the same on every rank.
        capacity: Most labelled rows that any rank has of it, the same on every rank.
        plan: Of its rows, followed by the unlabelled pairs where the phase joins them; if it was made ahead.
    """

    user_ids: Tensor
    item_ids: Tensor
    labels: Tensor
    row_numbers: Tensor
    unlabelled: Unlabelled | None
    global_count: int
    capacity: int
    plan: IndexPlan | None = None

    @property
    def plans(self) -> list[IndexPlan]:
        """The plans made ahead, of its rows and of its pairs."""
        made = (self.plan, self.unlabelled and self.unlabelled.plan)
        return [plan for plan in made if plan is not None]
