"""Folding users in where logits are linear in their rows: users of like length side by side, two products a step.

A user's row must not depend on who is folded in beside it, by no bit. A batched product takes each matrix alike where
all begin at the same place of a cache line, and there are at least two; so widths and lengths are padded to whole
lines, lengths by themselves alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distributed_il.core.config import OptimizerConfig
from distributed_il.models.backbones import Backbone
from distributed_il.models.embedding.row_adam import Rows, adam_update

Int64 = NDArray[np.int64]

LINE = 16
"""Numbers that fill whole cache lines, of four bytes or eight."""
SHORTEST = 32
"""Shorter histories are padded to this length, longer ones by a quarter at the most."""


def fold_in_linearly(
    backbone: Backbone,
    items: Tensor,
    fixed: Tensor,
    labels: Tensor,
    shares: Tensor,
    *,
    half_width: float,
    optimizer: OptimizerConfig,
    steps: int,
) -> Tensor:
    """Takes full-batch Adam steps from 0 on each user's own row w: on Σ shareᵢ · softplus(t − sᵢxᵢ), s = ±1 by label.

    With x = a·(w + fixed) + b that is softplus(u) for u = t − s·b′ − s·a·w, whose gradient is σ(u) · (−s·a).

    Args:
        backbone: One that is `linear_in_users`.
        items: Rows of the users' items, [users, L, item_dim].
        fixed: What the users' rows have beside w, [users, user_dim].
        labels: 0 or 1, of its dtype, [users, L].
        shares: Of each item in its user's loss, [users, L].
        half_width: t; 0 for log loss.
        optimizer: Learning rate and weight decay.
        steps: Adam steps.

    Returns:
        w [users, user_dim].
    """
    (users, dim), signs = fixed.shape, 2 * labels - 1
    rows = fixed.repeat_interleave(items.shape[1], dim=0).requires_grad_()
    logits = backbone(rows, items.flatten(end_dim=1))
    (slopes,) = torch.autograd.grad(logits.sum(), rows)
    slopes = torch.nn.functional.pad(slopes, (0, -dim % LINE)).view(users, items.shape[1], -1)
    slopes.mul_(-signs.unsqueeze(2))
    constants = half_width - signs * logits.detach().view_as(signs)
    own = Rows.of(slopes.new_zeros((users, 3 * slopes.shape[2])))
    for step in range(1, steps + 1):
        below = torch.bmm(slopes, own.weight.unsqueeze(2)).squeeze(2).add_(constants)
        gradient = torch.bmm(below.sigmoid_().mul_(shares).unsqueeze(1), slopes).squeeze(1)
        adam_update(
            own, gradient, step=step, learning_rate=optimizer.learning_rate, weight_decay=optimizer.weight_decay
        )
    return own.weight[:, :dim]


def groups_of_like_length(offsets: Int64, most: int) -> Iterator[tuple[Int64, Int64, Int64]]:
    """Yields groups of users whose histories are padded to one length L, which follows from a history's own alone.

    Args:
        offsets: User u has the entries from offsets[u] to offsets[u + 1], int64 [users + 1].
        most: Entries of a group at the most, padded; two users may have more.

    Yields:
        The users, who have entries, at least two of them, of which the second may be the first once more; their
        entries [users, L], behind a user's own its first one over and over; how many are its own, [users].
    """
    counts = np.diff(offsets)
    lengths = _padded(counts)
    for length in np.unique(lengths[counts > 0]):
        alike = np.flatnonzero((lengths == length) & (counts > 0))
        at_once = max(2, most // int(length))
        for start in range(0, alike.size, at_once):
            users = alike[start : start + at_once]
            users = np.repeat(users, 2) if users.size == 1 else users
            places = np.arange(length)
            entries = offsets[users, None] + np.where(places < counts[users, None], places, 0)
            yield users, entries, counts[users]


def _padded(counts: Int64) -> Int64:
    """The lengths to which histories are padded: of each octave four."""
    octave = np.floor(np.log2(np.maximum(counts, 1))).astype(np.int64)
    step = np.maximum(1 << np.maximum(octave - 2, 0), SHORTEST)
    return -(-np.maximum(counts, 1) // step) * step
