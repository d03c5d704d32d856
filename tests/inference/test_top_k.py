"""The best items against a full sort, with ties, seen items, strangers and blocks of any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distributed_il.core.config import ModelConfig
from distributed_il.data.sampling import PairIndex
from distributed_il.evaluation import top_items as blocks
from distributed_il.evaluation.fallbacks import KnownIds, Priors
from distributed_il.inference import top_k as module
from distributed_il.inference.choice import Choice
from distributed_il.inference.config import Cold
from distributed_il.inference.model import ServedModel
from distributed_il.inference.top_k import top_items
from distributed_il.models.backbones import load_backbone

USERS = 6


def make_model(rng: np.random.Generator, items: int, backbone: str = "backbones:DotProduct") -> ServedModel:
    """Rows of small whole numbers, so that logits tie often and are exact."""
    tower = load_backbone(ModelConfig(backbone=backbone, embedding_dim=2), seed=0).requires_grad_(False)
    return ServedModel(
        backbone=tower,
        users=rng.integers(-2, 3, (USERS, tower.user_dim)).astype(np.float32),
        items=rng.integers(-2, 3, (items, tower.item_dim)).astype(np.float32),
        known=KnownIds(rng.random(USERS) < 0.8, rng.random(items) < 0.8),
        priors=Priors(rng.integers(-2, 3, items).astype(np.float64), 0.5),
    )


def by_full_sort(model: ServedModel, user: int, top: int, choice: Choice) -> list[tuple[int, float]]:
    """By (−score, id), of all items that may come; unknown ones behind the others, or not at all."""
    (seen,), cold = choice.left_out, choice.cold
    items = np.arange(len(model.items))
    logits = model.score(np.full(items.size, user), items)[0].tolist()
    own = set() if user < 0 else set(seen.items[seen.indptr[user] : seen.indptr[user + 1]].tolist())
    known = model.known.items.tolist()
    if choice.allowed is not None:
        own |= set(np.flatnonzero(~choice.allowed).tolist())
    pairs = [(i, x) for i, x in enumerate(logits) if i not in own and (known[i] or cold != "leave_out")]
    return sorted(pairs, key=lambda pair: (cold == "last" and not known[pair[0]], -pair[1], pair[0]))[:top]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    items=st.integers(1, 40),
    top=st.integers(1, 12),
    block=st.integers(1, 41),
    most=st.sampled_from([0, 4]),
    cold=st.sampled_from(["leave_out", "last", "prior"]),
    share=st.sampled_from([None, 0.0, 0.2, 0.9]),
)
def test_they_are_those_of_a_full_sort(
    seed: int, items: int, top: int, block: int, most: int, cold: Cold, share: float | None
) -> None:
    rng = np.random.default_rng(seed)
    model = make_model(rng, items)
    seen = PairIndex.from_pairs(rng.integers(0, USERS, 2 * items), rng.integers(0, items, 2 * items), USERS)
    users = rng.permutation(np.append(np.arange(USERS), -1))
    choice = Choice((seen,), None if share is None else rng.random(items) < share, cold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ITEMS_AT_ONCE", block)
        patch.setattr(blocks, "MOST_CANDIDATES", most)  # 0 looks for each block's own best first
        best = top_items(model, users, top=top, choice=choice)
    for place, user in enumerate(users.tolist()):
        pairs = zip(best.item_ids[place].tolist(), best.logits[place].tolist(), strict=True)
        assert [pair for pair in pairs if pair[1] > -math.inf] == by_full_sort(model, user, top, choice)


@pytest.mark.parametrize("backbone", ["gmf", "neumf", "bias_mf", "mlp", "deepfm"])
def test_scores_are_the_towers(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ITEMS_AT_ONCE", 7)
    model = make_model(np.random.default_rng(3), 20, backbone)
    best = top_items(model, np.arange(USERS), top=5)
    for user in range(USERS):
        logits, _ = model.score(np.full(5, user), best.item_ids[user].numpy())
        torch.testing.assert_close(best.logits[user], logits)
        known = np.flatnonzero(model.known.items)
        highest = model.score(np.full(known.size, user), known)[0].sort(descending=True).values[:5]
        torch.testing.assert_close(best.logits[user], highest)
