"""Splits simulated rows into train, valid and test, so that training sees every user and item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TRAIN_SHARE, VALID_SHARE = 0.6, 0.2
"""The paper's 60 / 20 / 20."""


def split_rows(
    rows: NDArray[np.int64], users: NDArray[np.int32], items: NDArray[np.int32], *, num_users: int, num_items: int
) -> dict[str, NDArray[np.int64]]:
    """Cuts shuffled rows into 60 % train, 20 % valid and 20 % test.

    A row whose user or item would have none in train changes places with a training row that can be spared, so that
    every evaluated user and item is known.

    Args:
        rows: int64[n], row numbers in random order; every user and every item has one, and 60 % of n is at least
            num_users + num_items.
        users: int32, user of each row number.
        items: int32, item of each row number.
        num_users: Number of users.
        num_items: Number of items.

    Returns:
        Row numbers of train, valid and test.
    """
    order = rows.copy()
    num_train = round(TRAIN_SHARE * len(order))
    num_valid = round(VALID_SHARE * len(order))
    user_rows = np.bincount(users[order[:num_train]], minlength=num_users)
    item_rows = np.bincount(items[order[:num_train]], minlength=num_items)
    rest = order[num_train:]
    lonely = np.flatnonzero((user_rows[users[rest]] == 0) | (item_rows[items[rest]] == 0))
    for place in (num_train + lonely).tolist():
        joins = order[place]
        if user_rows[users[joins]] and item_rows[items[joins]]:
            continue  # a row before it has brought both in
        train = order[:num_train]
        # So many rows form a cycle of users and items; each row of it can be spared.
        leaves_place = np.flatnonzero((user_rows[users[train]] > 1) & (item_rows[items[train]] > 1))[-1]
        leaves = order[leaves_place]
        order[place], order[leaves_place] = leaves, joins
        for row, change in ((joins, 1), (leaves, -1)):
            user_rows[users[row]] += change
            item_rows[items[row]] += change
    valid_end = num_train + num_valid
    return {"train": order[:num_train], "valid": order[num_train:valid_end], "test": order[valid_end:]}
