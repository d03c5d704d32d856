"""The counts of the cost model against the product's own, and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from thread_ranks import ThreadCollectives, run_on_threads

from benchmarks.steps.rank_steps import Case, Catalogue, Phase, Tables, make_window, prepare_steps, time_steps
from benchmarks.steps.step_traffic import Call, Touched, touched_rows, traffic

CATALOGUE = Catalogue(users=300, items=900)


def sent_bytes(case: Case, tables: Tables, world_size: int) -> tuple[int, float]:
    """The tower's size, and bytes that a step has handed over, averaged over ranks."""

    def steps(ranks: ThreadCollectives) -> tuple[int, float]:
        memory: dict[str, Any] = {}
        tower = prepare_steps(ranks, memory, CATALOGUE, case, tables, windows=1)
        return tower, time_steps(ranks, memory, tables, 0)[1]

    found = run_on_threads(world_size, steps)
    return found[0][0], sum(sent for _, sent in found) / world_size


@pytest.mark.parametrize(("phase", "world_size"), [("plain", 2), ("inverse", 3)])
def test_bytes_of_replicated_tables_are_those_that_the_product_counts(phase: Phase, world_size: int) -> None:
    case = Case("gmf", phase, 33)
    tower, sent = sent_bytes(case, "replicated", world_size)
    rows = touched_rows(CATALOGUE, case.batch, world_size)
    assert sum(call.size * call.count for call in traffic(case, "replicated", world_size, tower, *rows).calls) == sent


@pytest.mark.parametrize(("phase", "world_size"), [("plain", 2), ("inverse", 3)])
def test_bytes_of_sharded_tables_are_those_that_the_product_counts_on_average(phase: Phase, world_size: int) -> None:
    case = Case("gmf", phase, 256)
    tower, sent = sent_bytes(case, "sharded", world_size)
    rows = touched_rows(CATALOGUE, case.batch, world_size, samples=20)
    counted = sum(call.size * call.count for call in traffic(case, "sharded", world_size, tower, *rows).calls)
    # Batches are drawn, and row 0, the most popular one, is nobody's average.
    assert counted == pytest.approx(sent, rel=0.03)


def test_traffic_of_a_plain_step_by_hand() -> None:
    rows = Touched(own=30.0, union=50.0), Touched(own=40.0, union=70.0)
    case = Case("gmf", "plain", 15)
    replicated = traffic(case, "replicated", 2, 33, *rows)
    # Two counts; two tables of 16 places with an id and 32 floats; 33 floats, filled up to a multiple of 8 bytes.
    assert replicated.calls == (Call("gather", 16 + 2 * 16 * (8 + 128) + 136),)
    assert (replicated.waits, replicated.reduced_rows) == (1.0, 60.0)
    assert (replicated.reduced_bytes, replicated.updated_bytes) == (60 * 128, 50 * 128)
    sharded = traffic(Case("gmf", "plain", 4_000), "sharded", 2, 33, *rows)
    # Half of 30 rows lies elsewhere: fetched, sent back with the tower, and asked for with 65,536 / 4,000 batches.
    assert sharded.calls == (
        Call("swap", 15 * 128),
        Call("swap", 15 * 128 + 132),
        Call("swap", 2 * 8 * 16, 1 / 16),
        Call("swap", 15 * 8 * 16, 1 / 16),
    )
    assert (sharded.waits, sharded.reduced_rows, sharded.updated_bytes) == (2.125, 30.0, 25 * 128)


def test_a_large_tower_has_a_collective_of_its_own() -> None:
    rows = Touched(10.0, 10.0), Touched(10.0, 10.0)
    kinds = {
        (phase, world_size): [
            call.kind for call in traffic(Case("neumf", phase, 8), "replicated", world_size, 43_297, *rows).calls
        ]
        for phase in ("plain", "inverse")
        for world_size in (2, 8)
    }
    # DDP takes it in plain steps; in inverse ones it goes with the rows up to 1 MiB over all ranks.
    assert kinds["plain", 2] == kinds["plain", 8] == ["gather", "reduce"]
    assert kinds["inverse", 2] == ["gather", "gather", "gather"]
    assert kinds["inverse", 8] == ["gather", "gather", "reduce", "gather", "reduce"]
    assert traffic(Case("gmf", "inverse", 8), "sharded", 1, 33, *rows).calls == ()


def test_touched_rows_of_few_users_and_items_are_all_of_them() -> None:
    labelled, pairs = touched_rows(Catalogue(users=2, items=3), 200, 2)
    assert (labelled, pairs) == (Touched(5.0, 5.0), Touched(5.0, 5.0))


def test_windows_differ_by_rank_and_seed_and_come_again() -> None:
    case = Case("gmf", "inverse", 4_096)
    first, again, other, later = (
        make_window(CATALOGUE, case, rank, 2, seed) for rank, seed in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert len(first) == 16
    assert torch.equal(first[3].item_ids, again[3].item_ids)
    assert not torch.equal(first[3].item_ids, other[3].item_ids)
    assert not torch.equal(first[3].item_ids, later[3].item_ids)
    assert first[0].global_count == 8_192
