"""The arithmetic of a step through torch.compile."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch import _dynamo as dynamo
from torch._dynamo import exc
from torch.fx.experimental import _config

from distributed_il.data.features import Features
from distributed_il.methods.steps.eager import Candidates, EagerPasses, candidate_sums, dual_pass, labelled_pass
from distributed_il.models.backbones import Backbone
from distributed_il.models.embedding.embedding_store import GatheredBatch, Shifts
from distributed_il.models.learner import PassResult


class _TooOldError(Exception):
    """This torch can't compile what asks for gradients."""


_FAILURES = (exc.TorchDynamoException, exc.FailOnRecompileLimitHit, _TooOldError)
_shapes: Any = _config  # made at run time into something with `patch`
F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F, *, any_length: Sequence[str], say: Callable[[str], None]) -> F:
    """Compiles a function that asks for gradients; it happens at the first call, and again for other layouts.

    Args:
        function: Of tensors by position, without a branch on their values.
        any_length: Its arguments whose first dimension the compiler must not take for a constant; one may be a tuple
            of tensors, which all have such.
        say: Told, once, why compilation failed.

    Returns:
        The compiled function. Where compilation fails, the function itself from then on.
    """
    places = [place for place, name in enumerate(inspect.signature(function).parameters) if name in any_length]
    inner: Callable[..., Any] | None = None
    failed = False

    def call(*arguments: Any) -> Any:
        nonlocal inner, failed
        if failed:
            return function(*arguments)
        try:
            if inner is None:
                for place in places:
                    given = arguments[place]
                    for tensor in given if isinstance(given, tuple) else (given,):
                        dynamo.mark_dynamic(tensor, 0)
                inner = _compile(function)
                with _shapes.patch(use_duck_shape=False):  # lengths that happen to be equal now differ later
                    return inner(*arguments)
            return inner(*arguments)
        except _FAILURES as error:
            # Raised before anything is computed, so that no tensor is half changed.
            failed = True
            say(f"the step is not compiled, and slower for it: {str(error).strip().splitlines()[0]}")
            return function(*arguments)

    return cast(F, call)


def _compile(function: F) -> F:
    if not hasattr(dynamo.config, "trace_autograd_ops"):
        raise _TooOldError(f"torch {torch.__version__} can't compile torch.autograd.grad; torch 2.13 can")
    # New, and still switched off by default.
    dynamo.config.trace_autograd_ops = True
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


_ROWS = ("users", "items", "user_inverse", "item_inverse", "codes")
FEWEST = 2
"""Lengths of 0 and 1 would each be compiled apart; such batches run eagerly."""


class CompiledPasses:
    """Each pass is one compiled function, for any number of rows and pairs.

    No graph of the candidates outlives its function, so the winner is run again on the rows that were moved to it.
    """

    def __init__(self, say: Callable[[str], None], features: Features | None = None) -> None:
        """Prepares compilation; it happens at the first call of each pass.

        Args:
            say: Told why compilation failed, if it does.
            features: Side features that the backbone is given, if any.
        """
        self._eager, self._features = EagerPasses(features), features
        self._labelled = compiled(labelled_pass, any_length=(*_ROWS, "labels"), say=say)
        self._dual = compiled(dual_pass, any_length=(*_ROWS, "weight"), say=say)
        self._sums = compiled(candidate_sums, any_length=(*_ROWS, "user_shift", "item_shift", "labels"), say=say)

    def labelled(self, tower: Backbone, gathered: GatheredBatch, labels: Tensor, scale: Tensor) -> PassResult:
        if _few(gathered):
            return self._eager.labelled(tower, gathered, labels, scale)
        return self._labelled(
            tower, *_detached(gathered), *gathered.places, labels, scale, gathered.codes(self._features)
        )

    def dual(self, tower: Backbone, gathered: GatheredBatch, weight: Tensor, scale: Tensor) -> PassResult:
        if _few(gathered):
            return self._eager.dual(tower, gathered, weight, scale)
        return self._dual(tower, *_detached(gathered), *gathered.places, weight, scale, gathered.codes(self._features))

    def candidates(
        self, towers: Sequence[Backbone], gathered: GatheredBatch, shifts: Shifts, labels: Tensor
    ) -> Candidates:
        if _few(gathered):
            return self._eager.candidates(towers, gathered, shifts, labels)
        rows = (*_detached(gathered), shifts.users, shifts.items, *gathered.places)
        sums = self._sums(tuple(towers), *rows, labels, gathered.codes(self._features))
        return Candidates(sums, None)

    def chosen(
        self,
        candidates: Candidates,
        choice: int,
        towers: Sequence[Backbone],
        gathered: GatheredBatch,
        labels: Tensor,
        scale: Tensor,
    ) -> PassResult:
        if candidates.graphs is not None:
            return self._eager.chosen(candidates, choice, towers, gathered, labels, scale)
        return self.labelled(towers[1], gathered, labels, scale)


def _few(gathered: GatheredBatch) -> bool:
    return min(len(tensor) for tensor in (*gathered.leaves, gathered.places[0])) < FEWEST


def _detached(gathered: GatheredBatch) -> tuple[Tensor, Tensor]:
    return gathered.users.weight.detach(), gathered.items.weight.detach()
