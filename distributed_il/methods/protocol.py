"""The protocol that all methods follow."""

from __future__ import annotations

from typing import Protocol

from distributed_il.data.loading.batch import Batch, Phase
from distributed_il.methods.branches import Branch
from distributed_il.methods.steps.decision import StepReport
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.tower import Extra, Tower


class Method(Protocol):
    """A training method: the passes of a round, and the step of each batch.

    One of the user's is a class with these parts that is named as `method.name: module:Class`. It also has `Config`, a
    frozen dataclass of its settings, which are given as `method.*`; it is built as `Class(settings)`.

    Attributes:
        phases: The passes of a round, in order.
        test_share: Share of the labelled training rows in training-test; 0 where all phases go over all rows.
    """

    phases: tuple[Phase, ...]
    test_share: float

    def step(self, executor: StepExecutor, batch: Batch) -> StepReport:
        """Takes one optimiser step. Every rank calls it with its part of the same global batch."""
        ...


def extras_of(method: Method) -> dict[str, Extra]:
    """Returns the weights that a method learns beside the backbone's, by name, as its attribute `extras` has them."""
    return getattr(method, "extras", {})


def branches_of(method: Method) -> tuple[Branch, ...]:
    """Returns the ways to take the first pass of a round between which a method lets training-test decide.

    Such a method has `branches`; the phase of the first of them is the first of its `phases`. Empty for any other.
    """
    return getattr(method, "branches", ())


def half_width_of(method: Method, tower: Tower) -> float | None:
    """Returns t of a method whose logits have cut points at ±t (`ordinal_loss`), as the tower stands.

    Such a method has a function `half_width(tower: Tower) -> float`. None for any other, whose logits are served as
    they are.
    """
    found = getattr(method, "half_width", None)
    return None if found is None else float(found(tower))


def weighs_rows(method: Method) -> bool:
    """Returns whether a method of the user's says that its mean is one of `batch.weights`, by its `weighs_rows`."""
    return bool(getattr(method, "weighs_rows", False))
