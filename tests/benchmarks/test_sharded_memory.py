"""The memory benchmark's sizes, and its training on a small scale."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sharded_memory import Plan, train
from distributed_il.core.collectives import LocalCollectives


def test_the_limit_lies_below_the_tables_and_above_half_of_them() -> None:
    plan = Plan(num_users=90, num_items=10, embedding_dim=8, limit_share=0.75)
    assert plan.table_bytes == 100 * (3 * 8 * 4 + 4)
    assert plan.limit_bytes == 7_500
    assert Plan().table_bytes / 2 < Plan().limit_bytes < Plan().table_bytes


def test_a_rank_trains_and_finds_its_rows_again(tmp_path: Path) -> None:
    plan = Plan(num_users=200, num_items=50, embedding_dim=8, batch=64, steps=60)
    found = train(plan, str(tmp_path), LocalCollectives())
    assert found["held_bytes"] == plan.table_bytes
    assert found["loss_last_tenth"] < found["loss_first_tenth"]
    assert found["sum_changed"] == 0
