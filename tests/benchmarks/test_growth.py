"""The growth benchmark's logs, its runs, and the figures that it makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.common.training_ranks import Speed
from benchmarks.growth import MORE_BYTES, Plan, answer, describe, label, measure, simulate_missing
from distributed_il.core.config import TrainConfig
from distributed_il.data.dataset import Dataset

SIZES = (1_000, 2_000, 10_000)


def speed(rows_per_s: float, anonymous: int) -> Speed:
    return Speed(
        rows_per_s=rows_per_s,
        pass_s=2.0,
        other_s=1.0,
        data_wait_share=0.25,
        collectives_share=0.0,
        peak_memory_bytes=[1],
        pass_memory_bytes={"anonymous": [anonymous], "file": [1], "shared": [3]},
    )


def memory(anonymous: int, data: int) -> dict[str, int]:
    return {"anonymous": anonymous, "file": 5, "shared": 6, "data": data}


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
    facts = describe(plan)
    assert facts["fingerprint_0.00012m"] == logs[0].fingerprint[:12]
    on_disk = [path.stat().st_size for path in Path(plan.path(120)).rglob("*.*") if path.name != "manifest.json"]
    assert facts["file_bytes_0.00012m"] == sum(on_disk)


class Stand:
    """Trains nothing, and tells what was asked."""

    def __init__(self, found: dict[str, tuple[Speed, dict[str, int]]], least: int = 0) -> None:
        self.found, self.least = found, least
        self.runs: list[tuple[str, int, int | None]] = []

    def __call__(self, config: TrainConfig, limit_bytes: int | None) -> tuple[Speed, dict[str, int]]:
        assert config.run.max_failures == 0
        self.runs.append((config.data.path, config.run.max_rounds, limit_bytes))
        if limit_bytes is not None and limit_bytes < self.least:
            raise RuntimeError("no memory left")
        return self.found[config.data.path]


FOUND = {
    "logs/growth_0.001m": (speed(100.0, 50), memory(70, 900)),
    "logs/growth_0.002m": (speed(90.0, 52), memory(80, 950)),
    "logs/growth_0.01m": (speed(80.0, 60), memory(106, 990)),
}


def test_short_logs_take_more_rounds_and_the_largest_a_limit() -> None:
    plan = Plan(data="logs", sizes=SIZES, repeats=(2, 1, 1), timed_rows=1_200)
    train = Stand(FOUND)
    measure(plan, train)
    # 600 rows twice make 1,200; 1,200 and 6,000 do once.
    assert train.runs == [
        ("logs/growth_0.001m", 2, None),
        ("logs/growth_0.002m", 1, None),
        ("logs/growth_0.01m", 1, 900 + MORE_BYTES),
        ("logs/growth_0.001m", 2, None),
    ]


def test_figures_by_hand() -> None:
    plan = Plan(data="logs", sizes=SIZES, repeats=(1, 1, 1), timed_rows=600)
    figures = measure(plan, Stand(FOUND))
    assert figures["rows_per_s_0.002m"].repeats == [90.0]
    # 80 / 100 lies below 0.85; 60 / 50 and 106 / 70 above 1.1.
    assert figures["rows_per_s_slowest_over_fastest"].median == pytest.approx(0.8)
    assert figures["pass_anonymous_largest_over_smallest"].median == pytest.approx(1.2)
    assert figures["run_anonymous_largest_over_smallest"].median == pytest.approx(106 / 70)
    assert not any(figures[name].met for name in list(figures)[:3])
    assert figures["largest_within_limit"].met
    # 106 − 70 bytes for (10,000 − 1,000) / 5 rows.
    assert figures["run_anonymous_bytes_per_more_evaluated_row"].median == pytest.approx(36 / 1_800)
    assert figures["run_data_bytes_0.01m"].median == 990
    assert figures["decoded_bytes_0.01m"].median == 90_000
    # A quarter of 2 s in one round.
    assert figures["data_wait_s_per_round_0.01m"].median == 0.5
    assert answer(plan, figures).count("missed") == 3
    assert "kept within 64 MiB" in answer(plan, figures)


def test_a_worker_that_does_not_keep_to_the_limit_is_told_and_runs_without(capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(data="logs", sizes=SIZES, repeats=(1, 1, 1), timed_rows=600)
    train = Stand(FOUND, least=901 + MORE_BYTES)
    figures = measure(plan, train)
    assert train.runs[-2:] == [("logs/growth_0.01m", 1, 900 + MORE_BYTES), ("logs/growth_0.01m", 1, None)]
    assert figures["largest_within_limit"].met is False
    assert figures["run_data_bytes_0.01m"].median == 990
    assert "no memory left" in capsys.readouterr().err
    assert "did **not** keep within 64 MiB" in answer(plan, figures)


def test_any_other_failure_ends_the_benchmark() -> None:
    def fail(config: TrainConfig, limit_bytes: int | None) -> tuple[Speed, dict[str, int]]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        measure(Plan(data="logs", sizes=SIZES), fail)
