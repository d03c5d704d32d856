"""The arithmetic of a step between its gathers and its exchanges: pure functions of tensors, which can be compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from distributed_il.data.features import Codes, Features
from distributed_il.methods.losses import inverse_dual_loss, log_loss
from distributed_il.models.backbones import Backbone
from distributed_il.models.embedding.embedding_store import GatheredBatch, Shifts
from distributed_il.models.learner import PassResult


def labelled_pass(
    tower: Backbone,
    users: Tensor,
    items: Tensor,
    user_inverse: Tensor,
    item_inverse: Tensor,
    labels: Tensor,
    scale: Tensor,
    codes: Codes,
) -> PassResult:
    """Gradient of scale · Σ ℓ(x, y).

    Args:
        tower: The backbone.
        users: Weights of distinct user rows, [U, user_dim].
        items: Weights of distinct item rows, [U', item_dim].
        user_inverse: Each pair's place in `users`, int64 [B].
        item_inverse: Each pair's place in `items`, int64 [B].
        labels: 0 or 1, float [B].
        scale: Scalar.
        codes: Side features of each pair, if the backbone takes such.
    """
    users, items = users.detach().requires_grad_(), items.detach().requires_grad_()
    losses = log_loss(tower(users.index_select(0, user_inverse), items.index_select(0, item_inverse), *codes), labels)
    gradients = torch.autograd.grad(losses.sum() * scale, [users, items, *tower.parameters()])
    return PassResult(losses.detach(), gradients[0], gradients[1], tuple(gradients[2:]))


def dual_pass(
    tower: Backbone,
    users: Tensor,
    items: Tensor,
    user_inverse: Tensor,
    item_inverse: Tensor,
    weight: Tensor,
    scale: Tensor,
    codes: Codes,
) -> PassResult:
    """Gradient of scale · Σ weight · dual loss(x) (Eq. 4); arguments as in `labelled_pass`.

    Args:
        tower: The backbone.
        users: Weights of distinct user rows, [U, user_dim].
        items: Weights of distinct item rows, [U', item_dim].
        user_inverse: int64 [B].
        item_inverse: int64 [B].
        weight: Of each pair, float [B].
        scale: Scalar.
        codes: Side features of each pair, if the backbone takes such.
    """
    users, items = users.detach().requires_grad_(), items.detach().requires_grad_()
    logits = tower(users.index_select(0, user_inverse), items.index_select(0, item_inverse), *codes)
    dual = (inverse_dual_loss(logits) * weight).sum() * scale
    gradients = torch.autograd.grad(dual, [users, items, *tower.parameters()])
    return PassResult(logits.detach(), gradients[0], gradients[1], tuple(gradients[2:]))


class Candidate(NamedTuple):
    """One candidate on a training-test batch, with the graph that its gradient comes from.

    Attributes:
        users: Its weights of each pair's user row, a leaf [B, user_dim].
        items: The same for items.
        losses: Log loss of each pair, [B].
    """

    users: Tensor
    items: Tensor
    losses: Tensor


def candidate_passes(
    towers: Sequence[Backbone],
    users: Tensor,
    items: Tensor,
    user_shift: Tensor,
    item_shift: Tensor,
    user_inverse: Tensor,
    item_inverse: Tensor,
    labels: Tensor,
    codes: Codes,
) -> list[Candidate]:
    """Log losses under θ − δ, θ and θ + δ.

    Args:
        towers: The three towers.
        users: θ of distinct user rows, [U, user_dim].
        items: θ of distinct item rows, [U', item_dim].
        user_shift: δ of the same rows.
        item_shift: δ of the same rows.
        user_inverse: int64 [B].
        item_inverse: int64 [B].
        labels: 0 or 1, float [B].
        codes: Side features of each pair, if the backbone takes such.
    """
    candidates: list[Candidate] = []
    rows = _candidate_rows(users, items, user_shift, item_shift, user_inverse, item_inverse)
    for tower, (user, item) in zip(towers, rows, strict=True):
        leaves = user.requires_grad_(), item.requires_grad_()
        candidates.append(Candidate(*leaves, log_loss(tower(*leaves, *codes), labels)))
    return candidates


def candidate_sums(
    towers: Sequence[Backbone],
    users: Tensor,
    items: Tensor,
    user_shift: Tensor,
    item_shift: Tensor,
    user_inverse: Tensor,
    item_inverse: Tensor,
    labels: Tensor,
    codes: Codes,
) -> Tensor:
    """Sums of log losses under θ − δ, θ and θ + δ: float64 [3], without a graph; arguments as in `candidate_passes`."""
    rows = _candidate_rows(users, items, user_shift, item_shift, user_inverse, item_inverse)
    with torch.no_grad():
        losses = [log_loss(tower(user, item, *codes), labels) for tower, (user, item) in zip(towers, rows, strict=True)]
        return torch.stack([part.to(torch.float64).sum() for part in losses])


def chosen_pass(
    tower: Backbone,
    chosen: Candidate,
    user_inverse: Tensor,
    item_inverse: Tensor,
    scale: Tensor,
    num_rows: tuple[int, int],
) -> PassResult:
    """Gradient of scale · Σ ℓ under a candidate, from the graph that its losses left.

    Args:
        tower: Its tower.
        chosen: The candidate.
        user_inverse: int64 [B].
        item_inverse: int64 [B].
        scale: Scalar.
        num_rows: Distinct user rows and item rows.
    """
    gradients = torch.autograd.grad(chosen.losses.sum() * scale, [chosen.users, chosen.items, *tower.parameters()])
    users = gradients[0].new_zeros((num_rows[0], gradients[0].shape[1])).index_add_(0, user_inverse, gradients[0])
    items = gradients[1].new_zeros((num_rows[1], gradients[1].shape[1])).index_add_(0, item_inverse, gradients[1])
    return PassResult(chosen.losses.detach(), users, items, tuple(gradients[2:]))


def _candidate_rows(
    users: Tensor, items: Tensor, user_shift: Tensor, item_shift: Tensor, user_inverse: Tensor, item_inverse: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Each pair's rows under θ − δ, θ and θ + δ."""
    user, item = users.detach().index_select(0, user_inverse), items.detach().index_select(0, item_inverse)
    user_delta, item_delta = user_shift.index_select(0, user_inverse), item_shift.index_select(0, item_inverse)
    return [(user - user_delta, item - item_delta), (user, item), (user + user_delta, item + item_delta)]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Direct, skip and inverse on one training-test batch.

    Attributes:
        sums: Sums of log losses, float64 [3].
        graphs: What the winner's gradient comes from by a backward pass alone; None where no graph was kept.
    """

    sums: Tensor
    graphs: list[Candidate] | None


class Passes(Protocol):
    """How the arithmetic of a step is run between its exchanges."""

    def labelled(self, tower: Backbone, gathered: GatheredBatch, labels: Tensor, scale: Tensor) -> PassResult:
        """See `labelled_pass`."""
        ...

    def dual(self, tower: Backbone, gathered: GatheredBatch, weight: Tensor, scale: Tensor) -> PassResult:
        """See `dual_pass`."""
        ...

    def candidates(
        self, towers: Sequence[Backbone], gathered: GatheredBatch, shifts: Shifts, labels: Tensor
    ) -> Candidates:
        """See `candidate_passes`."""
        ...

    def chosen(
        self,
        candidates: Candidates,
        choice: int,
        towers: Sequence[Backbone],
        gathered: GatheredBatch,
        labels: Tensor,
        scale: Tensor,
    ) -> PassResult:
        """Gradient of scale · Σ ℓ under the candidate that was chosen.

        Args:
            candidates: From `candidates`.
            choice: 0 direct, 1 skip, 2 inverse.
            towers: As given to `candidates`; the middle one is the chosen θ by now.
            gathered: The batch's rows, moved to the chosen θ.
            labels: 0 or 1, float [B].
            scale: Scalar.
        """
        ...


class EagerPasses:
    """Operation by operation. The three candidates keep their graphs: running the winner again would cost more."""

    def __init__(self, features: Features | None = None) -> None:
        """Takes the side features that the backbone is given, if any."""
        self._features = features

    def labelled(self, tower: Backbone, gathered: GatheredBatch, labels: Tensor, scale: Tensor) -> PassResult:
        return labelled_pass(tower, *gathered.leaves, *gathered.places, labels, scale, gathered.codes(self._features))

    def dual(self, tower: Backbone, gathered: GatheredBatch, weight: Tensor, scale: Tensor) -> PassResult:
        return dual_pass(tower, *gathered.leaves, *gathered.places, weight, scale, gathered.codes(self._features))

    def candidates(
        self, towers: Sequence[Backbone], gathered: GatheredBatch, shifts: Shifts, labels: Tensor
    ) -> Candidates:
        codes = gathered.codes(self._features)
        graphs = candidate_passes(towers, *gathered.leaves, shifts.users, shifts.items, *gathered.places, labels, codes)
        sums = torch.stack([graph.losses.detach().to(torch.float64).sum() for graph in graphs])
        return Candidates(sums, graphs)

    def chosen(
        self,
        candidates: Candidates,
        choice: int,
        towers: Sequence[Backbone],
        gathered: GatheredBatch,
        labels: Tensor,
        scale: Tensor,
    ) -> PassResult:
        assert candidates.graphs is not None
        num_rows = (len(gathered.users.weight), len(gathered.items.weight))
        return chosen_pass(towers[choice], candidates.graphs[choice], *gathered.places, scale, num_rows)
