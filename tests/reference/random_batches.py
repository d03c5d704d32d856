"""Random global batches, and the part of one that a rank holds."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from distributed_il.data.loading.batch import Batch, Unlabelled


def random_batch(
    rng: np.random.Generator,
    *,
    rows: int,
    num_users: int,
    num_items: int,
    rate: int = 0,
    invalid_share: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """A global batch with many repeats where rows are many and ids few; its pairs have the rows' users.

    A label is likelier 1 where user and item have the same parity, so that there is something to learn.
    """
    users, items = rng.integers(0, num_users, rows), rng.integers(0, num_items, rows)
    labels = rng.random(rows) < np.where((users + items) % 2 == 0, 0.8, 0.3)
    unlabelled = None
    if rate:
        weight = (rng.random(rows * rate) >= invalid_share).astype(np.float64)
        unlabelled = Unlabelled(
            torch.from_numpy(np.repeat(users, rate)),
            torch.from_numpy(rng.integers(0, num_items, rows * rate)),
            torch.from_numpy(weight).to(dtype),
            rate,
        )
    return Batch(
        torch.from_numpy(users),
        torch.from_numpy(items),
        torch.from_numpy(labels).to(dtype),
        torch.from_numpy(rng.permutation(10 * rows)[:rows]),
        unlabelled,
        global_count=rows,
        capacity=rows,
    )


def weighted_batch(batch: Batch, rng: np.random.Generator) -> Batch:
    """The same global batch with weights 1, 2 or 3, which its pairs have from their rows."""
    weights = torch.from_numpy(rng.integers(1, 4, batch.labels.numel())).to(batch.labels.dtype)
    pairs = batch.unlabelled
    if pairs is not None:
        pairs = dataclasses.replace(pairs, weight=pairs.weight * weights.repeat_interleave(pairs.rate))
    return dataclasses.replace(batch, unlabelled=pairs, weights=weights, global_weight=float(weights.sum()))


def part_of_rank(batch: Batch, rank: int, world_size: int) -> Batch:
    """The rows n of a global batch with n mod W = rank, with their pairs."""
    count = batch.labels.numel()
    rows = torch.arange(count)[rank::world_size]
    pairs = batch.unlabelled
    if pairs is not None:
        places = (rows.unsqueeze(1) * pairs.rate + torch.arange(pairs.rate)).reshape(-1)
        pairs = Unlabelled(pairs.user_ids[places], pairs.item_ids[places], pairs.weight[places], pairs.rate)
    return Batch(
        batch.user_ids[rows],
        batch.item_ids[rows],
        batch.labels[rows],
        batch.row_numbers[rows],
        pairs,
        global_count=count,
        capacity=math.ceil(count / world_size),
        weights=None if batch.weights is None else batch.weights[rows],
    )
