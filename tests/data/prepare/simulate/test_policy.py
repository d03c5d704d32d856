"""A logging policy with taste: the same bits however it is cut, and what is shown liked the more the stronger it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from distributed_il.data.prepare.simulate.drawing import draw_log
from distributed_il.data.prepare.simulate.policy import DAYS, LoggingPolicy
from distributed_il.data.prepare.simulate.policy_pool import draw_policy_pool
from distributed_il.data.prepare.simulate.population import Population, draw_population
from distributed_il.data.prepare.simulate.watch_log import LogSize
from distributed_il.data.prepare.simulate.watches import UNCLEAR, draw_durations, kuaishou_labels

SIZE = LogSize(users=300, items=400, positives=6_000, negatives=5_000, unclear=4_000)
COLUMNS = ("users", "items", "play_ms", "duration_ms", "labels", "preferences", "days")


@pytest.fixture(scope="module")
def population() -> Population:
    return draw_population(np.random.default_rng(0), SIZE.users, SIZE.items)


def show(population: Population, strength: float, watches: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, items and days of so many watches a user."""
    nothing = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    policy = LoggingPolicy(population, 1, strength)
    keys, days = policy.show(0, np.full(SIZE.users, watches), nothing)
    return *np.divmod(keys, SIZE.items), days


def test_the_log_does_not_depend_on_the_chunks(population: Population) -> None:
    durations = draw_durations(np.random.default_rng(1), SIZE.items)
    whole, kept = draw_policy_pool(population, durations, SIZE, SIZE.rows, 7, strength=1.0)
    for chunk_rows in (700, 4_211):
        cut, kept_too = draw_policy_pool(population, durations, SIZE, SIZE.rows, 7, strength=1.0, chunk_rows=chunk_rows)
        assert kept_too.tobytes() == kept.tobytes()
        for column in COLUMNS:
            assert getattr(cut, column).tobytes() == getattr(whole, column).tobytes()


@pytest.mark.parametrize(
    "size", [SIZE, replace(SIZE, unclear=0), LogSize(users=20, items=20, positives=40, negatives=40, unclear=20)]
)
def test_counts_are_exact_and_labels_what_the_rule_says(size: LogSize) -> None:
    drawn = draw_log(size, seed=2, strength=1.0)
    counted = [int(np.count_nonzero(drawn.labels == label)) for label in (1, 0, UNCLEAR)]
    assert counted == [size.positives, size.negatives, size.unclear]
    assert (np.diff(drawn.users.astype(np.int64) * size.items + drawn.items) > 0).all()
    np.testing.assert_array_equal(
        kuaishou_labels(drawn.play_ms.astype(np.int64), drawn.duration_ms.astype(np.int64)), drawn.labels
    )
    clear = drawn.labels != UNCLEAR
    assert len(np.unique(drawn.users[clear])) == size.users
    assert len(np.unique(drawn.items[clear])) == size.items
    if size == SIZE:
        labels, preferences = drawn.labels[clear], drawn.preferences[clear]
        for low in (0.0, 0.5):
            within = (preferences >= low) & (preferences < low + 0.5)
            assert labels[within].mean() == pytest.approx(preferences[within].mean(), abs=0.03)


def test_what_is_shown_is_liked_the_more_the_stronger_the_policy(population: Population) -> None:
    liked = [
        float(population.logits(users, items).mean())
        for users, items, _ in (show(population, strength) for strength in (0.0, 0.5, 1.0))
    ]
    # Of 8 candidates whose logits spread by √(1.5² + 0.9²) = 1.75, those known by half would give about ½ at most.
    assert liked[0] + 0.2 < liked[1] < liked[2] - 0.1


def test_without_strength_items_are_shown_by_popularity(population: Population) -> None:
    _, items, days = show(population, 0.0, watches=10)
    last = days == DAYS - 1  # when every item is out
    expected = population.popularity * np.count_nonzero(last)
    top = np.argsort(-expected)[:100]
    assert np.count_nonzero(np.isin(items[last], top)) == pytest.approx(
        expected[top].sum(), abs=4 * expected.sum() ** 0.5
    )


def test_users_and_items_go_on_arriving(population: Population) -> None:
    users, items, days = show(population, 1.0)
    assert days.min() == 0
    assert days.max() == DAYS - 1
    for ids, number in ((users, SIZE.users), (items, SIZE.items)):
        first = np.full(number, DAYS)
        np.minimum.at(first, ids, days)
        # A third come within the log.
        assert 0.2 < (first > 1).mean() < 0.6


def test_every_item_is_shown_to_somebody_once_both_are_there(population: Population) -> None:
    keys, days = LoggingPolicy(population, 4, 1.0).first_shown()
    assert (np.diff(keys) > 0).all()
    assert sorted((keys % SIZE.items).tolist()) == list(range(SIZE.items))
    # A third of the items come within the log, on which day they may be shown; the others on any.
    assert days.min() == 0
    assert days.max() == DAYS - 1
