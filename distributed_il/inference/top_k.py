"""The best items of users, exactly: blocks of logits, of which a running list keeps the top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.data.sampling import PairIndex
from distributed_il.inference.model import ServedModel

USERS_AT_ONCE = 256
ITEMS_AT_ONCE = 8192
"""Logits of so many users and items lie in memory together: 8 MiB of float32, which a cache may hold."""
MOST_CANDIDATES = 4
"""So many times K candidates of a block are sorted as they are."""


@dataclass(frozen=True, eq=False, slots=True)
class TopItems:
    """The best items of some users, best first; where a user has fewer than K, the rest has logit −∞."""

    item_ids: Tensor  # dense, int64 [U, K]
    logits: Tensor  # [U, K]


@torch.no_grad()
def top_items(model: ServedModel, user_ids: NDArray[np.int64], *, top: int, seen: tuple[PairIndex, ...]) -> TopItems:
    """Finds the K items of highest logit, but for pairs in `seen`, for each user; of equal ones those of lower id.

    An item without labelled training rows counts as much as the mean of all, and to a user without such rows each item
    as much as its own mean, as in `ServedModel.score`. Users are dense ids, int64 [U]; −1 for one that the dataset does
    not know.
    """
    user_rows = torch.from_numpy(model.users.take(user_ids, axis=0))
    user_codes = [torch.from_numpy(table.take(user_ids, axis=0)) for table in model.codes[:1]]
    strangers = torch.from_numpy(~model.knows_users(user_ids))
    left_out = _LeftOut(seen, user_ids)
    best = TopItems(torch.zeros((user_ids.size, 0), dtype=torch.int64), user_rows.new_zeros((user_ids.size, 0)))
    for start in range(0, len(model.items), ITEMS_AT_ONCE):
        block = slice(start, start + ITEMS_AT_ONCE)
        item_codes = [torch.from_numpy(table[block].copy()) for table in model.codes[1:]]
        item_rows = torch.from_numpy(model.items[block].copy())
        logits = model.backbone.all_pairs(user_rows, item_rows, *user_codes, *item_codes)
        logits[strangers] = torch.from_numpy(model.item_prior[block]).to(logits.dtype)
        if not model.item_known[block].all():
            logits[:, torch.from_numpy(~model.item_known[block])] = model.overall_prior
        logits[left_out.between(start, start + logits.shape[1])] = -torch.inf
        best = _merged(best, logits, start, top)
    return best


class _LeftOut:
    """The pairs of some users that are left out, by item."""

    def __init__(self, seen: tuple[PairIndex, ...], user_ids: NDArray[np.int64]) -> None:
        places, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        known = np.flatnonzero(user_ids >= 0)
        for pairs in seen:
            for place in known.tolist():
                own = pairs.items[pairs.indptr[user_ids[place]] : pairs.indptr[user_ids[place] + 1]]
                places.append(np.full(own.size, place))
                items.append(own.astype(np.int64))
        joined = np.concatenate(items)
        order = np.argsort(joined, kind="stable")
        self._places, self._items = np.concatenate(places)[order], joined[order]

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Returns places of users and items, the latter from `start`, of pairs with an item from there to `stop`."""
        part = slice(*np.searchsorted(self._items, (start, stop)))
        return torch.from_numpy(self._places[part]), torch.from_numpy(self._items[part] - start)


def _merged(best: TopItems, logits: Tensor, start: int, top: int) -> TopItems:
    """Merges the best so far with one more block, whose items have higher ids."""
    # numpy finds the few places of a large mask in a fraction of torch's time.
    wanted = (logits > (best.logits[:, -1:] if best.logits.shape[1] == top else -torch.inf)).numpy()
    found = np.flatnonzero(wanted)
    if found.size > MOST_CANDIDATES * top * len(logits):
        # So many that sorting them costs more than finding out which the block's own best are.
        own = logits.topk(min(top, logits.shape[1]), dim=1).values[:, -1:]
        found = np.flatnonzero(wanted & (logits >= own).numpy())
    rows, columns = (torch.from_numpy(part) for part in np.divmod(found, logits.shape[1]))
    counts = torch.bincount(rows, minlength=len(logits))
    kept = best.logits.shape[1]
    # Each user's candidates side by side, behind the best so far: in ascending order of id, which a stable sort keeps.
    place = kept + torch.arange(rows.numel()) - (counts.cumsum(0) - counts).index_select(0, rows)
    width = kept + int(counts.max())
    values, ids = logits.new_full((len(logits), width), -torch.inf), rows.new_zeros((len(logits), width))
    values[:, :kept], ids[:, :kept] = best.logits, best.item_ids
    values[rows, place], ids[rows, place] = logits[rows, columns], columns + start
    values, order = values.sort(dim=1, descending=True, stable=True)
    return TopItems(ids.gather(1, order)[:, :top], values[:, :top])
