"""The arithmetic of a step through torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from distributed_il.data.features import Features
from distributed_il.methods.steps.compiling import compiled
from distributed_il.methods.steps.eager import Candidates, EagerPasses, candidate_sums, dual_pass, labelled_pass
from distributed_il.models.backbones import Backbone
from distributed_il.models.embedding.embedding_store import Shifts, Tiles
from distributed_il.models.learner import PassResult

_ROWS = ("users", "items", "user_places", "item_places", "codes")
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

    def labelled(self, tower: Backbone, tiles: Tiles, labels: Tensor, scale: Tensor) -> PassResult:
        if _few(tiles):
            return self._eager.labelled(tower, tiles, labels, scale)
        return self._labelled(tower, *_detached(tiles), *tiles.places, labels, scale, tiles.codes(self._features))

    def dual(self, tower: Backbone, tiles: Tiles, weight: Tensor, scale: Tensor) -> PassResult:
        if _few(tiles):
            return self._eager.dual(tower, tiles, weight, scale)
        return self._dual(tower, *_detached(tiles), *tiles.places, weight, scale, tiles.codes(self._features))

    def candidates(self, towers: Sequence[Backbone], tiles: Tiles, shifts: Shifts, labels: Tensor) -> Candidates:
        if _few(tiles):
            return self._eager.candidates(towers, tiles, shifts, labels)
        rows = (*_detached(tiles), shifts.users, shifts.items, *tiles.places)
        sums = self._sums(tuple(towers), *rows, labels, tiles.codes(self._features))
        return Candidates(sums, None)

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
    return min(len(tensor) for tensor in (*tiles.leaves, tiles.places[0])) < FEWEST


def _detached(tiles: Tiles) -> tuple[Tensor, Tensor]:
    return tiles.users.weight.detach(), tiles.items.weight.detach()
