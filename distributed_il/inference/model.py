"""A trained model without its optimiser: weights to score with, and a fallback for ids that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.data.features import Features
from distributed_il.evaluation.fallbacks import KnownIds, Priors
from distributed_il.evaluation.output import Output
from distributed_il.inference.trained_run import TrainedRun, open_run
from distributed_il.models.backbones import Backbone, load_backbone
from distributed_il.models.embedding.factored import MAPS, RowFactors
from distributed_il.training.checkpoint_names import Name
from distributed_il.training.checkpoint_parts import TableName
from distributed_il.training.checkpoint_shards import SavedTable, read_tensors, read_weights
from distributed_il.training.side_features import features_for

CHUNK_PAIRS = 16_384
"""Pairs that are scored together."""


@dataclass(frozen=True, eq=False, slots=True)
class ServedModel:
    """Whole tables of weights, which may be read-only and shared between processes."""

    backbone: Backbone  # the tower
    users: NDArray[Any]  # [num_users, user_dim]
    items: NDArray[Any]  # [num_items, item_dim]
    known: KnownIds  # whom the model knows
    priors: Priors  # what answers for the others
    # side features of users [num_users, columns] and of items [num_items, columns], where the tower is given such
    codes: tuple[NDArray[Any], ...] = ()
    output: Output = field(default_factory=Output)  # what is served of the logits

    @property
    def nbytes(self) -> int:
        """Returns the bytes of all arrays."""
        arrays = (self.users, self.items, *self.known, self.priors.items, *self.codes)
        return sum(array.nbytes for array in arrays)

    def score(self, user_ids: NDArray[np.int64], item_ids: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int8]]:
        """Scores pairs of dense ids, int64 [B]; −1 for a user or an item that the dataset does not know.

        Returns raw logits [B], of the model's dtype, and int8 [B], places in `FALLBACKS`.
        """
        logits = self.logits(user_ids, item_ids)
        fallback = self.known.fallbacks(user_ids, item_ids)
        return self.priors.answered(logits, fallback, item_ids), fallback

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns ŷ of raw logits [B], computed in float64, of their dtype."""
        return self.output.probability(logits).to(logits.dtype)

    @torch.no_grad()
    def logits(self, user_ids: NDArray[np.int64], item_ids: NDArray[np.int64]) -> Tensor:
        """Computes the tower's logits [B] of pairs of dense ids, int64 [B], whether it was trained on them or not."""
        starts = range(0, max(user_ids.size, 1), CHUNK_PAIRS)  # even without any pairs one call tells the dtype
        chunks = [slice(start, start + CHUNK_PAIRS) for start in starts]
        return torch.cat([self._logits(user_ids[chunk], item_ids[chunk]) for chunk in chunks])

    def _logits(self, user_ids: NDArray[np.int64], item_ids: NDArray[np.int64]) -> Tensor:
        codes = (_rows(table, ids) for table, ids in zip(self.codes, (user_ids, item_ids), strict=False))
        return self.backbone(_rows(self.users, user_ids), _rows(self.items, item_ids), *codes)


def _rows(table: NDArray[Any], ids: NDArray[np.int64]) -> Tensor:
    # −1 takes the last row, whose score is not used.
    return torch.from_numpy(table.take(ids, axis=0))


def load_served_model(
    run_dir: str, checkpoint: Name, data: str | None, *, allow_code: bool = False
) -> tuple[ServedModel, TrainedRun]:
    """Reads a checkpoint's weights, whatever ranks wrote it; the arguments are those of `open_run`.

    Raises:
        UserError: As `open_run`; or a file is damaged.
    """
    run = open_run(run_dir, checkpoint, data, allow_code=allow_code)
    activity = run.dataset.activity()
    features = features_for(run.config.model, run.dataset)
    state = read_tensors(run.filesystem, run.manifest, "tower")
    backbone = _backbone(run, features, state)
    users = _table(run, "users", run.dataset.num_users, backbone.user_dim)
    items = _table(run, "items", run.dataset.num_items, backbone.item_dim)
    factors = run.factors()
    if factors is not None:
        _add_factors(users, factors.users, state[MAPS[0]])
        _add_factors(items, factors.items, state[MAPS[1]])

    model = ServedModel(
        backbone=backbone,
        users=users.numpy(),
        items=items.numpy(),
        known=KnownIds.of(activity, factors and factors[:2]),
        priors=Priors.of(activity, run.output),
        codes=() if features is None else (features.users.numpy(), features.items.numpy()),
        output=run.output,
    )
    return model, run


def _backbone(run: TrainedRun, features: Features | None, state: Mapping[str, Tensor]) -> Backbone:
    backbone = load_backbone(run.config.model, seed=0, features=features)
    named = {name.removesuffix("#buffer"): tensor for name, tensor in state.items()}
    # Beside its weights lie their moments and those of extras, which are not the backbone's.
    own = backbone.state_dict().keys()
    backbone.load_state_dict({name: tensor for name, tensor in named.items() if name in own})
    return backbone.eval().requires_grad_(False)


def _table(run: TrainedRun, name: TableName, rows: int, dim: int) -> Tensor:
    weights = torch.empty((rows, dim), dtype=getattr(torch, run.config.model.dtype))
    saved = SavedTable.of(run.filesystem, run.manifest, name)
    read_weights(saved, weights, step=run.manifest["step"], optimizer=run.config.optimizer)
    return weights


def _add_factors(table: Tensor, factors: RowFactors, weights: Tensor) -> None:
    """Makes rows w + z·A out of w, in place."""
    for ids in torch.arange(len(table)).split(CHUNK_PAIRS):
        table[int(ids[0]) : int(ids[-1]) + 1].addmm_(factors.of(ids), weights)
