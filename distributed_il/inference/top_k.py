"""The best items of users, exactly: blocks of logits, of which a running list keeps the top."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.evaluation.fallbacks import rank_last
from distributed_il.evaluation.top_items import ITEMS_AT_ONCE, PairsByItem, TopItems, no_items, with_block
from distributed_il.inference.choice import Choice
from distributed_il.inference.model import ServedModel


@torch.no_grad()
def top_items(
    model: ServedModel,
    user_ids: NDArray[np.int64],
    *,
    top: int,
    choice: Choice | None = None,
) -> TopItems:
    """Finds the K items of highest logit for each user; of equal ones those of lower id.

    To a user whom the model does not know each item counts as much as its own mean, as in `ServedModel.score`.

    Args:
        model: Whose logits.
        user_ids: Dense ids, int64 [U]; −1 for a user that the dataset does not know.
        top: K.
        choice: Which items; None for all. Where one goes that the model does not know, its logit is that of the mean
            over all rows, as in `ServedModel.score`.
    """
    user_rows = torch.from_numpy(model.users.take(user_ids, axis=0))
    user_codes = [torch.from_numpy(table.take(user_ids, axis=0)) for table in model.codes[:1]]
    strangers = torch.from_numpy(~model.known.users[user_ids] | (user_ids < 0))
    choice = Choice() if choice is None else choice
    left_out = PairsByItem.of(choice.left_out, user_ids)
    best = no_items(user_ids.size, user_rows.dtype)
    for start in range(0, len(model.items), ITEMS_AT_ONCE):
        block = slice(start, start + ITEMS_AT_ONCE)
        forbidden = None if choice.allowed is None else torch.from_numpy(~choice.allowed[block])
        if forbidden is not None and forbidden.all():
            continue
        item_codes = [torch.from_numpy(table[block].copy()) for table in model.codes[1:]]
        item_rows = torch.from_numpy(model.items[block].copy())
        logits = model.backbone.all_pairs(user_rows, item_rows, *user_codes, *item_codes)
        logits[strangers] = torch.from_numpy(model.priors.items[block]).to(logits.dtype)
        unknown = torch.from_numpy(~model.known.items[block])
        if choice.cold == "last":
            rank_last(logits, unknown)
        elif unknown.any():
            logits[:, unknown] = model.priors.overall if choice.cold == "prior" else -torch.inf
        if forbidden is not None:
            logits[:, forbidden] = -torch.inf
        logits[left_out.between(start, start + logits.shape[1])] = -torch.inf
        best = with_block(best, logits, start, top)
    if choice.cold != "last":
        return best
    known = torch.from_numpy(model.known.items[best.item_ids.numpy()]) | best.logits.isneginf()
    return TopItems(best.item_ids, best.logits.where(known, model.priors.overall))
