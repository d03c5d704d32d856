"""The best items of some users, kept while blocks of logits come one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.data.sampling import PairIndex

Int64 = NDArray[np.int64]

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


@dataclass(frozen=True, eq=False, slots=True)
class PairsByItem:
    """Pairs of some users with items, found by item.

    Attributes:
        places: Each pair's user, as a place among those users, int64 [P].
        items: Its item, ascending, int64 [P].
    """

    places: Int64
    items: Int64

    @classmethod
    def of(cls, indexes: Sequence[PairIndex], user_ids: Int64) -> PairsByItem:
        """Takes the pairs of all indexes; users are dense ids, int64 [U], −1 for one without any."""
        places, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        known = np.flatnonzero(user_ids >= 0)
        for pairs in indexes:
            degrees = pairs.degrees(user_ids[known])
            begins = pairs.indptr.take(user_ids[known]) - (np.cumsum(degrees) - degrees)
            places.append(np.repeat(known, degrees))
            items.append(pairs.items.take(np.arange(degrees.sum()) + np.repeat(begins, degrees)).astype(np.int64))
        return cls._ordered(np.concatenate(places), np.concatenate(items))

    @classmethod
    def _ordered(cls, places: Int64, items: Int64) -> PairsByItem:
        order = np.argsort(items, kind="stable")
        return cls(places[order], items[order])

    def joined(self, other: PairsByItem) -> PairsByItem:
        """Returns the pairs of both."""
        return self._ordered(np.append(self.places, other.places), np.append(self.items, other.items))

    def without(self, other: PairsByItem) -> PairsByItem:
        """Returns the pairs that the other lacks."""
        kept = ~other.have(self.places, self.items)
        return PairsByItem(self.places[kept], self.items[kept])

    def have(self, places: Int64, items: Int64) -> NDArray[np.bool_]:
        """Returns which pairs of users and items, int64 of shapes that fit, are among these."""
        own = np.append(np.sort((self.places << 32) | self.items), -1)
        wanted = (places << 32) | items
        return own[np.searchsorted(own[:-1], wanted)] == wanted

    def part(self, start: int, stop: int) -> slice:
        """Returns where the pairs lie that have an item from `start` to `stop`."""
        return slice(*np.searchsorted(self.items, (start, stop)).tolist())

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Returns places of users and items, the latter from `start`, of pairs with an item from there to `stop`."""
        part = self.part(start, stop)
        return torch.from_numpy(self.places[part]), torch.from_numpy(self.items[part] - start)


def no_items(users: int, dtype: torch.dtype) -> TopItems:
    """Returns the best items of so many users before any has come."""
    return TopItems(torch.zeros((users, 0), dtype=torch.int64), torch.zeros((users, 0), dtype=dtype))


def with_block(best: TopItems, logits: Tensor, start: int, top: int) -> TopItems:
    """Merges the best so far with one more block of logits, [U, I], whose items begin at `start`, behind all others.

    Of equal logits those of lower ids come first.
    """
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
    width = kept + max(counts.tolist(), default=0)
    values, ids = logits.new_full((len(logits), width), -torch.inf), rows.new_zeros((len(logits), width))
    values[:, :kept], ids[:, :kept] = best.logits, best.item_ids
    values[rows, place], ids[rows, place] = logits[rows, columns], columns + start
    values, order = values.sort(dim=1, descending=True, stable=True)
    return TopItems(ids.gather(1, order)[:, :top], values[:, :top])
