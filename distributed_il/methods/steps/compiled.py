"""The arithmetic of a step through torch.compile."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from distributed_il.methods.steps.eager import (
    BatchLoss,
    Candidates,
    EagerPasses,
    candidate_sums,
    dual_pass,
    labelled_pass,
    summed_log_loss,
)
from distributed_il.models.backbones import Backbone
from distributed_il.models.embedding.embedding_store import PairRows, RowDeltas
from distributed_il.models.learner import PassResult


class _TooOldError(Exception):
    """This torch can't compile `torch.autograd.grad`."""


F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F, *, any_length: Sequence[str], warn: Callable[[str], None]) -> F:
    """Compiles a function that asks for gradients; it happens at the first call, and again for other layouts.

    Args:
        function: Of tensors, and of tuples of tensors, by position, without a branch on their values.
        any_length: Its arguments whose tensors have a first dimension that the compiler must not take for a constant.
        warn: Told, once, why compilation failed.

    Returns:
        The compiled function. Where compilation fails, the function itself from then on.
    """
    positions = [position for position, name in enumerate(inspect.signature(function).parameters) if name in any_length]
    inner: Callable[..., Any] | None = None
    failed = False

    def call(*arguments: Any) -> Any:
        nonlocal inner, failed
        if failed:
            return function(*arguments)
        try:
            if inner is None:
                inner = _compile(function)
                given = tuple(arguments[position] for position in positions if position < len(arguments))
                for tensor in tensors_in(given):
                    _compiler().mark_dynamic(tensor, 0)
                with _shapes().patch(use_duck_shape=False):  # lengths that happen to be equal now differ later
                    return inner(*arguments)
            return inner(*arguments)
        except _failures() as error:
            # Raised before anything is computed, so that no tensor is half changed.
            failed = True
            warn(f"the step is not compiled, and slower for it: {str(error).strip().splitlines()[0]}")
            return function(*arguments)

    return cast(F, call)


def tensors_in(value: Any) -> list[Tensor]:
    """Lists the tensors of a record: a tensor, or a tuple of records; anything else holds none."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, tuple) else []


def _compiler() -> Any:
    """Imports torch's compiler, which takes as long as the rest of torch: not for processes that compile nothing."""
    from torch import _dynamo

    return _dynamo


def _shapes() -> Any:
    from torch.fx.experimental import _config

    return _config


def _failures() -> tuple[type[Exception], ...]:
    exc = _compiler().exc
    return exc.TorchDynamoException, exc.FailOnRecompileLimitHit, _TooOldError


def _compile(function: F) -> F:
    config = _compiler().config
    if not hasattr(config, "trace_autograd_ops"):
        raise _TooOldError(f"torch {torch.__version__} can't compile torch.autograd.grad; torch 2.13 can")
    # New, and still switched off by default.
    config.trace_autograd_ops = True
    compile: Any = torch.compile  # its annotations know neither bound methods nor this option
    return compile(
        function,
        fullgraph=True,
        dynamic=False,  # but for the lengths marked: what another model in this process had does not count
        # What a function closes over never changes, and no other compilation of it is looked at, so that only what
        # differs from batch to batch needs looking at before each call: that takes a fifth of a step otherwise.
        isolate_recompiles=True,
        options={"guard_filter_fn": torch.compiler.keep_portable_guards_unsafe},
    )


FEWEST = 2
"""Lengths of 0 and 1 would each be compiled apart; such batches run eagerly."""


class CompiledPasses:
    """Runs each pass as one compiled function, for any number of rows and pairs.

    No graph of the candidates outlives its function, so the winner is run again on the rows that were moved to it.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._eager = EagerPasses()
        self._labelled = compiled(labelled_pass, any_length=("rows", "labels", "weights"), warn=warn)
        self._dual = compiled(dual_pass, any_length=("rows", "weight"), warn=warn)
        self._sums = compiled(candidate_sums, any_length=("rows", "deltas", "labels", "weights"), warn=warn)

    def labelled(
        self,
        tower: Backbone,
        rows: PairRows,
        labels: Tensor,
        scale: Tensor,
        loss: BatchLoss = summed_log_loss,
        extras: tuple[Tensor, ...] = (),
        weights: Tensor | None = None,
    ) -> PassResult:
        run = self._eager.labelled if _few(rows) or len(labels) < FEWEST else self._labelled
        return run(tower, rows, labels, scale, loss, extras, weights)

    def dual(self, tower: Backbone, rows: PairRows, weight: Tensor, scale: Tensor) -> PassResult:
        run = self._eager.dual if _few(rows) else self._dual
        return run(tower, rows, weight, scale)

    def candidates(
        self,
        towers: Sequence[Backbone],
        rows: PairRows,
        deltas: RowDeltas,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Candidates:
        if _few(rows):
            return self._eager.candidates(towers, rows, deltas, labels, weights)
        return Candidates(self._sums(tuple(towers), rows, deltas, labels, weights), None)


def _few(rows: PairRows) -> bool:
    return min(len(rows.users), len(rows.items), len(rows.user_inverse)) < FEWEST
