"""The recommend benchmark on small tables: its brute force is one, and its figures are there."""

from __future__ import annotations

import numpy as np

from benchmarks.recommend import Plan, brute_force, exactness, random_model, seen_pairs

SMALL = Plan(users=30, items=50, top=5, seen_pairs=200, embedding_dim=4, checked_users=30)


def test_brute_force_leaves_out_what_was_seen_and_sorts_the_rest() -> None:
    model, seen = random_model(SMALL, "gmf"), seen_pairs(SMALL)
    for user in range(3):
        own = set(seen.items[seen.indptr[user] : seen.indptr[user + 1]].tolist())
        logits = {item: float(model.users[user] @ model.items[item]) for item in range(50) if item not in own}
        items, found = brute_force(model, user, 5, seen)
        assert items.tolist() == sorted(logits, key=lambda item: -logits[item])[:5]
        np.testing.assert_allclose(found, [logits[item] for item in items.tolist()], rtol=1e-5)


def test_rankings_are_exact_and_a_wrong_one_would_show() -> None:
    model, seen = random_model(SMALL, "mlp"), seen_pairs(SMALL)
    same, furthest = exactness(model, np.arange(30), 5, seen)
    assert same == 1
    assert furthest < 1e-6
    model.backbone.all_pairs = lambda users, items: users @ items.T  # type: ignore[method-assign]
    same, furthest = exactness(model, np.arange(30), 5, seen)
    assert same < 0.9
    assert furthest > 0.1
