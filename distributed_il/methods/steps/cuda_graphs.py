"""Whole steps of one process on a GPU as CUDA graphs: what is launched is one graph, not hundreds of kernels.

A graph is of fixed lengths. The distinct rows of a batch are never more than its pairs, so that their numbers are
filled up to the number of pairs with a spare row behind the table's last one: it is 0, no pair uses it, its gradient
is 0, and so it stays 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from distributed_il.core.config import OptimizerConfig
from distributed_il.data.features import Features
from distributed_il.data.loading.index_plan import IndexPlan, Overlap, UniqueIds
from distributed_il.methods.steps.fused import STATE, FusedSteps, Look
from distributed_il.models.embedding.table import EmbeddingTable
from distributed_il.models.tower import Tower

Function = TypeVar("Function", bound=Callable[..., Any])


class Graphs:
    """Functions as CUDA graphs, one for each function and each set of shapes that it is called with.

    Attributes:
        failed: Whether something could not be recorded. Nothing is replayed from then on.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """Records nothing yet.

        Args:
            say: Told, once, why a function could not be recorded.
        """
        self.failed = False
        self._say = say

    def graphed(self, function: Function, *, fixed: int) -> Function:
        """Makes a function that is recorded at the second call with some shapes.

        Args:
            function: Of tensors on a device by position; it does not wait for the device.
            fixed: How many of its first arguments are the same tensors at every call; it may change them in place.
                Later ones that are no tensors are the same at every call too.

        Returns:
            The function, replayed. Its results are overwritten by the next call with the same shapes.
        """
        records: dict[tuple[torch.Size, ...], _Record] = {}

        def call(*arguments: Any) -> Any:
            if self.failed:
                return function(*arguments)
            shapes = tuple(value.shape for value in arguments[fixed:] if isinstance(value, Tensor))
            record = records.get(shapes)
            if record is None:
                record = records[shapes] = _Record(function, arguments, fixed)
                return warm_up(function, record.arguments)
            record.fill(arguments)
            if record.replay is None:
                try:
                    record.replay, record.results = capture(function, record.arguments)
                except RuntimeError as error:
                    # Nothing is computed while a function is recorded, so that no tensor is half changed.
                    self.failed = True
                    reason = str(error).strip() or type(error).__name__
                    self._say(f"steps are no CUDA graphs, and slower for it: {reason.splitlines()[0]}")
                    return function(*arguments)
            record.replay()
            return record.results

        return cast(Function, call)


class _Record:
    """Memory that a graph reads from and writes to; a graph knows addresses, not tensors."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], fixed: int) -> None:
        self.arguments = [
            value.clone() if place >= fixed and isinstance(value, Tensor) else value
            for place, value in enumerate(arguments)
        ]
        self.replay: Callable[[], None] | None = None
        self.results: Any = None
        self._fixed = fixed

    def fill(self, arguments: tuple[Any, ...]) -> None:
        """Copies the arguments of a call to where the graph reads them."""
        for mine, given in zip(self.arguments[self._fixed :], arguments[self._fixed :], strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(given)


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
    """Records a function; nothing is computed.

    Args:
        function: The function.
        arguments: Where the graph reads from.

    Returns:
        What computes it, and where its results lie afterwards.
    """
    graph = torch.cuda.CUDAGraph()
    # The thread that makes batches ahead goes on using the device; only this thread's calls are to be judged.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = function(*arguments)
    return graph.replay, results


@dataclass(frozen=True, slots=True)
class FullLook(Look):
    """What an inverse step with a full batch knows.

    Attributes:
        pairs: The unlabelled pairs, filled up as δ is.
    """

    pairs: IndexPlan


class GraphedSteps:
    """`FusedSteps` whose full batches are replayed as CUDA graphs. Others, and all where that fails, run as there."""

    def __init__(
        self,
        users: EmbeddingTable,
        items: EmbeddingTable,
        tower: Tower,
        optimizer: OptimizerConfig,
        *,
        batch_size: int,
        say: Callable[[str], None],
        features: Features | None = None,
    ) -> None:
        """Prepares compilation and recording; they happen at the first two calls of each function.

        Args:
            users: The user table.
            items: The item table.
            tower: The tower.
            optimizer: The `optimizer` section of the run.
            batch_size: Labelled rows of a full batch.
            say: Told why compilation or recording failed, if it does.
            features: Side features that the backbone is given, if any.
        """
        self._graphs = Graphs(say)
        self._any = FusedSteps(users, items, tower, optimizer, say, features)
        self._full = self._any.through(lambda function: self._graphs.graphed(function, fixed=STATE))
        self._batch_size, self._spares = batch_size, (users.num_rows, items.num_rows)

    @staticmethod
    def fits(*plans: IndexPlan) -> bool:
        """See `FusedSteps.fits`."""
        return FusedSteps.fits(*plans)

    def plain(self, plan: IndexPlan, labels: Tensor, scale: float, step: int) -> Tensor:
        """See `FusedSteps.plain`."""
        if not self._is_full(labels):
            return self._any.plain(plan, labels, scale, step)
        return self._full.plain(filled_up(plan, self._spares), labels, scale, step).clone()

    def look(
        self,
        pairs: IndexPlan,
        weight: Tensor,
        pair_scale: float,
        plan: IndexPlan,
        overlap: Overlap,
        labels: Tensor,
        direction: Callable[[Tensor], Tensor],
        step: int,
    ) -> Look:
        """See `FusedSteps.look`; what is returned, but for the logits, holds until the next call."""
        if not self._is_full(labels):
            return self._any.look(pairs, weight, pair_scale, plan, overlap, labels, direction, step)
        pairs, plan = filled_up(pairs, self._spares), filled_up(plan, self._spares)
        overlap = Overlap(_to_length(overlap.users, len(labels), -1), _to_length(overlap.items, len(labels), -1))
        look = self._full.look(pairs, weight, pair_scale, plan, overlap, labels, direction, step)
        return FullLook(look.logits.clone(), look.sums, look.deltas, pairs)

    def shift(self, look: Look, sign: float, pairs: IndexPlan, step: int) -> None:
        """See `FusedSteps.shift`."""
        if isinstance(look, FullLook):
            self._full.shift(look, sign, look.pairs, step)
        else:
            self._any.shift(look, sign, pairs, step)

    def _is_full(self, labels: Tensor) -> bool:
        return len(labels) == self._batch_size and not self._graphs.failed


def filled_up(plan: IndexPlan, spares: tuple[int, int]) -> IndexPlan:
    """A plan with as many row numbers as pairs.

    Args:
        plan: Of some pairs.
        spares: The row numbers to fill up with: of users, of items.
    """
    sides = zip((plan.users, plan.items), spares, strict=True)
    return IndexPlan(
        *(UniqueIds(_to_length(side.ids, len(side.inverse), spare), side.inverse) for side, spare in sides)
    )


def _to_length(values: Tensor, length: int, value: int) -> Tensor:
    return F.pad(values, (0, length - len(values)), value=value)
