"""Random side features, some with several values; a backbone that takes none leaves them alone."""

from __future__ import annotations

import numpy as np
import torch

from distributed_il.data.features import Features

USER_VALUES, ITEM_VALUES = (2, 7), (4,)
ITEM_WIDTHS = (3,)
"""Items have up to three values in their column."""


def random_features(num_users: int, num_items: int, seed: int = 0) -> Features:
    """Two columns of users, and one of items with several values, unknown ones among them."""
    rng = np.random.default_rng(seed)
    users = np.stack([rng.integers(0, 1 + count, num_users, dtype=np.uint8) for count in USER_VALUES], axis=1)
    items = np.zeros((num_items, *ITEM_WIDTHS), np.uint8)
    for row in items:
        several = rng.permutation(np.arange(1, 1 + ITEM_VALUES[0]))[: rng.integers(0, 1 + row.size)]
        row[: several.size] = np.sort(several)
    return Features(torch.from_numpy(users), torch.from_numpy(items), USER_VALUES, ITEM_VALUES, (1, 1), ITEM_WIDTHS)
