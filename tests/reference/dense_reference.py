"""The slow reference: whole models, dense gradients, Algorithm 1 word for word. No row is ever gathered or exchanged.

θ is a dense model: two whole embedding matrices and a tower. Everything is computed in the model's dtype.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distributed_il.data.loading.batch import Batch
from distributed_il.models.embedding.factored import MAPS, FactoredStore
from distributed_il.models.learner import Learner

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
DIRECT, SKIP, INVERSE = 0, 1, 2
RowLosses = Callable[[Tensor, Tensor], Tensor]


class WholeModel(nn.Module):
    """x = f(u, i; θ) from whole embedding matrices."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.users = nn.Parameter(learner.users.weight.detach().clone())
        self.items = nn.Parameter(learner.items.weight.detach().clone())
        self.tower = copy.deepcopy(learner.tower.module)
        # w_eff = w + Z·A for whole tables.
        self.maps = nn.ParameterList(_extras(learner, maps=True))
        self.extras = nn.ParameterList(_extras(learner, maps=False))
        self.factors = whole_factors(learner)
        self.codes = () if learner.features is None else (learner.features.users, learner.features.items)

    def forward(self, user_ids: Tensor, item_ids: Tensor) -> Tensor:
        codes = [table[ids] for table, ids in zip(self.codes, (user_ids, item_ids), strict=False)]
        tables = [self.users, self.items]
        for k, z in enumerate(self.factors):
            tables[k] = tables[k] + z @ self.maps[k]
        return self.tower(tables[0][user_ids], tables[1][item_ids], *codes)


def _extras(learner: Learner, *, maps: bool) -> list[Tensor]:
    """Copies of the tower's extras: the maps A, or what the method learns."""
    return [learner.tower.extra(name).detach().clone() for name in learner.tower.extras if (name in MAPS) == maps]


def whole_factors(learner: Learner) -> list[Tensor]:
    """z of every row: (raw / deviation), bounded, times the scale."""
    if not isinstance(learner.embeddings, FactoredStore):
        return []
    return [
        torch.clamp(side.raw.to(side.deviation.dtype) / side.deviation, -side.clip, side.clip) * side.scale
        for side in learner.embeddings.factors
    ]


def log_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """ℓ = −y log ŷ − (1 − y) log(1 − ŷ)."""
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")


def dual_losses(logits: Tensor) -> Tensor:
    """L = w1·p + w0·n, w1 = (n/p)/z, w0 = (p/n)/z, z = n/p + p/n, no gradient through the weights (Eq. 4)."""
    p, n = F.softplus(-logits), F.softplus(logits)
    z = n / p + p / n
    w1, w0 = (n / p / z).detach(), (p / n / z).detach()
    return w1 * p + w0 * n


class DenseReference:
    """One process that holds θ as one whole model and the moments of every weight.

    Rows that a batch does not touch stay as they are (lazy row-wise Adam); the step count is the optimiser's.
    """

    def __init__(self, learner: Learner) -> None:
        """Starts from a learner's weights, with fresh moments."""
        self.model = WholeModel(learner)
        self.learning_rate = learner.optimizer.learning_rate
        self.weight_decay = learner.optimizer.weight_decay
        self.factor_decay = learner.tower.extras[MAPS[0]].weight_decay if self.model.factors else 0.0
        self.first = [torch.zeros_like(p) for p in self.model.parameters()]
        self.second = [torch.zeros_like(p) for p in self.model.parameters()]
        self.t = 0

    def labelled_step(self, batch: Batch) -> float:
        """θ ← Adam(θ, ∇ mean log loss(θ)) on the batch."""
        loss = log_losses(self.model(batch.user_ids, batch.item_ids), batch.labels).mean()
        self.descend(loss, batch.user_ids, batch.item_ids)
        return float(loss.detach())

    def inverse_step(self, batch: Batch, *, alpha: float, direction: str) -> tuple[int, list[float]]:
        """One inverse step of Algorithm 1: (choice, losses of direct, skip and inverse)."""
        pairs = batch.unlabelled
        assert pairs is not None
        # 1. g = ∇ mean dual loss(θ) on the unlabelled batch
        dual = dual_losses(self.model(pairs.user_ids, pairs.item_ids)) * pairs.weight
        gradients = torch.autograd.grad(dual.sum() / pairs.weight.numel(), list(self.model.parameters()))
        # 2. δ = α · d(g); candidates θ − δ, θ, θ + δ
        if direction == "adam":
            gradients = tuple(g / (g.abs() + EPSILON) for g in gradients)
        candidates: dict[int, WholeModel] = {}
        for choice, sign in ((DIRECT, -1.0), (SKIP, 0.0), (INVERSE, 1.0)):
            candidates[choice] = copy.deepcopy(self.model)
            with torch.no_grad():
                for weight, g in zip(candidates[choice].parameters(), gradients, strict=True):
                    weight += sign * alpha * g
        # 3. the mean log loss of each on one labelled training-test batch
        with torch.no_grad():
            losses = [
                float(log_losses(candidates[choice](batch.user_ids, batch.item_ids), batch.labels).mean())
                for choice in (DIRECT, SKIP, INVERSE)
            ]
        # 4. the smallest wins; ties: skip, then direct, then inverse
        best = math.inf
        for choice in (SKIP, DIRECT, INVERSE):
            if losses[choice] < best:
                best, chosen = losses[choice], choice
        self.model = candidates[chosen]
        # 5. one ordinary labelled step from it on the same batch
        self.labelled_step(batch)
        return chosen, losses

    def descend(self, loss: Tensor, user_ids: Tensor, item_ids: Tensor) -> None:
        """One Adam step from a loss that touches these users and items, and every weight of the tower."""
        names = [name for name, _ in self.model.named_parameters()]
        parameters = list(self.model.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        self.t += 1
        for k, (name, w) in enumerate(zip(names, parameters, strict=True)):
            touched = torch.ones_like(w, dtype=torch.bool)
            if name in ("users", "items"):
                touched[:] = False
                touched[user_ids if name == "users" else item_ids] = True
            # g ← g + λw; m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; w ← w − γ m̂ / (√v̂ + ε)
            decay = {"maps": self.factor_decay, "extras": 0.0}.get(name.partition(".")[0], self.weight_decay)
            g = gradients[k] + decay * w.detach()
            m = BETA1 * self.first[k] + (1 - BETA1) * g
            v = BETA2 * self.second[k] + (1 - BETA2) * g**2
            update = m / (1 - BETA1**self.t) / (torch.sqrt(v / (1 - BETA2**self.t)) + EPSILON)
            self.first[k] = torch.where(touched, m, self.first[k])
            self.second[k] = torch.where(touched, v, self.second[k])
            with torch.no_grad():
                w -= torch.where(touched, self.learning_rate * update, torch.zeros_like(w))

    def distance(self, learner: Learner) -> float:
        """Largest difference between any weight of this θ and a learner's."""
        pairs = [(self.model.users, learner.users.weight), (self.model.items, learner.items.weight)]
        pairs += zip(self.model.tower.parameters(), learner.tower.parameters, strict=True)
        pairs += zip(self.model.maps, _extras(learner, maps=True), strict=True)
        pairs += zip(self.model.extras, _extras(learner, maps=False), strict=True)
        return max(float((ours - theirs).detach().abs().max()) for ours, theirs in pairs)

    def moment_distance(self, learner: Learner) -> float:
        """Largest difference between any moment of a table's row and a learner's."""
        gaps: list[float] = []
        for k, table in enumerate((learner.users, learner.items)):
            _, first, second = table.packed.chunk(3, dim=1)
            gaps += [float((self.first[k] - first).abs().max()), float((self.second[k] - second).abs().max())]
        return max(gaps)
