from __future__ import annotations

import numpy as np

from benchmarks.sampling import Draws, Plan, measure, simulated_pairs
from distributed_il.data.sampling import UnlabelledSampler


def test_simulated_pairs_are_distinct_in_range_and_fall_with_the_number_of_the_user() -> None:
    index = simulated_pairs(50, 400, 3_000, np.random.default_rng(1))
    assert index.items.size == 3_000
    assert index.num_users == 50
    assert (index.items >= 0).all()
    assert (index.items < 400).all()
    for user in range(50):
        assert (np.diff(index.items[index.indptr[user] : index.indptr[user + 1]]) > 0).all()
    # 1 / √n: the first quarter of the users holds half of the pairs, less what repetitions took from it.
    share = int(index.indptr[12]) / 3_000
    assert 0.35 < share < 0.55


def test_draws_go_on_through_the_rows_and_begin_again_at_their_end() -> None:
    seen: list[tuple[list[int], list[int], int]] = []

    class Recorder(UnlabelledSampler):
        __slots__ = ()

        def draw(self, user_ids: np.ndarray, row_numbers: np.ndarray, round: int):  # type: ignore[no-untyped-def]
            seen.append((user_ids.tolist(), row_numbers.tolist(), round))
            return super().draw(user_ids, row_numbers, round)

    index = simulated_pairs(5, 20, 30, np.random.default_rng(1))
    draws = Draws(Recorder(index, 20, seed=0), np.array([4, 3, 2, 1, 0]), rows=2)
    for _ in range(3):
        draws()
    # Of five rows four begin a pair of rows: 0, 2, then 4 modulo 4.
    assert seen == [([4, 3], [0, 1], 1), ([2, 1], [2, 3], 2), ([4, 3], [0, 1], 3)]


def test_every_source_is_timed_in_batches_and_in_windows() -> None:
    plan = Plan(num_users=20, num_items=200, observed_pairs=900, logged_pairs=100, batch=8, repeats=3)
    figures = measure(plan)
    kinds = [f"{source}_{call}_ms" for source in ("sampled", "logged", "both") for call in ("batch", "window")]
    assert list(figures) == [*kinds, "index_bytes_per_pair"]
    for kind in kinds:
        assert len(figures[kind].repeats) == 3
        assert figures[kind].median > 0
        assert figures[kind].at_most == 0.25
    # 21 offsets of eight bytes and 900 items of four.
    assert figures["index_bytes_per_pair"].median == (21 * 8 + 900 * 4) / 900
