"""Which rows made a model: a ledger of the steps of a run through all its interruptions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.loading.batch import Batch
from distributed_il.methods import Method
from distributed_il.methods.steps.decision import StepReport
from distributed_il.methods.steps.executor import StepExecutor

Int64 = NDArray[np.int64]


class RowLedger:
    """The rows of each step that the model has in it.

    Attributes:
        computed: Rows of all steps, those included that were lost with a process and taken again.
    """

    def __init__(self) -> None:
        self.computed = 0
        self._steps: dict[int, list[Int64]] = {}
        self._lock = threading.Lock()

    def enter(self, step: int, rows: Int64) -> None:
        """Takes in one rank's part of an optimiser step.

        Args:
            step: Its number, from 1.
            rows: Global numbers of its rows.
        """
        with self._lock:
            self._steps.setdefault(step, []).append(rows)
            self.computed += len(rows)

    def go_back(self, step: int) -> None:
        """Strikes out the steps behind one, because the model has come back to it."""
        self._steps = {number: rows for number, rows in self._steps.items() if number <= step}

    def steps(self) -> dict[int, Int64]:
        """The rows of each step over all ranks, in order of their numbers."""
        return {number: np.sort(np.concatenate(rows)) for number, rows in sorted(self._steps.items())}

    @property
    def kept(self) -> int:
        """Rows of the steps that the model has in it."""
        return sum(len(rows) for rows in self.steps().values())

    def mistakes(self, rows: int, round_ends: Sequence[int]) -> list[str]:
        """Rounds that do not have every training row exactly once.

        Args:
            rows: Training rows of the dataset.
            round_ends: Last step of each round.
        """
        found: list[str] = []
        steps, first = self.steps(), 1
        if list(steps) != list(range(1, len(steps) + 1)):
            found.append(f"steps {list(steps)}")
        for number, last in enumerate(round_ends, start=1):
            parts = [steps[step] for step in range(first, last + 1) if step in steps]
            counts = np.bincount(np.concatenate(parts), minlength=rows)
            if len(counts) != rows or (counts != 1).any():
                found.append(f"round {number}: {(counts == 0).sum()} rows lost, {(counts > 1).sum()} doubled")
            first = last + 1
        return found


def unlike_steps(expected: RowLedger, found: RowLedger) -> list[str]:
    """Steps that had other rows in one run than in another, in words.

    Args:
        expected: The ledger of one run.
        found: That of the other.
    """
    ours, theirs = expected.steps(), found.steps()
    none = np.empty(0, dtype=np.int64)
    steps = sorted(ours.keys() | theirs.keys())
    unlike = [step for step in steps if not np.array_equal(ours.get(step, none), theirs.get(step, none))]
    return [f"step {step} had other rows" for step in unlike]


class LedgerMethod:
    """A method whose steps are entered in a ledger."""

    def __init__(self, method: Method, ledger: RowLedger, pause: Callable[[], None]) -> None:
        """Wraps a method.

        Args:
            method: What takes the steps.
            ledger: Where they go.
            pause: Called before and after each step.
        """
        self.phases, self.test_share = method.phases, method.test_share
        self._method, self._ledger, self._pause = method, ledger, pause
        if (half_width := getattr(method, "half_width", None)) is not None:
            self.half_width = half_width

    def step(self, executor: StepExecutor, batch: Batch) -> StepReport:
        self._pause()
        report = self._method.step(executor, batch)
        self._ledger.enter(executor.learner.step, batch.row_numbers.numpy())
        self._pause()
        return report
