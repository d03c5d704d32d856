"""The inverse step as the published program takes it: whole models, whole gradients, an optimiser over every row."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from distributed_il.data.loading.batch import Batch
from distributed_il.methods.losses import inverse_dual_loss, log_loss
from distributed_il.models.learner import Learner


class WholeModel(nn.Module):
    """x = f(u, i; θ) of two `nn.Embedding` and the backbone."""

    def __init__(self, learner: Learner) -> None:
        """Starts from a learner's weights.

        Args:
            learner: Whose model to copy.
        """
        super().__init__()
        self.users = nn.Embedding.from_pretrained(learner.users.weight.detach().clone(), freeze=False)
        self.items = nn.Embedding.from_pretrained(learner.items.weight.detach().clone(), freeze=False)
        self.backbone = copy.deepcopy(learner.tower.module)

    def forward(self, user_ids: Tensor, item_ids: Tensor) -> Tensor:
        """Logits, [B], of pairs, int64 [B] each."""
        return self.backbone(self.users(user_ids), self.items(item_ids))


class DenseWay:
    """Three whole models and the dense Adam of `torch.optim`.

    The models of the candidates are loaded with θ at every step, moved by a fresh Adam on the dual loss, downwards and
    upwards, and compared on the labelled batch; θ is loaded with the winner and takes the labelled step.
    """

    def __init__(self, learner: Learner, *, dual_learning_rate: float) -> None:
        """Copies a learner's model three times.

        Args:
            learner: Whose weights to start from; its optimiser's learning rate and L2 are taken over.
            dual_learning_rate: α.
        """
        self.model, self._direct, self._inverse = (WholeModel(learner) for _ in range(3))
        config = learner.optimizer
        self._optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._alpha = dual_learning_rate

    def plain_step(self, batch: Batch) -> None:
        """θ ← Adam(θ, ∇ mean log loss(θ)).

        Args:
            batch: Labelled pairs.
        """
        self._optimizer.zero_grad()
        log_loss(self.model(batch.user_ids, batch.item_ids), batch.labels).mean().backward()
        self._optimizer.step()

    def inverse_step(self, batch: Batch) -> int:
        """The dual step and its opposite, the choice between them and neither, and the labelled step.

        Args:
            batch: Labelled pairs with unlabelled ones.

        Returns:
            0 for direct, 1 for skip, 2 for inverse.
        """
        state = self.model.state_dict()
        self._move(self._direct, state, batch, sign=1.0)
        self._move(self._inverse, state, batch, sign=-1.0)
        models = (self._direct, self.model, self._inverse)
        with torch.no_grad():
            losses = [float(log_loss(model(batch.user_ids, batch.item_ids), batch.labels).mean()) for model in models]
        choice = min((1, 0, 2), key=lambda place: losses[place])
        if choice != 1:
            self.model.load_state_dict(models[choice].state_dict())
        self.plain_step(batch)
        return choice

    def _move(self, model: WholeModel, state: Mapping[str, Tensor], batch: Batch, *, sign: float) -> None:
        """model ← θ, then one step of a fresh Adam on sign · mean dual loss."""
        assert batch.unlabelled is not None
        pairs = batch.unlabelled
        model.load_state_dict(state)
        optimizer = torch.optim.Adam(model.parameters(), lr=self._alpha)
        optimizer.zero_grad()
        losses = inverse_dual_loss(model(pairs.user_ids, pairs.item_ids)) * pairs.weight
        (sign * losses.sum() / pairs.weight.numel()).backward()
        optimizer.step()
