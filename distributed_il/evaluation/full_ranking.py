"""Metrics of rankings of all items that a user has not seen: exact, over all ranks, block by block.

Each rank ranks its blocks of users against blocks of items. As the scores of a block of items may come from the ranks
that hold it, all ranks take equally many, users or not. A user's best items are kept, one more than the largest k: only
where that one is tied with the one before it, further passages count the ties and find which they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.core.collectives import Collectives, sum_over_ranks
from distributed_il.core.config import RANKING_METRICS
from distributed_il.evaluation.item_scores import ItemScores, Rows
from distributed_il.evaluation.metrics import UserTies, top_k_metrics
from distributed_il.evaluation.ranked_users import RankedUsers, UserBlock
from distributed_il.evaluation.top_items import ITEMS_AT_ONCE, no_items, with_block

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

OfUsers = Callable[[Int64, Mapping[str, Float64]], None]
"""Takes users, int64 [n], and metrics of theirs by name, [n] each."""

BLOCKS_TOGETHER = 16
"""Blocks of users that are ranked against a block of items before the next one is fetched."""


def measure_ranking(
    users: RankedUsers,
    scores: ItemScores,
    item_positives: Int64,
    *,
    cutoffs: Sequence[int],
    collectives: Collectives,
    device: torch.device,
    of_users: OfUsers | None = None,
) -> dict[str, float]:
    """Measures how items are ranked; all ranks call it together.

    Args:
        users: Whose rankings.
        scores: By what items are ranked.
        item_positives: int64 [num_items], positives of each item in training.
        cutoffs: Each k.
        collectives: The ranks.
        device: Where collectives work.
        of_users: Told the metrics of each user whom this rank has measured, some users at a time.

    Returns:
        recall@k, ndcg@k, hit_rate@k, precision@k, map@k and mrr@k, means over the users who have relevant items among
        their candidates; coverage@k, the share of the items that may come which somebody's first k hold;
        popularity@k, the mean of `item_positives` over those places. Tied items take the expected value over their
        orders. Further `users`, those who were measured, and `users_left_out`, those without relevant candidates. The
        same bits on every rank.
    """
    sums = _Sums(item_positives, sorted(set(cutoffs)), of_users)
    blocks = users.blocks()
    for first in range(0, users.rounds, BLOCKS_TOGETHER):
        some = [
            _RankedBlock(block, scores, sums.cutoffs[-1], item_positives.size)
            for _, block in zip(range(first, min(first + BLOCKS_TOGETHER, users.rounds)), blocks, strict=False)
        ]
        for start, items in _item_blocks(scores, item_positives.size):
            for block in some:
                block.add(start, items)
        any_open = torch.tensor(int(any(block.is_open for block in some)), device=device)
        any_open = bool(collectives.all_gather(any_open).any())
        if any_open:
            for start, items in _item_blocks(scores, item_positives.size):
                for block in some:
                    block.count_ties(start, items)
        for block in some:
            sums.add(block)
        if any_open:
            for start, items in _item_blocks(scores, item_positives.size):
                for block in some:
                    sums.add_ties(block, start, items)
    return sums.metrics(collectives, device, users.num_candidates)


def _item_blocks(scores: ItemScores, num_items: int) -> Iterator[tuple[int, Rows]]:
    """Yields the first item of each block and what is known of its items; all ranks take all of them together."""
    nobody = torch.zeros(0, dtype=torch.int64)
    for start in range(0, num_items, ITEMS_AT_ONCE):
        yield start, scores.fetch(nobody, torch.arange(start, min(start + ITEMS_AT_ONCE, num_items)))[1]


class _RankedBlock:
    """A block of users with the best items so far."""

    def __init__(self, block: UserBlock, scores: ItemScores, top: int, num_items: int) -> None:
        """Fetches the rows of the users; all ranks call it together."""
        self._block, self._scores, self._top = block, scores, top
        self._users = scores.fetch(torch.from_numpy(block.user_ids), torch.zeros(0, dtype=torch.int64))[0]
        self.best = no_items(block.user_ids.size, torch.float32)
        self.positives = np.bincount(block.relevant.places, minlength=block.user_ids.size)
        self._ties = np.zeros(block.user_ids.size, np.int64)
        self._relevant_scores = np.empty(0)

    def logits(self, start: int, items: Rows) -> torch.Tensor:
        """Scores of a block of items, [U, I], −∞ for what is no candidate."""
        logits = self._scores.block(self._users, items)
        if self._block.candidates is not None:
            wanted = self._block.candidates.between(start, start + logits.shape[1])
            return torch.full_like(logits, -torch.inf).index_put(wanted, logits[wanted])
        logits[self._block.left_out.between(start, start + logits.shape[1])] = -torch.inf
        if self._block.excluded is not None:
            logits[:, torch.from_numpy(self._block.excluded[start : start + logits.shape[1]])] = -torch.inf
        return logits

    def add(self, start: int, items: Rows) -> None:
        """Ranks the users against one more block of items."""
        if not self.positives.any():
            return
        logits = self.logits(start, items)
        if not start:
            self.best = no_items(len(logits), logits.dtype)
        relevant = self._block.relevant.between(start, start + logits.shape[1])
        self._relevant_scores = np.append(self._relevant_scores.astype(logits.numpy().dtype), logits[relevant].numpy())
        self.best = with_block(self.best, logits, start, self._top + 1)

    def count_ties(self, start: int, items: Rows) -> None:
        """Counts the items of a block of items that are tied with the last of a list that lacks some of them."""
        if self.is_open:
            self._ties[self.open_users] += np.count_nonzero(self.tied(start, items), axis=1)

    def tied(self, start: int, items: Rows) -> NDArray[np.bool_]:
        """Which items of a block of items are tied with the last of the list, of `open_users`, bool [open users, I]."""
        logits, users = self.logits(start, items).numpy(), self.open_users
        return logits[users] == self.best.logits.numpy()[users, self._top - 1, None]

    @property
    def is_open(self) -> bool:
        """Whether ties go on beyond the list of a user who is measured."""
        return bool(self.open_users.any())

    @property
    def open_users(self) -> NDArray[np.bool_]:
        """bool [U]: whose last item in the list is tied with some that it lacks."""
        logits = self.best.logits.numpy()
        if logits.shape[1] <= self._top:
            return np.zeros(len(logits), np.bool_)
        border = logits[:, self._top - 1]
        return (self.positives > 0) & (border > -np.inf) & (logits[:, self._top] == border)

    def groups(self) -> tuple[UserTies, Int64, Int64]:
        """The groups of equal logit, of the users who have relevant items among their candidates.

        Returns:
            The groups; the place of each listed item among them, int64 [L]; its id, int64 [L].
        """
        measured = np.flatnonzero(self.positives)
        logits, ids = (part.numpy()[measured, : self._top] for part in (self.best.logits, self.best.item_ids))
        listed = logits > -np.inf
        begins = listed & np.column_stack([np.ones(len(logits), np.bool_), logits[:, 1:] != logits[:, :-1]])
        group = np.cumsum(begins)[listed.reshape(-1)] - 1
        relevant = self._block.relevant.have(measured[:, None], ids)
        rows, before = np.nonzero(begins)
        sizes, hits = np.bincount(group), np.bincount(group[relevant[listed]], minlength=rows.size)
        first_group = np.searchsorted(rows, np.arange(measured.size))
        # Of the last group the list may lack some.
        last = np.append(first_group[1:], rows.size) - 1
        for place in np.flatnonzero(self.open_users[measured]):
            user = measured[place]
            own = self._relevant_scores[self._block.relevant.places == user]
            sizes[last[place]] = self._ties[user]
            hits[last[place]] = np.count_nonzero(own == logits[place, -1])
        ties = UserTies(
            rows=listed.sum(axis=1),
            positives=self.positives[measured],
            first_group=first_group,
            sizes=sizes,
            hits=hits,
            before=before,
            num_users=measured.size,
            users_left_out=0,
            rows_left_out=0,
        )
        return ties, group, ids[listed]

    @property
    def measured(self) -> Int64:
        """Places of the users who are measured."""
        return np.flatnonzero(self.positives)

    @property
    def measured_ids(self) -> Int64:
        """Their ids."""
        return self._block.user_ids[self.measured]


class _Sums:
    """What metrics follow from, of this rank's users."""

    def __init__(self, item_positives: Int64, cutoffs: Sequence[int], of_users: OfUsers | None) -> None:
        self.cutoffs, self._of_users = cutoffs, of_users
        self._item_positives = item_positives.astype(np.float64)
        self._users = np.zeros(2)  # measured, left out
        self._totals = np.zeros((len(cutoffs), len(RANKING_METRICS) + 1))  # the last is of popularity
        # Logarithm of the probability that nobody's first k hold an item.
        self._missed = np.zeros((len(cutoffs), item_positives.size))

    def add(self, block: _RankedBlock) -> None:
        """Adds what the list of a block tells."""
        measured = block.measured
        self._users += (measured.size, block.positives.size - measured.size)
        if not measured.size:
            return
        ties, group, ids = block.groups()
        owner = np.repeat(np.arange(measured.size), ties.rows)
        in_open_group = self._last_groups(ties)[owner] == group
        in_open_group &= block.open_users[measured][owner]
        for number, cutoff in enumerate(self.cutoffs):
            found = top_k_metrics(ties, cutoff)
            if self._of_users is not None:
                self._of_users(block.measured_ids, {f"{name}@{cutoff}": found[name] for name in RANKING_METRICS})
            self._totals[number, :-1] += [found[name].sum() for name in RANKING_METRICS]
            chance = self._chances(ties, cutoff)[group]
            with np.errstate(divide="ignore"):  # what is surely there is missed with probability 0
                np.add.at(self._missed[number], ids[~in_open_group], np.log1p(-chance[~in_open_group]))
            places = np.minimum(ties.rows, cutoff)[owner]
            listed = (chance * self._item_positives[ids] / places)[~in_open_group]
            self._totals[number, -1] += listed.sum()

    def add_ties(self, block: _RankedBlock, start: int, items: Rows) -> None:
        """Adds the items of a block of items that are tied with the last of a list that lacks some of them."""
        if not block.is_open:
            return
        ties, _, _ = block.groups()
        tied = block.tied(start, items).astype(np.float64)
        own = slice(start, start + tied.shape[1])
        popularity = tied @ self._item_positives[own]
        last = self._last_groups(ties)[block.open_users[block.measured]]
        for number, cutoff in enumerate(self.cutoffs):
            chance = self._chances(ties, cutoff)[last]
            self._missed[number, own] += np.log1p(-chance) @ tied
            self._totals[number, -1] += (chance * popularity / cutoff).sum()

    @staticmethod
    def _last_groups(ties: UserTies) -> Int64:
        return np.append(ties.first_group[1:], ties.sizes.size) - 1

    @staticmethod
    def _chances(ties: UserTies, cutoff: int) -> Float64:
        """Probability that an item of each group is among the first k, [groups]."""
        return np.clip((cutoff - ties.before) / ties.sizes, 0.0, 1.0)

    def metrics(self, collectives: Collectives, device: torch.device, num_candidates: int) -> dict[str, float]:
        """Sums over all ranks, which call it together, and divides; coverage is of so many items."""
        own = torch.from_numpy(np.append(self._users, self._totals.reshape(-1))).to(device)
        summed = sum_over_ranks(collectives, own).numpy()
        users, left_out = (int(count) for count in summed[:2])
        missed = collectives.all_reduce_sum(torch.from_numpy(self._missed).to(device)).cpu().numpy()
        means = summed[2:].reshape(self._totals.shape) / users if users else np.full(self._totals.shape, np.nan)
        found: dict[str, float] = {}
        for number, cutoff in enumerate(self.cutoffs):
            found |= {f"{name}@{cutoff}": float(means[number, place]) for place, name in enumerate(RANKING_METRICS)}
            found[f"coverage@{cutoff}"] = float(-np.expm1(missed[number]).sum() / num_candidates)
            found[f"popularity@{cutoff}"] = float(means[number, -1])
        return {**found, "users": users, "users_left_out": left_out}
