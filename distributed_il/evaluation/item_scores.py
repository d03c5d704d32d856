"""Scores of all items for some users, block by block: a model's, and two that need none."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives
from distributed_il.data.dataset import Dataset
from distributed_il.data.sampling import PairIndex
from distributed_il.evaluation.baselines import item_mean
from distributed_il.evaluation.fallbacks import KnownIds, rank_last
from distributed_il.evaluation.top_items import ITEMS_AT_ONCE, USERS_AT_ONCE, PairsByItem
from distributed_il.models.learner import Learner

Rows = tuple[Tensor, ...]
"""What is known of some users, or of some items: tensors with a row for each."""
MOST_MULTIPLICATIONS = 3e11
"""Multiplications that counting co-occurrences may take, over all ranks: some seconds."""
_EXACT = 2**24
"""Up to here float32 holds every whole number."""


class ItemScores(Protocol):
    """Scores of items for users, higher for the better item."""

    def fetch(self, user_ids: Tensor, item_ids: Tensor) -> tuple[Rows, Rows]:
        """Fetches what is known of some users and of some items, int64 [U] and [I]; all ranks call it together."""
        ...

    def block(self, users: Rows, items: Rows) -> Tensor:
        """Computes the scores of fetched users and items, [U, I], on the CPU; the caller may change them."""
        ...


class ModelScores:
    """What a model whose rows are up to date ranks by: its logits, as `recommend` does.

    A user whom it does not know gets each item's mean; items that it does not know come last.
    """

    def __init__(self, learner: Learner, dataset: Dataset) -> None:
        activity = dataset.activity()
        self._learner = learner
        self._known = [torch.from_numpy(known) for known in KnownIds.of(activity, learner.factors)]
        self._means = torch.from_numpy(item_mean(activity.item_rows, activity.item_positives))

    @torch.no_grad()
    def fetch(self, user_ids: Tensor, item_ids: Tensor) -> tuple[Rows, Rows]:
        device, features = self._learner.device, self._learner.features
        of_users, of_items = (~self._known[0][user_ids],), (~self._known[1][item_ids], self._means[item_ids])
        user_ids, item_ids = user_ids.to(device), item_ids.to(device)
        users, items = self._learner.embeddings.weights(user_ids, item_ids)
        if features is None:
            return (*of_users, users), (*of_items, items)
        user_codes, item_codes = features.codes(user_ids, item_ids)
        return (*of_users, users, user_codes), (*of_items, items, item_codes)

    @torch.no_grad()
    def block(self, users: Rows, items: Rows) -> Tensor:
        (strangers, user_rows, *user_codes), (cold, means, item_rows, *item_codes) = users, items
        logits = self._learner.tower.module.all_pairs(user_rows, item_rows, *user_codes, *item_codes).cpu()
        logits[strangers] = means.to(logits.dtype)
        rank_last(logits, cold)
        return logits


class Popularity:
    """The positives that an item has in training, for every user."""

    def __init__(self, dataset: Dataset) -> None:
        self._positives = torch.from_numpy(dataset.activity().item_positives.astype(np.float64))

    def fetch(self, user_ids: Tensor, item_ids: Tensor) -> tuple[Rows, Rows]:
        return (user_ids,), (self._positives[item_ids],)

    def block(self, users: Rows, items: Rows) -> Tensor:
        return items[0].repeat(len(users[0]), 1)


class CoOccurrence:
    """In how many users' training rows an item occurs together with those of a user, summed over the latter."""

    def __init__(self, observed: PairIndex, num_items: int, *, collectives: Collectives, device: torch.device) -> None:
        """Counts for all pairs of items how many users have both; all ranks call it together, each for some users."""
        self._observed, self._num_items = observed, num_items
        counts = torch.zeros((num_items, num_items))
        stride = collectives.world_size * USERS_AT_ONCE
        for start in range(collectives.rank * USERS_AT_ONCE, observed.num_users, stride):
            own = self._rows(torch.arange(start, min(start + USERS_AT_ONCE, observed.num_users)))
            counts.addmm_(own.T, own)
        self._counts = collectives.all_reduce_sum(counts.to(device)).cpu()

    @staticmethod
    def takes_too_much(observed: PairIndex, num_items: int, users: int) -> bool:
        """Returns whether the counts of so many items, and scores for so many users, would take long or be inexact."""
        most = int(np.diff(observed.indptr).max(initial=0))
        work = (observed.num_users + users) * num_items**2
        return num_items > ITEMS_AT_ONCE or work > MOST_MULTIPLICATIONS or observed.num_users * most >= _EXACT

    def fetch(self, user_ids: Tensor, item_ids: Tensor) -> tuple[Rows, Rows]:
        return (user_ids,), (item_ids,)

    def block(self, users: Rows, items: Rows) -> Tensor:
        return self._rows(users[0]) @ self._counts[:, items[0]]

    def _rows(self, user_ids: Tensor) -> Tensor:
        """1 where a user has an item, [U, num_items]."""
        pairs = PairsByItem.of((self._observed,), user_ids.numpy())
        rows = torch.zeros((len(user_ids), self._num_items))
        rows[torch.from_numpy(pairs.places), torch.from_numpy(pairs.items)] = 1.0
        return rows
