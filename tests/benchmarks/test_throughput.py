"""The benchmark of throughput: what is compared with what, and the ways of feeding a run do the same run."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import write_small_dataset

from benchmarks.common.training_ranks import Speed, Way, run_way
from benchmarks.throughput import Case, Kind, Plan, answer, measure
from distributed_il.core.config import TrainConfig, config_from_dict

RATES: dict[Way, float] = {"bare": 1000.0, "torch_distributed": 880.0, "stream": 800.0}


def speed(rate: float) -> Speed:
    return Speed(
        rows_per_s=rate,
        pass_s=1.0,
        other_s=2.0,
        data_wait_share=0.25,
        collectives_share=0.5,
        peak_memory_bytes=[1],
        pass_memory_bytes={},
    )


def test_ratios_are_of_runs_of_the_same_repeat_and_the_same_kind() -> None:
    told: list[tuple[Way, int, str, int, int]] = []
    data: list[str] = []
    sharded: list[bool] = []

    def run(way: Way, config: TrainConfig) -> Speed:
        told.append((way, config.run.workers, config.method.name, config.run.batch_size, config.run.max_rounds))
        sharded.append(config.model.tables == "sharded")
        data.append(config.data.path)
        # Every way is twice as fast in the second repeat, and two workers are a half faster than one, or by three
        # quarters with sharded tables.
        repeat = 2 if len(told) > 7 else 1
        return speed(RATES[way] * repeat * (1.75 if sharded[-1] else 1.5 if config.run.workers == 2 else 1.0))

    ways: tuple[Kind, ...] = ("bare", "torch_distributed", "stream", "stream_sharded")
    case = Case("neumf", "ig", 8192, ways, rounds=3, repeats=2)
    epoch = Case("gmf", "none", ways=("stream",), whole=True)
    figures = measure(Plan(data="part", whole_data="whole", cases=(case,), epochs=(epoch,), repeats=5), run)
    turn = [(way, workers) for workers in (1, 2) for way in ways[:3]] + [("stream", 2)]
    assert [(way, workers) for way, workers, *_ in told] == [*turn, *turn, ("stream", 1), ("stream", 2)]
    assert sharded == [*[False] * 6, True] * 2 + [False] * 2
    assert data == [*["part"] * 14, "whole", "whole"]
    assert told[0][2:] == ("ig", 8192, 3)
    assert told[-1][2:] == ("none", 1024, 1)
    assert figures["neumf_ig_batch_8192_stream_over_bare_1_worker"].repeats == [0.8, 0.8]
    assert figures["neumf_ig_batch_8192_stream_over_torch_distributed_2_workers"].repeats == pytest.approx(
        [10 / 11] * 2
    )
    second = figures["neumf_ig_stream_2_over_1_workers_batch_8192"]
    assert (second.repeats, second.at_least, second.met) == ([1.5, 1.5], 1.35, True)
    second = figures["neumf_ig_stream_sharded_2_over_1_workers_batch_8192"]
    assert (second.repeats, second.at_least) == ([1.75, 1.75], 1.35)
    assert figures["neumf_ig_batch_8192_stream_2_workers_rows_per_s"].repeats == [1200.0, 2400.0]
    assert figures["epoch_gmf_none_stream_1_worker_rows_per_s"].repeats == [1600.0]
    assert figures["epoch_gmf_none_stream_1_worker_data_wait_share"].repeats == [0.25]


def test_what_is_missed_is_said() -> None:
    case = Case("gmf", "ig", ways=("bare", "stream"))
    plan = Plan(data="part", whole_data="whole", cases=(case,), epochs=(), workers=(1,), repeats=1)
    figures = measure(plan, lambda way, config: speed(RATES[way]))
    assert figures["gmf_ig_stream_over_bare_1_worker"].at_least == 0.85
    assert answer(figures) == "0 of 1 targets are met; missed: gmf_ig_stream_over_bare_1_worker (0.800)."


@pytest.mark.cluster  # half a minute
@pytest.mark.parametrize("way", ["bare", "torch_distributed"])
def test_two_ranks_train_in_processes_of_their_own(way: Way, tmp_path: Path) -> None:
    write_small_dataset(tmp_path / "dataset")
    run = {"dir": str(tmp_path / "run"), "workers": 2, "batch_size": 64, "max_rounds": 1}
    config = config_from_dict({"data": {"path": str(tmp_path / "dataset")}, "run": run})
    found = run_way(way, config)
    assert found.rows_per_s > 0
    assert len(found.peak_memory_bytes) == 2


def test_a_failed_process_says_why(tmp_path: Path) -> None:
    config = config_from_dict({"data": {"path": str(tmp_path / "nowhere")}, "run": {"dir": str(tmp_path / "run")}})
    with pytest.raises(RuntimeError, match="nowhere"):
        run_way("torch_distributed", config)
