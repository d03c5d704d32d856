"""Routes over ranks that are threads: who needs which rows of whom, and rows that go there and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_ranks import ThreadCollectives, run_on_threads

from distributed_il.core.collectives import LocalCollectives
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.models.embedding.routes import Routes, find_routes, swap_rows


def ids_of(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def test_keepers_learn_who_needs_which_rows() -> None:
    """Rank 0 of 2 needs users 5, 2, 5, 8 and items 1, 1, 0, 1; rank 1 needs user 2 and item 3."""
    plans = [IndexPlan.of(ids_of(5, 2, 5, 8), ids_of(1, 1, 0, 1)), IndexPlan.of(ids_of(2), ids_of(3))]
    first, second = run_on_threads(2, lambda ranks: find_routes([plans[ranks.rank]], ranks)[0])
    # Even rows are owned by rank 0, odd ones by rank 1.
    assert first.users.plan.ids.tolist() == [2, 8, 5]
    assert first.users.plan.inverse.tolist() == [2, 0, 2, 1]
    assert first.needed == ([2, 1], [1, 1])
    assert second.needed == ([1, 0], [0, 1])
    # Rank 0 is asked for users 2 and 8 by itself and for 2 by rank 1; row 2 is its second, row 8 its fifth.
    assert first.users.owned.ids.tolist() == [1, 4]
    assert first.users.owned.inverse.tolist() == [0, 1, 0]
    assert first.requested == ([2, 1], [1, 0])
    # Rank 1 is asked for items 1 and 3: its first two.
    assert second.items.owned.ids.tolist() == [0, 1]
    assert second.items.owned.inverse.tolist() == [0, 1]
    assert second.requested == ([1, 0], [1, 1])


@settings(max_examples=40)
@given(
    world_size=st.sampled_from([2, 3, 4]), counts=st.lists(st.integers(0, 9), min_size=4, max_size=4), data=st.data()
)
def test_every_rank_is_sent_the_rows_that_it_needs(world_size: int, counts: list[int], data: st.DataObject) -> None:
    """User row n holds n, n; item row n holds −n. Some ranks need nothing, and some own nothing that is needed."""
    numbers = st.integers(0, 12)
    users, items = (
        [ids_of(*data.draw(st.lists(numbers, min_size=count, max_size=count))) for count in counts] for _ in range(2)
    )

    def fetch(ranks: ThreadCollectives) -> tuple[Routes, torch.Tensor, torch.Tensor]:
        routes = find_routes([IndexPlan.of(users[ranks.rank], items[ranks.rank])], ranks)[0]
        owned: IndexPlan = routes.owned
        numbers = [(side.ids[side.inverse] * world_size + ranks.rank).double() for side in (owned.users, owned.items)]
        rows = (torch.stack([numbers[0]] * 2, dim=1), -numbers[1].unsqueeze(1))
        arrived = swap_rows(rows, routes.requested, routes.needed, ranks)
        return routes, torch.cat(arrived[0]), torch.cat(arrived[1])

    for rank, (routes, user_rows, item_rows) in enumerate(run_on_threads(world_size, fetch)):
        assert user_rows[routes.users.plan.inverse].tolist() == [[n, n] for n in users[rank].tolist()]
        assert item_rows[routes.items.plan.inverse].tolist() == [[-n] for n in items[rank].tolist()]
        for route, wanted in ((routes.users, users[rank]), (routes.items, items[rank])):
            assert sorted(route.plan.ids.tolist()) == sorted(set(wanted.tolist()))
            owners = (route.plan.ids % world_size).tolist()
            assert owners == sorted(owners)
            assert route.needed == [owners.count(owner) for owner in range(world_size)]


def test_routes_of_several_batches_are_found_in_one_go() -> None:
    def find(ranks: ThreadCollectives) -> tuple[list[Routes], list[Routes]]:
        generator = torch.Generator().manual_seed(ranks.rank)
        plans = [IndexPlan.of(*torch.randint(0, 20, (2, size), generator=generator)) for size in (5, 0, 9)]
        return find_routes(plans, ranks), [find_routes([plan], ranks)[0] for plan in plans]

    for together, alone in run_on_threads(3, find):
        for ours, theirs in zip(together, alone, strict=True):
            assert (ours.needed, ours.requested) == (theirs.needed, theirs.requested)
            for mine, other in ((ours.users, theirs.users), (ours.items, theirs.items)):
                assert torch.equal(mine.plan.inverse, other.plan.inverse)
                assert torch.equal(mine.owned.ids, other.owned.ids)
                assert torch.equal(mine.owned.inverse, other.owned.inverse)
    assert find_routes([], LocalCollectives()) == []


def test_a_dense_part_goes_to_every_rank_with_the_rows() -> None:
    def swap(ranks: ThreadCollectives) -> list[list[list[list[float]]]]:
        rows = torch.tensor([[1.0], [2.0]]) + 10 * ranks.rank  # the first row is for rank 0, the second for rank 1
        arrived = swap_rows([rows], [[1, 1]], [[1, 1]], ranks, torch.full((3,), float(ranks.rank)))
        return [[part.tolist() for part in table] for table in arrived]

    dense = [[[0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0]]]
    assert run_on_threads(2, swap) == [[[[[1.0]], [[11.0]]], dense], [[[[2.0]], [[12.0]]], dense]]


@pytest.mark.parametrize("world_size", [2, 3])
def test_ids_and_rows_are_all_that_travels(world_size: int) -> None:
    """Every rank needs users 0 … 5 and item 0."""

    def sent(ranks: ThreadCollectives) -> int:
        routes = find_routes([IndexPlan.of(torch.arange(6), torch.zeros(6, dtype=torch.int64))], ranks)[0]
        users, items = (sum(counts) for counts in routes.requested)
        swap_rows((torch.zeros(users, 4), torch.zeros(items, 2)), routes.requested, routes.needed, ranks)
        return ranks.sent_bytes

    for rank, found in enumerate(run_on_threads(world_size, sent)):
        others, share = world_size - 1, 6 // world_size
        to_others = 6 - share + (rank != 0)  # ids of rows that others own; rank 0 owns the item
        answers = others * (share * 4 + (rank == 0) * 2)
        assert found == others * 2 * 8 + to_others * 8 + answers * 4
