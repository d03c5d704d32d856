"""New users folded in from their histories: a row for each, while everything that was trained stays as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.core.config import OptimizerConfig
from distributed_il.data.exposure import Neighbours, UserFolder
from distributed_il.evaluation.output import Output
from distributed_il.inference.linear_fold_in import fold_in_linearly, groups_of_like_length
from distributed_il.inference.model import ServedModel, load_served_model
from distributed_il.inference.trained_run import TrainedRun
from distributed_il.methods.losses import log_loss
from distributed_il.methods.ordinal_loss import ordinal_log_loss
from distributed_il.models.embedding.factored import MAPS, RowFactors
from distributed_il.models.embedding.row_adam import Rows, adam_update
from distributed_il.training.checkpoint_names import Name
from distributed_il.training.checkpoint_shards import read_tensors
from distributed_il.training.exposure_factors import factors_named_by

STEPS = 60
"""Adam steps on a user's own row."""
PAIRS_AT_ONCE = 1 << 16
"""Labelled pairs of the users that are folded in together; one user may have more."""


@dataclass(frozen=True, eq=False, slots=True)
class LabelledItems:
    """Labelled items of each user.

    Attributes:
        items: Item ids of each user.
        labels: 0 or 1 for each of their entries, [entries].
    """

    items: Neighbours
    labels: NDArray[np.int8]

    def __post_init__(self) -> None:
        if self.labels.shape != self.items.ids.shape:
            raise ValueError(f"labels {self.labels.shape} do not fit items {self.items.ids.shape}")


@dataclass(frozen=True, eq=False, slots=True)
class UserFactors:
    """What makes z·A of a user's history.

    Attributes:
        folder: Makes z, unscaled, from the items.
        scaling: Scales and clips it as in training; of its factors nothing is used.
        weights: A [k, user_dim].
    """

    folder: UserFolder
    scaling: RowFactors
    weights: Tensor

    def of(self, watched: Sequence[Neighbours]) -> Tensor:
        """Returns z·A [users, user_dim]; 0 for users without an item that has a vector."""
        raw = torch.from_numpy(self.folder.fold(watched))[:, : len(self.weights)]
        return dataclasses.replace(self.scaling, raw=raw).of(torch.arange(len(raw))) @ self.weights


@dataclass(frozen=True, eq=False, slots=True)
class UserFoldIn:
    """Folds users in: w_eff = w + z·A, z from the items that a user has watched, w from those with labels.

    w starts at 0 and takes full-batch Adam steps, at the run's learning rate and weight decay, on the mean loss of the
    user's labelled items. Item rows, tower and A stay, so that users don't depend on each other.

    Attributes:
        model: The trained model; its users play no part.
        optimizer: Of its run.
        factors: None for a model without, whose rows come from labels alone.
        half_width: t of a model trained by `ordinal`, whose loss of a labelled row it decides; None for any other.
    """

    model: ServedModel
    optimizer: OptimizerConfig
    factors: UserFactors | None
    half_width: float | None = None

    def rows(
        self, watched: Sequence[Neighbours], labelled: LabelledItems | None = None, *, steps: int = STEPS
    ) -> Tensor:
        """Makes the rows of users.

        Args:
            watched: Items of each user, labelled and unclear, in one or several indexes of the same users.
            labelled: Those with labels, whose items are all known to the model; None where there are none.
            steps: Adam steps.

        Returns:
            w + z·A [users, user_dim], of the model's dtype. Of users without labels it is z·A alone.

        Raises:
            ValueError: There are labels of more or fewer users, or of an item that the model has no row of.
        """
        if self.factors is None:
            shape = (watched[0].rows, self.model.backbone.user_dim)
            weights = torch.from_numpy(np.zeros(shape, dtype=self.model.items.dtype))
        else:
            weights = self.factors.of(watched)
        if labelled is None:
            return weights
        ids, num_items = labelled.items.ids, len(self.model.items)
        if labelled.items.rows != len(weights):
            raise ValueError(f"labels are of {labelled.items.rows} users, histories of {len(weights)}")
        if ids.size and not 0 <= ids.min() <= ids.max() < num_items:
            raise ValueError(f"labelled items must be in [0, {num_items}), not {ids.min()} to {ids.max()}")
        if self.model.backbone.linear_in_users:
            for users, entries, counts in groups_of_like_length(labelled.items.offsets, PAIRS_AT_ONCE):
                weights[users] += self._rows_of_group(weights[users], labelled, entries, counts, steps)
            return weights
        for start, stop in _parts(labelled.items):
            weights[start:stop] += self._own_rows(weights[start:stop], labelled, start, stop, steps)
        return weights

    def _rows_of_group(
        self, fixed: Tensor, labelled: LabelledItems, entries: NDArray[np.int64], counts: NDArray[np.int64], steps: int
    ) -> Tensor:
        """Returns w [users, user_dim] of users whose z·A is `fixed`, entries [users, L] of which `counts` count."""
        own = np.arange(entries.shape[1]) < counts[:, None]
        return fold_in_linearly(
            self.model.backbone,
            torch.from_numpy(self.model.items.take(labelled.items.ids[entries], axis=0)),
            fixed,
            torch.from_numpy(labelled.labels[entries]).to(fixed.dtype),
            torch.from_numpy(own / counts[:, None]).to(fixed.dtype),
            half_width=self.half_width or 0.0,
            optimizer=self.optimizer,
            steps=steps,
        )

    def _own_rows(self, fixed: Tensor, labelled: LabelledItems, start: int, stop: int, steps: int) -> Tensor:
        """Returns w [users, user_dim] of a range of users, whose z·A is `fixed`."""
        offsets = labelled.items.offsets[start : stop + 1]
        entries, counts = slice(offsets[0], offsets[-1]), torch.from_numpy(np.diff(offsets))
        owners = torch.repeat_interleave(counts)
        item_ids = labelled.items.ids[entries].astype(np.int64)
        labels = torch.from_numpy(labelled.labels[entries].astype(np.int64)).to(fixed.dtype)
        items, codes = torch.from_numpy(self.model.items.take(item_ids, axis=0)), self._codes(item_ids)
        shares = (1 / counts.to(fixed.dtype))[owners]
        own = Rows.of(fixed.new_zeros((len(fixed), 3 * fixed.shape[1])))
        for step in range(1, steps + 1):
            rows = (own.weight + fixed).requires_grad_()
            # Users share no row, so the gradient of the sum is that of each user's own mean.
            losses = self._losses(self.model.backbone(rows[owners], items, *codes), labels)
            (gradient,) = torch.autograd.grad((losses * shares).sum(), rows)
            adam_update(
                own,
                gradient,
                step=step,
                learning_rate=self.optimizer.learning_rate,
                weight_decay=self.optimizer.weight_decay,
            )
        return own.weight

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.half_width is None:
            return log_loss(logits, labels)
        return ordinal_log_loss(logits, labels, self.half_width)

    def _codes(self, item_ids: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Returns the side features of pairs where the tower takes such; those of new users are unknown."""
        if not self.model.codes:
            return ()
        users, items = self.model.codes
        unknown = np.zeros((item_ids.size, users.shape[1]), dtype=users.dtype)
        return torch.from_numpy(unknown), torch.from_numpy(items.take(item_ids, axis=0))


def load_fold_in(run_dir: str, checkpoint: Name, data: str | None, *, allow_code: bool = False) -> UserFoldIn:
    """Reads from a checkpoint what folds users in; takes and raises what `load_served_model` does."""
    return fold_in_of(*load_served_model(run_dir, checkpoint, data, allow_code=allow_code))


def fold_in_of(model: ServedModel, run: TrainedRun) -> UserFoldIn:
    """Returns what folds users in to a model of a run.

    Raises:
        UserError: A file is damaged.
    """
    factors, stored = run.factors(), run.dataset.factors(factors_named_by(run.manifest))
    half_width = Output.from_dict(run.manifest.get("output")).half_width
    if factors is None or stored is None:
        return UserFoldIn(model, run.config.optimizer, None, half_width)
    tower = read_tensors(run.filesystem, run.manifest, "tower")
    users = UserFactors(stored.basis().user_folder(), factors.users, tower[MAPS[0]])
    return UserFoldIn(model, run.config.optimizer, users, half_width)


def _parts(index: Neighbours) -> Iterator[tuple[int, int]]:
    """Yields ranges of rows that have `PAIRS_AT_ONCE` entries at the most, or one row."""
    start = 0
    while start < index.rows:
        limit = int(index.offsets[start]) + PAIRS_AT_ONCE
        stop = max(start + 1, int(np.searchsorted(index.offsets, limit, side="right")) - 1)
        yield start, stop
        start = stop
