"""The arithmetic of a step between its gathers and its exchanges: pure functions of tensors, which can be compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from distributed_il.methods.losses import inverse_dual_loss, log_loss, weighted_sum
from distributed_il.models.backbones import Backbone
from distributed_il.models.embedding.embedding_store import PairRows, RowDeltas
from distributed_il.models.learner import PassResult

BatchLoss = Callable[..., tuple[Tensor, Tensor]]
"""A loss of a batch, the same function at every step. From the logits of labelled rows followed by those of their
unlabelled pairs, [n], the labels, [B], and the method's extras to the log losses to report, [B], and the scalar to
minimise: a sum over the rows, of which the step makes the mean over all ranks. Where rows have weights it is given them
as `weights`, [B], and the sum is of w·ℓ; those to report have none."""


def summed_log_loss(logits: Tensor, labels: Tensor, *, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Computes Σ ℓ(x, y), or Σ w·ℓ(x, y); see `BatchLoss`."""
    losses = log_loss(logits, labels)
    return losses, weighted_sum(losses, weights)


def losses_of(
    loss: BatchLoss, logits: Tensor, labels: Tensor, extras: Sequence[Tensor], weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Calls a `BatchLoss`; one that does not know of weights is called as ever where there are none."""
    if weights is None:
        return loss(logits, labels, *extras)
    return loss(logits, labels, *extras, weights=weights)


def labelled_pass(
    tower: Backbone,
    rows: PairRows,
    labels: Tensor,
    scale: Tensor,
    loss: BatchLoss = summed_log_loss,
    extras: tuple[Tensor, ...] = (),
    weights: Tensor | None = None,
) -> PassResult:
    """Computes the log losses of labelled pairs and the gradient of scale · the loss, Σ ℓ(x, y) unless told otherwise.

    Args:
        tower: The backbone.
        rows: The rows of the pairs, unlabelled ones last.
        labels: 0 or 1, float [B].
        scale: Scalar.
        loss: What is minimised.
        extras: The method's extras, which the loss may depend on.
        weights: Of the labelled rows, float [B]; None for none.
    """
    rows = _as_leaves(rows)
    extras = tuple(weight.detach().requires_grad_() for weight in extras)
    losses, total = losses_of(loss, _logits(tower, rows), labels, extras, weights)
    return _pass_result(losses, tower, (rows.users, rows.items), total * scale, extras)


def dual_pass(tower: Backbone, rows: PairRows, weight: Tensor, scale: Tensor) -> PassResult:
    """Computes the logits of unlabelled pairs and the gradient of scale · Σ weight · dual loss(x) (Eq. 4).

    Args:
        tower: The backbone.
        rows: The rows of the pairs.
        weight: Of each pair, float [B].
        scale: Scalar.
    """
    rows = _as_leaves(rows)
    logits = _logits(tower, rows)
    dual = (inverse_dual_loss(logits) * weight).sum() * scale
    return _pass_result(logits, tower, (rows.users, rows.items), dual)


class Candidate(NamedTuple):
    """One candidate on a training-test batch, with the graph that its gradient comes from."""

    users: Tensor  # its weights of each pair's user row, a leaf [B, user_dim]
    items: Tensor  # the same for items
    losses: Tensor  # log loss of each pair, [B]


def candidate_passes(towers: Sequence[Backbone], rows: PairRows, deltas: RowDeltas, labels: Tensor) -> list[Candidate]:
    """Computes the log losses under θ − δ, θ and θ + δ.

    Args:
        towers: The three towers.
        rows: θ's rows of the pairs.
        deltas: δ of the same rows.
        labels: 0 or 1, float [B].
    """
    candidates: list[Candidate] = []
    for tower, (user, item) in zip(towers, _candidate_rows(rows, deltas), strict=True):
        leaves = user.requires_grad_(), item.requires_grad_()
        candidates.append(Candidate(*leaves, log_loss(tower(*leaves, *rows.codes), labels)))
    return candidates


def candidate_sums(
    towers: Sequence[Backbone], rows: PairRows, deltas: RowDeltas, labels: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Sums the log losses under θ − δ, θ and θ + δ without a graph, float64 [3]; arguments as in `candidate_passes`.

    Where rows have weights, float [B], these are sums of w·ℓ.
    """
    pairs = zip(towers, _candidate_rows(rows, deltas), strict=True)
    with torch.no_grad():
        losses = [log_loss(tower(user, item, *rows.codes), labels) for tower, (user, item) in pairs]
        return torch.stack([_float64_sum(part, weights) for part in losses])


def _float64_sum(losses: Tensor, weights: Tensor | None) -> Tensor:
    return weighted_sum(losses.to(torch.float64), weights)


def chosen_pass(
    tower: Backbone, chosen: Candidate, rows: PairRows, scale: Tensor, weights: Tensor | None = None
) -> PassResult:
    """Computes the gradient of scale · Σ w·ℓ under a candidate, from the graph that its losses left."""
    total = weighted_sum(chosen.losses, weights) * scale
    found = _pass_result(chosen.losses, tower, (chosen.users, chosen.items), total)
    users = torch.zeros_like(rows.users).index_add_(0, rows.user_inverse, found.users)
    items = torch.zeros_like(rows.items).index_add_(0, rows.item_inverse, found.items)
    return found._replace(users=users, items=items)


def _as_leaves(rows: PairRows) -> PairRows:
    return rows._replace(users=rows.users.detach().requires_grad_(), items=rows.items.detach().requires_grad_())


def _logits(tower: Backbone, rows: PairRows) -> Tensor:
    user, item = rows.users.index_select(0, rows.user_inverse), rows.items.index_select(0, rows.item_inverse)
    return tower(user, item, *rows.codes)


def _pass_result(
    values: Tensor, tower: Backbone, leaves: tuple[Tensor, Tensor], loss: Tensor, extras: tuple[Tensor, ...] = ()
) -> PassResult:
    users, items, *parameters = torch.autograd.grad(loss, [*leaves, *tower.parameters(), *extras])
    return PassResult(values.detach(), users, items, tuple(parameters))


def _candidate_rows(rows: PairRows, deltas: RowDeltas) -> list[tuple[Tensor, Tensor]]:
    """Returns each pair's rows under θ − δ, θ and θ + δ."""
    user, item = rows.users.index_select(0, rows.user_inverse), rows.items.index_select(0, rows.item_inverse)
    by_user, by_item = deltas.users.index_select(0, rows.user_inverse), deltas.items.index_select(0, rows.item_inverse)
    return [(user - by_user, item - by_item), (user, item), (user + by_user, item + by_item)]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Direct, skip and inverse on one training-test batch."""

    sums: Tensor  # sums of log losses, of w·ℓ where rows have weights, float64 [3]
    # what the winner's gradient comes from by a backward pass alone; None where no graph was kept
    graphs: list[Candidate] | None


class Passes(Protocol):
    """Runs the arithmetic of a step between its exchanges."""

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
        """See `labelled_pass`."""
        ...

    def dual(self, tower: Backbone, rows: PairRows, weight: Tensor, scale: Tensor) -> PassResult:
        """See `dual_pass`."""
        ...

    def candidates(
        self,
        towers: Sequence[Backbone],
        rows: PairRows,
        deltas: RowDeltas,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Candidates:
        """See `candidate_passes` and `candidate_sums`."""
        ...


class EagerPasses:
    """Runs operation by operation. Candidates keep their graphs: running the winner again would cost more."""

    labelled = staticmethod(labelled_pass)
    dual = staticmethod(dual_pass)

    def candidates(
        self,
        towers: Sequence[Backbone],
        rows: PairRows,
        deltas: RowDeltas,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Candidates:
        graphs = candidate_passes(towers, rows, deltas, labels)
        return Candidates(torch.stack([_float64_sum(graph.losses.detach(), weights) for graph in graphs]), graphs)
