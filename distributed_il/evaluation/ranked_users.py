"""Whose rankings are measured: fixed users, dealt to ranks in blocks, with their relevant items and those left out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.core.collectives import Collectives, send_to_owners
from distributed_il.core.counter_rng import RANKED, hash_u64
from distributed_il.data.dataset import Dataset
from distributed_il.data.sampling import PairIndex
from distributed_il.evaluation.split_scores import SplitReader
from distributed_il.evaluation.top_items import USERS_AT_ONCE, PairsByItem

Int64 = NDArray[np.int64]

_NOBODY = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False, slots=True)
class UserBlock:
    """Up to `USERS_AT_ONCE` users that are ranked together.

    Attributes:
        user_ids: int64 [U].
        relevant: Their positives of the split, but for those left out.
        left_out: Pairs that are no candidates.
        candidates: The only ones; None where all items are that are not left out.
        excluded: Items that are nobody's candidates, bool [num_items]; None where there are none.
    """

    user_ids: Int64
    relevant: PairsByItem
    left_out: PairsByItem
    candidates: PairsByItem | None = None
    excluded: NDArray[np.bool_] | None = None


class RankedUsers:
    """The users of a split that are ranked; which ones does not depend on the ranks, nor who is ranked together.

    Attributes:
        chosen: How many they are, over all ranks.
        with_positives: Users who have positives in the split, from whom they are chosen.
        rounds: Most blocks that any rank has.
        num_candidates: Items that are candidates at all.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: SplitReader,
        besides: Sequence[SplitReader] = (),
        *,
        most: int | None,
        sampled: int | None = None,
        allowed: NDArray[np.bool_] | None = None,
        collectives: Collectives,
        device: torch.device,
    ) -> None:
        """Reads what it takes; all ranks call it together.

        Args:
            dataset: Whose training pairs and logged unclear pairs are left out.
            split: Its positives are what is relevant.
            besides: Splits whose pairs are left out, too.
            most: Users at the most, a fixed choice; None for all that have positives.
            allowed: Items that are candidates at all, and positives of which are relevant, bool [num_items]; None for
                all. The same on every rank.
            sampled: Candidates that are drawn for each user beside the relevant ones, always the same; None for all.
            collectives: The ranks.
            device: Where collectives work.
        """
        self._dataset, self._collectives, self._device = dataset, collectives, device
        self._sampled, self._excluded = sampled, None if allowed is None else ~allowed
        self.num_candidates = dataset.num_items if allowed is None else int(np.count_nonzero(allowed))
        chosen, self.with_positives = self._choose(split, most)
        self.chosen = chosen.size
        world, rank = collectives.world_size, collectives.rank
        blocks = math.ceil(chosen.size / USERS_AT_ONCE)
        self.rounds = math.ceil(blocks / world)
        own = [chosen[block * USERS_AT_ONCE : (block + 1) * USERS_AT_ONCE] for block in range(rank, blocks, world)]
        self._own = np.concatenate([*own, _NOBODY])
        places = np.full(dataset.num_users, -1)
        places[chosen] = np.arange(chosen.size)
        self._relevant = self._gather([split], places, positives=True)
        self._besides = self._gather(besides, places, positives=False)

    def blocks(self) -> Iterator[UserBlock]:
        """Yields this rank's blocks: as many on every rank, the last ones perhaps without users."""
        logged = self._dataset.logged()
        known = (self._dataset.observed(), *([] if logged is None else [logged]))
        for start in range(0, self.rounds * USERS_AT_ONCE, USERS_AT_ONCE):
            user_ids = self._own[start : start + USERS_AT_ONCE]
            own = np.arange(start, start + user_ids.size)
            left_out = PairsByItem.of(known, user_ids).joined(PairsByItem.of((self._besides,), own))
            relevant = PairsByItem.of((self._relevant,), own).without(left_out)
            if self._excluded is not None:
                kept = ~self._excluded[relevant.items]
                relevant = PairsByItem(relevant.places[kept], relevant.items[kept])
            candidates = self._candidates(user_ids, relevant, left_out)
            yield UserBlock(user_ids, relevant, left_out, candidates, self._excluded)

    def _candidates(self, user_ids: Int64, relevant: PairsByItem, left_out: PairsByItem) -> PairsByItem | None:
        """Draws items that are neither relevant nor left out, and adds the relevant ones."""
        if self._sampled is None:
            return None
        num_items, taken = self._dataset.num_items, relevant.joined(left_out)
        drawn = [_NOBODY]
        for place, user in enumerate(user_ids.tolist()):
            free = np.ones(num_items, np.bool_)
            free[taken.items[taken.places == place]] = False
            items = np.flatnonzero(free)
            order = np.argsort(hash_u64(0, RANKED, user, items), kind="stable")
            drawn.append(items[order[: self._sampled]])
        places = np.repeat(np.arange(user_ids.size), [items.size for items in drawn[1:]])
        return relevant.joined(PairsByItem(places, np.concatenate(drawn)))

    def _choose(self, split: SplitReader, most: int | None) -> tuple[Int64, int]:
        """Chooses the users, ascending, and counts those who have positives."""
        flags = np.zeros(self._dataset.num_users, np.int32)
        for piece in split.pieces():
            flags[piece["user_id"][piece["label"] == 1]] = 1
        found = self._collectives.all_reduce_sum(torch.from_numpy(flags).to(self._device)).cpu().numpy()
        users = np.flatnonzero(found)
        if most is None or users.size <= most:
            return users, users.size
        order = np.argsort(hash_u64(0, RANKED, users), kind="stable")
        return np.sort(users[order[:most]]), users.size

    def _gather(self, splits: Sequence[SplitReader], places: Int64, *, positives: bool) -> PairIndex:
        """Sends the pairs of splits to the ranks that rank their users; by place among this rank's users."""
        world = self._collectives.world_size
        arrived: list[NDArray[Any]] = []
        for split in splits:
            for piece in split.pieces():
                wanted = places[piece["user_id"]] >= 0
                rows = piece[wanted & (piece["label"] == 1) if positives else wanted][["user_id", "item_id"]].copy()
                owners = places[rows["user_id"]] // USERS_AT_ONCE % world
                arrived.append(send_to_owners(rows, owners, collectives=self._collectives, device=self._device))
        users = np.concatenate([_NOBODY, *(rows["user_id"] for rows in arrived)]).astype(np.int64)
        items = np.concatenate([_NOBODY, *(rows["item_id"] for rows in arrived)])
        own = places[users] // (USERS_AT_ONCE * world) * USERS_AT_ONCE + places[users] % USERS_AT_ONCE
        return PairIndex.from_pairs(own, items, self._own.size)
