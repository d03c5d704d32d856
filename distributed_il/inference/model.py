"""A trained model without its optimiser: weights to score with, and a fallback for ids that it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.data.features import Features
from distributed_il.evaluation.baselines import item_mean
from distributed_il.inference.trained_run import TrainedRun, open_run
from distributed_il.models.backbones import Backbone, load_backbone
from distributed_il.training.checkpoint import Name
from distributed_il.training.checkpoint_shards import SavedTable, TableName, file_name, read_tensors, read_weights
from distributed_il.training.side_features import features_for

FALLBACKS = ("model", "item_mean", "overall_mean")
"""What a pair's score comes from: the model, where user and item have labelled training rows; as fallback the smoothed
share of positives of the item, where it has such rows, or that of all rows."""
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
    user_trained: NDArray[np.bool_]  # bool [num_users], whether a user has a labelled training row
    item_trained: NDArray[np.bool_]  # bool [num_items], likewise
    item_prior: NDArray[np.float64]  # logit of each item's mean, float64 [num_items]
    overall_prior: float  # logit of the mean over all training rows
    # side features of users [num_users, columns] and of items [num_items, columns], where the tower is given such
    codes: tuple[NDArray[Any], ...] = ()

    @property
    def nbytes(self) -> int:
        """Returns the bytes of all arrays."""
        arrays = (self.users, self.items, self.user_trained, self.item_trained, self.item_prior, *self.codes)
        return sum(array.nbytes for array in arrays)

    def score(self, user_ids: NDArray[np.int64], item_ids: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int8]]:
        """Scores pairs of dense ids, int64 [B]; −1 for a user or an item that the dataset does not know.

        Returns logits [B], of the model's dtype, and int8 [B], places in `FALLBACKS`.
        """
        logits = self.logits(user_ids, item_ids)
        fallback = self.fallbacks(user_ids, item_ids)
        prior = np.where(fallback == ITEM_MEAN, self.item_prior[item_ids], self.overall_prior)
        by_model = torch.from_numpy(fallback == MODEL)
        return torch.where(by_model, logits, torch.from_numpy(prior).to(logits.dtype)), fallback

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
        """Returns whether users have a labelled training row; those with id −1 have none."""
        return (user_ids >= 0) & self.user_trained[user_ids]

    def fallbacks(self, user_ids: NDArray[np.int64], item_ids: NDArray[np.int64]) -> NDArray[np.int8]:
        """Returns what the scores of pairs come from: places in `FALLBACKS`, int8 [B]."""
        known_item = (item_ids >= 0) & self.item_trained[item_ids]
        by_known = np.where(self.knows_users(user_ids), MODEL, ITEM_MEAN)
        return np.where(known_item, by_known, OVERALL_MEAN).astype(np.int8)


def _rows(table: NDArray[Any], ids: NDArray[np.int64]) -> Tensor:
    # −1 takes the last row, whose score is not used.
    return torch.from_numpy(table.take(ids, axis=0))


def load_served_model(run_dir: str, checkpoint: Name, data: str | None) -> tuple[ServedModel, TrainedRun]:
    """Reads a checkpoint's weights, whatever ranks wrote it; the dataset is `data`, or the one that the run names.

    Raises:
        UserError: There is no such checkpoint, it was trained on other data, or a file is damaged.
    """
    run = open_run(run_dir, checkpoint, data)
    activity = run.dataset.activity()
    features = features_for(run.config.model, run.dataset)
    backbone = _tower(run, features)
    model = ServedModel(
        backbone=backbone,
        users=_table(run, "users", run.dataset.num_users, backbone.user_dim),
        items=_table(run, "items", run.dataset.num_items, backbone.item_dim),
        user_trained=activity.user_rows > 0,
        item_trained=activity.item_rows > 0,
        item_prior=_logits(item_mean(activity.item_rows, activity.item_positives)),
        overall_prior=float(_logits(activity.item_positives.sum() / activity.item_rows.sum())),
        codes=() if features is None else (features.users.numpy(), features.items.numpy()),
    )
    return model, run


def _logits(means: NDArray[np.float64]) -> NDArray[np.float64]:
    means = np.clip(means, _SURE, 1 - _SURE)
    return np.log(means) - np.log1p(-means)


def _tower(run: TrainedRun, features: Features | None) -> Backbone:
    backbone = load_backbone(run.config.model, seed=0, features=features)
    state = read_tensors(run.filesystem, f"{run.manifest['place']}/{file_name('tower')}")
    named = {name.removesuffix("#buffer"): tensor for name, tensor in state.items()}
    backbone.load_state_dict({name: tensor for name, tensor in named.items() if "#" not in name})
    return backbone.eval().requires_grad_(False)


def _table(run: TrainedRun, name: TableName, rows: int, dim: int) -> NDArray[Any]:
    weights = torch.empty((rows, dim), dtype=getattr(torch, run.config.model.dtype))
    saved = SavedTable.of(run.filesystem, run.manifest, name)
    read_weights(saved, weights, step=run.manifest["step"], optimizer=run.config.optimizer)
    return weights.numpy()
