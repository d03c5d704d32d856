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
from distributed_il.evaluation.baselines import item_mean
from distributed_il.evaluation.output import Output
from distributed_il.inference.trained_run import TrainedRun, open_run
from distributed_il.models.backbones import Backbone, load_backbone
from distributed_il.models.embedding.factored import MAPS, RowFactors
from distributed_il.training.checkpoint_names import Name
from distributed_il.training.checkpoint_shards import SavedTable, TableName, read_tensors, read_weights
from distributed_il.training.side_features import features_for

FALLBACKS = ("model", "item_mean", "overall_mean")
"""What a pair's score comes from: the model, where it knows user and item; as fallback the smoothed share of positives
of the item, where the model knows it, or that of all rows. A model knows who has labelled training rows, and with
exposure factors whoever has any exposure."""
MODEL, ITEM_MEAN, OVERALL_MEAN = range(len(FALLBACKS))
CHUNK_PAIRS = 16_384
"""Pairs that are scored together."""
_SURE = 1e-6
"""A mean keeps this distance from 0 and 1, so that its logit is finite."""


@dataclass(frozen=True, eq=False, slots=True)
class ServedModel:
    """Whole tables of weights, which may be read-only and shared between processes."""

    backbone: Backbone  # the tower
    users: NDArray[Any]  # [num_users, user_dim]
    items: NDArray[Any]  # [num_items, item_dim]
    user_known: NDArray[np.bool_]  # bool [num_users], whether the model knows a user
    item_known: NDArray[np.bool_]  # bool [num_items], likewise
    item_prior: NDArray[np.float64]  # raw logit that `output` makes each item's mean of, float64 [num_items]
    overall_prior: float  # likewise of the mean over all training rows
    # side features of users [num_users, columns] and of items [num_items, columns], where the tower is given such
    codes: tuple[NDArray[Any], ...] = ()
    output: Output = field(default_factory=Output)  # what is served of the logits

    @property
    def nbytes(self) -> int:
        """Returns the bytes of all arrays."""
        arrays = (self.users, self.items, self.user_known, self.item_known, self.item_prior, *self.codes)
        return sum(array.nbytes for array in arrays)

    def score(self, user_ids: NDArray[np.int64], item_ids: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int8]]:
        """Scores pairs of dense ids, int64 [B]; −1 for a user or an item that the dataset does not know.

        Returns raw logits [B], of the model's dtype, and int8 [B], places in `FALLBACKS`.
        """
        logits = self.logits(user_ids, item_ids)
        fallback = self.fallbacks(user_ids, item_ids)
        prior = np.where(fallback == ITEM_MEAN, self.item_prior[item_ids], self.overall_prior)
        by_model = torch.from_numpy(fallback == MODEL)
        return torch.where(by_model, logits, torch.from_numpy(prior).to(logits.dtype)), fallback

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

    def knows_users(self, user_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns whether the model knows users; it knows none of id −1."""
        return (user_ids >= 0) & self.user_known[user_ids]

    def fallbacks(self, user_ids: NDArray[np.int64], item_ids: NDArray[np.int64]) -> NDArray[np.int8]:
        """Returns what the scores of pairs come from: places in `FALLBACKS`, int8 [B]."""
        known_item = (item_ids >= 0) & self.item_known[item_ids]
        by_known = np.where(self.knows_users(user_ids), MODEL, ITEM_MEAN)
        return np.where(known_item, by_known, OVERALL_MEAN).astype(np.int8)


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
    user_known, item_known = activity.user_rows > 0, activity.item_rows > 0
    if (factors := run.factors()) is not None:
        user_known |= _add_factors(users, factors.users, state[MAPS[0]])
        item_known |= _add_factors(items, factors.items, state[MAPS[1]])

    def prior(means: Any) -> NDArray[np.float64]:
        return run.output.raw(torch.from_numpy(np.asarray(_logits(means)))).numpy()

    model = ServedModel(
        backbone=backbone,
        users=users.numpy(),
        items=items.numpy(),
        user_known=user_known,
        item_known=item_known,
        item_prior=prior(item_mean(activity.item_rows, activity.item_positives)),
        overall_prior=float(prior(activity.item_positives.sum() / activity.item_rows.sum())),
        codes=() if features is None else (features.users.numpy(), features.items.numpy()),
        output=run.output,
    )
    return model, run


def _logits(means: NDArray[np.float64]) -> NDArray[np.float64]:
    means = np.clip(means, _SURE, 1 - _SURE)
    return np.log(means) - np.log1p(-means)


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


def _add_factors(table: Tensor, factors: RowFactors, weights: Tensor) -> NDArray[np.bool_]:
    """Makes rows w + z·A out of w, in place; returns whether each has a factor other than 0, and so an exposure."""
    exposed = np.empty(len(table), dtype=np.bool_)
    for ids in torch.arange(len(table)).split(CHUNK_PAIRS):
        z = factors.of(ids)
        rows = slice(int(ids[0]), int(ids[-1]) + 1)
        table[rows].addmm_(z, weights)
        exposed[rows] = z.any(dim=1).numpy()
    return exposed
