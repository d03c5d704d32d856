"""The best items of users, exactly: blocks of logits, of which a running list keeps the top."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.data.sampling import PairIndex
from distributed_il.evaluation.top_items import ITEMS_AT_ONCE, PairsByItem, TopItems, no_items, with_block
from distributed_il.inference.model import ServedModel


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
    left_out = PairsByItem.of(seen, user_ids)
    best = no_items(user_ids.size, user_rows.dtype)
    for start in range(0, len(model.items), ITEMS_AT_ONCE):
        block = slice(start, start + ITEMS_AT_ONCE)
        item_codes = [torch.from_numpy(table[block].copy()) for table in model.codes[1:]]
        item_rows = torch.from_numpy(model.items[block].copy())
        logits = model.backbone.all_pairs(user_rows, item_rows, *user_codes, *item_codes)
        logits[strangers] = torch.from_numpy(model.item_prior[block]).to(logits.dtype)
        if not model.item_known[block].all():
            logits[:, torch.from_numpy(~model.item_known[block])] = model.overall_prior
        logits[left_out.between(start, start + logits.shape[1])] = -torch.inf
        best = with_block(best, logits, start, top)
    return best
