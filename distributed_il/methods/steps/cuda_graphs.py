"""Whole steps of one process on a GPU as CUDA graphs: what is launched is one graph, not hundreds of kernels.

A graph is of fixed lengths. The distinct rows of a batch are never more than its pairs, so that their numbers are
filled up to the number of pairs with a spare row behind the table's last one: it is 0, no pair uses it, its gradient
is 0, and so it stays 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from distributed_il.data.loading.index_plan import IndexPlan, Overlap, UniqueIds
from distributed_il.methods.steps.compiled import tensors_in
from distributed_il.methods.steps.eager import BatchLoss, summed_log_loss
from distributed_il.methods.steps.fused import Evaluated, FusedSteps, InverseBatch
from distributed_il.models.learner import Learner

Function = TypeVar("Function", bound=Callable[..., Any])


class Graphs:
    """Functions as CUDA graphs, one for each function and each set of shapes that it is called with.

    Attributes:
        failed: Whether something could not be recorded. Nothing is replayed from then on.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.failed = False
        self._warn = warn

    def graphed(self, function: Function) -> Function:
        """Makes a function that is recorded at the second call with some shapes.

        Args:
            function: Of tensors on a device, and of tuples of tensors, by position; it does not wait for the device.
                The first argument is the same tensors at every call, and may be changed in place; later arguments
                that hold no tensors are the same at every call too.

        Returns:
            The function, replayed. Its results are overwritten by the next call with the same shapes.
        """
        records: dict[tuple[torch.Size, ...], _Record] = {}

        def call(fixed: Any, *arguments: Any) -> Any:
            if self.failed:
                return function(fixed, *arguments)
            tensors = tensors_in(arguments)
            shapes = tuple(tensor.shape for tensor in tensors)
            record = records.get(shapes)
            if record is None:
                record = records[shapes] = _Record(fixed, arguments)
                return warm_up(function, record.arguments)
            record.fill(tensors)
            if record.replay is None:
                try:
                    record.replay, record.results = capture(function, record.arguments)
                except RuntimeError as error:
                    # Nothing is computed while a function is recorded, so that no tensor is half changed.
                    self.failed = True
                    reason = str(error).strip() or type(error).__name__
                    self._warn(f"steps are no CUDA graphs, and slower for it: {reason.splitlines()[0]}")
                    return function(fixed, *arguments)
            record.replay()
            return record.results

        return cast(Function, call)


class _Record:
    """Memory that a graph reads from and writes to; a graph knows addresses, not tensors."""

    def __init__(self, fixed: Any, arguments: tuple[Any, ...]) -> None:
        copied = _copied(arguments)
        self.arguments = [fixed, *copied]
        self.replay: Callable[[], None] | None = None
        self.results: Any = None
        self._tensors = tensors_in(copied)

    def fill(self, tensors: Sequence[Tensor]) -> None:
        """Copies the tensors of a call to where the graph reads them."""
        for mine, given in zip(self._tensors, tensors, strict=True):
            mine.copy_(given)


def _copied(value: Any) -> Any:
    """Copies the tensors of a record; see `tensors_in`."""
    if isinstance(value, Tensor):
        return value.clone()
    if not isinstance(value, tuple):
        return value
    parts = [_copied(part) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def warm_up(function: Callable[..., Any], arguments: list[Any]) -> Any:
    """Calls a function as it is, beside the main stream, as CUDA asks before it is recorded.

    Whatever can't be recorded happens now: compilation, and the libraries' setting up.

    Args:
        function: The function.
        arguments: Where its graph will read from.
    """
    main, beside = torch.cuda.current_stream(), torch.cuda.Stream()
    beside.wait_stream(main)
    with torch.cuda.stream(beside):
        results = function(*arguments)
    main.wait_stream(beside)
    return results


def capture(function: Callable[..., Any], arguments: list[Any]) -> tuple[Callable[[], None], Any]:
    """Records a function; nothing is computed. Returns what computes it, and where its results lie afterwards."""
    graph = torch.cuda.CUDAGraph()
    # The thread that makes batches ahead goes on using the device; only this thread's calls are to be judged.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = function(*arguments)
    return graph.replay, results


class GraphedSteps:
    """`FusedSteps` whose full batches are replayed as CUDA graphs. Others, and all where that fails, run as there."""

    def __init__(self, learner: Learner, *, batch_size: int, warn: Callable[[str], None]) -> None:
        """Prepares compilation and recording; they happen at the first two calls of each function."""
        self._graphs = Graphs(warn)
        self._any = FusedSteps(learner, warn)
        self._full = self._any.through(self._graphs.graphed)
        self._batch_size, self._spares = batch_size, (learner.users.num_rows, learner.items.num_rows)

    @staticmethod
    def fits(labels: Tensor, *plans: IndexPlan) -> bool:
        """See `FusedSteps.fits`."""
        return FusedSteps.fits(labels, *plans)

    def plain(
        self,
        plan: IndexPlan,
        labels: Tensor,
        scale: float,
        step: int,
        loss: BatchLoss = summed_log_loss,
        weights: Tensor | None = None,
    ) -> Tensor:
        """See `FusedSteps.plain`."""
        if not self._is_full(labels):
            return self._any.plain(plan, labels, scale, step, loss, weights)
        return self._full.plain(self._filled_up(plan), labels, scale, step, loss, weights).clone()

    def evaluate_candidates(
        self, batch: InverseBatch, pair_scale: float, direction: Callable[[Tensor], Tensor], step: int
    ) -> Evaluated:
        """See `FusedSteps.evaluate_candidates`; what is returned, but for the logits, holds until the next call."""
        labels = batch.labels
        if not self._is_full(labels):
            return self._any.evaluate_candidates(batch, pair_scale, direction, step)
        batch = batch._replace(
            plan=self._filled_up(batch.plan),
            pairs=self._filled_up(batch.pairs),
            overlap=Overlap(*(_to_length(positions, len(labels), -1) for positions in batch.overlap)),
        )
        evaluated = self._full.evaluate_candidates(batch, pair_scale, direction, step)
        return evaluated._replace(logits=evaluated.logits.clone(), is_filled_up=True)

    def apply_delta(self, evaluated: Evaluated, sign: float, step: int) -> None:
        """See `FusedSteps.apply_delta`."""
        (self._full if evaluated.is_filled_up else self._any).apply_delta(evaluated, sign, step)

    def _filled_up(self, plan: IndexPlan) -> IndexPlan:
        return filled_up(self._any.with_factors(plan), self._spares)

    def _is_full(self, labels: Tensor) -> bool:
        return len(labels) == self._batch_size and not self._graphs.failed


def filled_up(plan: IndexPlan, spares: tuple[int, int]) -> IndexPlan:
    """Fills a plan up to as many row numbers as pairs, with the spare rows of users and of items."""

    def filled(side: UniqueIds, spare: int) -> UniqueIds:
        length, z = len(side.inverse), side.factors
        factors = None if z is None else F.pad(z, (0, 0, 0, length - len(z)))
        return UniqueIds(_to_length(side.ids, length, spare), side.inverse, factors)

    return IndexPlan(filled(plan.users, spares[0]), filled(plan.items, spares[1]))


def _to_length(values: Tensor, length: int, value: int) -> Tensor:
    return F.pad(values, (0, length - len(values)), value=value)
