"""The growth benchmark's logs, its runs, and the figures that it makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.growth import Plan, answer, describe, label, measure, simulate_missing
from benchmarks.training_ranks import Speed
from distributed_il.config import TrainConfig
from distributed_il.dataset import Dataset

SIZES = (1_000, 2_000, 10_000)


def speed(rows_per_s: float, anonymous: int, at_the_end: int) -> Speed:
    return Speed(
        rows_per_s=rows_per_s,
        pass_s=1.0,
        other_s=1.0,
        data_wait_share=0.0,
        collectives_share=0.0,
        peak_memory_bytes=[1_000],
        pass_memory_bytes={"anonymous": [anonymous], "file": [10], "shared": [3]},
        run_memory_bytes={"anonymous": [at_the_end], "file": [11], "shared": [3]},
    )


def test_sizes_in_names() -> None:
    assert [label(size) for size in (400_000, 1_000_000, 100_000_000)] == ["0.4m", "1m", "100m"]


def test_logs_that_are_missing_are_simulated_and_others_are_left(tmp_path: Path) -> None:
    plan = Plan(data=str(tmp_path), users=20, items=30, sizes=(120, 140), repeats=(1, 1))
    simulate_missing(plan)
    logs = [Dataset.open(plan.path(size)) for size in plan.sizes]
    assert [[log.rows(split) for split in ("train", "valid", "test")] for log in logs] == [[72, 24, 24], [84, 28, 28]]
    assert {(log.num_users, log.num_items) for log in logs} == {(20, 30)}
    # 52 % of 120 rows, rounded down.
    assert logs[0].manifest.counts["positives"] == 62
    before = Path(plan.path(120), "manifest.json").stat().st_mtime_ns
    simulate_missing(plan)
    assert Path(plan.path(120), "manifest.json").stat().st_mtime_ns == before
    assert describe(plan)["fingerprint_0.00012m"] == logs[0].fingerprint[:12]


def test_short_logs_are_timed_over_several_rounds_and_weighed_over_one() -> None:
    plan = Plan(data="logs", sizes=SIZES, repeats=(2, 1, 1), timed_rows=1_200)
    runs: list[tuple[str, int]] = []

    def run(config: TrainConfig) -> Speed:
        runs.append((config.data.path, config.run.max_rounds))
        return speed(1.0, 1, 2)

    measure(plan, run)
    # 600 rows twice make 1,200; 1,200 and 6,000 do once, and their timed run serves both.
    assert runs == [
        ("logs/growth_0.001m", 2),
        ("logs/growth_0.001m", 1),
        ("logs/growth_0.002m", 1),
        ("logs/growth_0.01m", 1),
        ("logs/growth_0.001m", 2),
        ("logs/growth_0.001m", 1),
    ]


def test_figures_by_hand() -> None:
    plan = Plan(data="logs", sizes=SIZES, repeats=(1, 1, 1), timed_rows=600)
    found = {
        "logs/growth_0.001m": speed(100.0, 50, 60),
        "logs/growth_0.002m": speed(90.0, 52, 70),
        "logs/growth_0.01m": speed(80.0, 60, 96),
    }
    figures = measure(plan, lambda config: found[config.data.path])
    assert figures["rows_per_s_0.002m"].repeats == [90.0]
    # 80 / 100 lies below 0.85; 60 / 50 and 96 / 60 above 1.1.
    assert figures["rows_per_s_slowest_over_fastest"].median == pytest.approx(0.8)
    assert figures["pass_anonymous_largest_over_smallest"].median == pytest.approx(1.2)
    assert figures["run_anonymous_largest_over_smallest"].median == pytest.approx(1.6)
    assert not any(figures[name].met for name in list(figures)[:3])
    # 96 − 60 bytes for (10,000 − 1,000) / 5 rows.
    assert figures["run_anonymous_bytes_per_more_evaluated_row"].median == pytest.approx(36 / 1_800)
    assert figures["decoded_bytes_0.01m"].median == 90_000
    assert answer(plan, figures).count("missed") == 3
