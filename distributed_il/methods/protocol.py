"""The one protocol that all methods follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from distributed_il.learner import Learner
from distributed_il.methods.batch import Batch, StepReport

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


class Method(Protocol):
    """What happens in a step.

    Attributes:
        phases: The passes of a round, in order.
        test_share: Share of the labelled training rows in training-test; 0 where all phases go over all rows.
    """

    phases: tuple[Phase, ...]
    test_share: float

    def step(self, learner: Learner, batch: Batch) -> StepReport:
        """Takes one optimiser step. Every rank calls it with its part of the same global batch.

        Args:
            learner: The replica to train.
            batch: This rank's part.
        """
        ...
