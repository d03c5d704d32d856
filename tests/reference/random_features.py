"""Random side features; a backbone that takes none leaves them alone."""

from __future__ import annotations

import numpy as np
import torch

from distributed_il.data.features import Features

USER_VALUES, ITEM_VALUES = (2, 7), (4,)


def random_features(num_users: int, num_items: int, seed: int = 0) -> Features:
    """Two columns of users and one of items, unknown values among them."""
    rng = np.random.default_rng(seed)
    users, items = (
        np.stack([rng.integers(0, 1 + count, rows, dtype=np.uint8) for count in values], axis=1)
        for rows, values in ((num_users, USER_VALUES), (num_items, ITEM_VALUES))
    )
    return Features(torch.from_numpy(users), torch.from_numpy(items), USER_VALUES, ITEM_VALUES)
