"""The arithmetic of a step through torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
import torch._dynamo as dynamo  # pyright: ignore[reportPrivateUsage] # where torch documents what is used of it
from torch import Tensor

from distributed_il.models import Backbone
from distributed_il.passes import Candidates, EagerPasses, PassResult, candidate_sums, dual_pass, labelled_pass
from distributed_il.row_store import Shifts, Tiles

F = TypeVar("F", bound=Callable[..., Any])
FEWEST_ROWS = 2
"""Sizes of 0 and 1 would each be compiled apart; such batches run eagerly."""


class CompiledPasses:
    """Each pass is one compiled function, for any number of rows and pairs.

    No graph of the candidates outlives its function, so the winner is run again on the rows that were moved to it.
    """

    def __init__(self) -> None:
        """Prepares compilation; it happens at the first call of each pass.

        Raises:
            RuntimeError: This torch can't compile a function that asks for gradients.
        """
        if not hasattr(dynamo.config, "trace_autograd_ops"):
            raise RuntimeError(f"torch {torch.__version__} can't compile torch.autograd.grad")
        self._eager = EagerPasses()
        self._labelled = _compiled(labelled_pass)
        self._dual = _compiled(dual_pass)
        self._candidate_sums = _compiled(candidate_sums)

    def labelled(self, tower: Backbone, tiles: Tiles, labels: Tensor, scale: Tensor) -> PassResult:
        if _few(tiles):
            return self._eager.labelled(tower, tiles, labels, scale)
        return self._labelled(tower, *_free(*tiles.leaves, *tiles.places, labels), scale)

    def dual(self, tower: Backbone, tiles: Tiles, weight: Tensor, scale: Tensor) -> PassResult:
        if _few(tiles):
            return self._eager.dual(tower, tiles, weight, scale)
        return self._dual(tower, *_free(*tiles.leaves, *tiles.places, weight), scale)

    def candidates(self, towers: Sequence[Backbone], tiles: Tiles, shifts: Shifts, labels: Tensor) -> Candidates:
        if _few(tiles):
            return self._eager.candidates(towers, tiles, shifts, labels)
        tensors = _free(*tiles.leaves, shifts.users, shifts.items, *tiles.places, labels)
        return Candidates(self._candidate_sums(tuple(towers), *tensors), None)

    def chosen(
        self,
        candidates: Candidates,
        choice: int,
        towers: Sequence[Backbone],
        tiles: Tiles,
        labels: Tensor,
        scale: Tensor,
    ) -> PassResult:
        if candidates.graphs is not None:
            return self._eager.chosen(candidates, choice, towers, tiles, labels, scale)
        return self.labelled(towers[1], tiles, labels, scale)


def _few(tiles: Tiles) -> bool:
    sizes = (*(len(leaf) for leaf in tiles.leaves), len(tiles.places[0]))
    return min(sizes) < FEWEST_ROWS


def _free(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors without autograd's mark, each of a length that the compiler must not take for a constant."""
    freed = tuple(tensor.detach() for tensor in tensors)
    for tensor in freed:
        dynamo.mark_dynamic(tensor, 0)
    return freed


def _compiled(function: F) -> F:
    compiled = torch.compile(function, fullgraph=True)

    def call(*arguments: Any) -> Any:
        # Asking for gradients inside a compiled function is new and still switched off by default.
        with dynamo.config.patch(trace_autograd_ops=True):
            return compiled(*arguments)

    return cast(F, call)
