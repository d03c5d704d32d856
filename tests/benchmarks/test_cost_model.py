"""The cost model by hand, its fit to times that it has made itself, and the benchmark from end to end in small."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cost_model import Plan, all_curves, figures_of, held_out_errors, measure, observations
from benchmarks.steps.gloo_ranks import RankGroup
from benchmarks.steps.rank_steps import KINDS, Case
from benchmarks.steps.scaling_curve import crossing, draw_curves
from benchmarks.steps.step_model import CollectiveTime, Network, StepModel, StepTime, fit, nonnegative_fit, ring, turns
from benchmarks.steps.step_traffic import Call, Touched, Traffic, traffic

PLAIN, INVERSE = Case("gmf", "plain", 100), Case("gmf", "inverse", 100)
MODEL = StepModel(
    cores=2,
    collectives={"gather": (1.0, 10.0, 0.5), "reduce": (2.0, 20.0, 0.25), "swap": (3.0, 30.0, 0.125)},
    alone={PLAIN: 1_000.0, INVERSE: 2_500.0},
    added=(40.0, 2.0, 0.25, 0.5),
)


def test_rings_by_hand() -> None:
    assert ring("gather", 100, 4) == (3, 300)
    assert ring("reduce", 100, 4) == (6, 150)
    assert ring("swap", 100, 4) == (3, 100)
    assert [turns(ranks, cores=2) for ranks in (1, 2, 3, 4)] == [1, 1, 1.5, 2]


def test_a_step_by_hand() -> None:
    added = Traffic((Call("gather", 8.0), Call("swap", 16.0, 0.5)), 3.0, 12.0, 10.0)
    # gather: 1 + 10 · 3 + 0.5 · 24 = 43; swap: 3 + 30 · 3 + 0.125 · 16 = 95; four on two cores: twice.
    assert MODEL.collective_s(Call("gather", 8.0), 4) == 86
    assert MODEL.collective_s(Call("swap", 16.0), 4) == 190
    # 1,000 + 40 · 1.5 + 2 · 3 + 0.25 · 12 + 0.5 · 10 = 1,074.
    assert MODEL.step_s(PLAIN, added, 4) == 2 * 1_074 + 86 + 95
    # With a core each and a byte a second: gather 1 + 30 + 3 · 7 + 24 = 76; swap 3 + 90 + 7 + 16 = 116.
    assert MODEL.step_s(PLAIN, added, 4, Network(latency_s=7, bytes_per_s=1)) == 1_074 + 76 + 58


def made_times(model: StepModel) -> tuple[list[CollectiveTime], list[StepTime]]:
    """What would be measured if the model were true."""
    collectives = [
        CollectiveTime(kind, ranks, size, model.collective_s(Call(kind, size), ranks))
        for kind, ranks, size in itertools.product(KINDS, (2, 3, 4), (8.0, 4_000.0))
    ]
    steps: list[StepTime] = []
    for case, tables, ranks in itertools.product((PLAIN, INVERSE), ("replicated", "sharded"), (1, 2, 3, 4)):
        rows = Touched(150.0, 150.0 + 60 * ranks), Touched(180.0, 180.0 + 100 * ranks)
        added = traffic(case, tables, ranks, 33, *rows)
        steps.append(StepTime(case, tables, ranks, added, model.step_s(case, added, ranks)))
    return collectives, steps


def test_a_fit_to_its_own_times_has_no_error_on_numbers_of_ranks_that_it_did_not_see() -> None:
    collectives, steps = made_times(MODEL)
    found = fit(collectives, steps, cores=2)
    for kind in KINDS:
        assert found.collectives[kind] == pytest.approx(MODEL.collectives[kind], rel=1e-6)
    assert found.alone == pytest.approx(MODEL.alone, rel=1e-6)
    errors = held_out_errors(collectives, steps, cores=2)
    assert {ranks for ranks, _, _ in errors} == {1, 2, 3, 4}
    assert max(abs(error) for error in errors.values()) < 1e-6


def test_a_held_out_time_does_not_enter_its_own_prediction() -> None:
    collectives, steps = made_times(MODEL)
    doubled = [
        StepTime(
            step.case, step.tables, step.world_size, step.traffic, step.seconds * (2 if step.world_size == 3 else 1)
        )
        for step in steps
    ]
    errors = held_out_errors(collectives, doubled, cores=2)
    assert [error for (ranks, _, _), error in errors.items() if ranks == 3] == pytest.approx([-0.5] * 4)


def test_least_squares_leaves_out_what_would_be_negative() -> None:
    rows = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    assert nonnegative_fit(rows, np.array([3.0, 5.0, 7.0])) == pytest.approx([1, 2])
    # A falling line: the best level is the mean. With the first one free the line is y = 4 − x.
    falling = np.array([3.0, 2.0, 1.0])
    assert nonnegative_fit(rows, falling) == pytest.approx([2, 0])
    assert nonnegative_fit(-rows, falling, free=1) == pytest.approx([-4, 1])


def test_a_crossing_is_the_last_one() -> None:
    replicated = {1: 10.0, 2: 20.0, 3: 30.0, 4: 40.0, 5: 41.0}
    assert crossing(replicated, {1: 10.0, 2: 15.0, 3: 31.0, 4: 39.0, 5: 50.0}) == 5
    assert crossing(replicated, {1: 10.0, 2: 21.0, 3: 31.0, 4: 41.0, 5: 50.0}) == 2
    assert crossing(replicated, {1: 10.0, 2: 21.0, 3: 31.0, 4: 41.0, 5: 40.0}) is None


class OneAfterTheOther:
    """Stands in for a group of ranks: prepared steps have 33 parameters, and times follow from the arguments."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size

    def run(self, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        if work.__name__ == "prepare_steps":
            return [33] * self.world_size
        if work.__name__ == "time_collective":
            return [1e-4 * self.world_size + 1e-9 * arguments[1]] * self.world_size
        return [(1e-3 * self.world_size, 0.0), (1.1e-3 * self.world_size, 0.0)]


def test_figures_of_a_plan_and_its_picture(tmp_path: Path) -> None:
    plan = Plan(
        backbones=("gmf",),
        batches=(8,),
        world_sizes=(1, 2, 3),
        sizes=(12, 1_200),
        users=20,
        items=30,
        repeats=2,
        most_workers=4,
    )
    measured = measure(plan, {ranks: OneAfterTheOther(ranks) for ranks in plan.world_sizes})  # type: ignore[misc]
    assert measured.towers == {"gmf": 33}
    # The slowest rank counts; one rank is timed once, whichever way its rows are kept.
    assert measured.steps[Case("gmf", "plain", 8), "sharded", 3] == pytest.approx([3.3e-3] * 2)
    assert len(measured.steps) == 2 * (1 + 2 + 2)
    assert len(measured.collectives) == 3 * 2 * 2
    collectives, steps = observations(plan, measured)
    model, errors = fit(collectives, steps, 2), held_out_errors(collectives, steps, 2)
    curves = all_curves(plan, model, measured.towers)
    assert list(curves) == [("gmf", 8, "loopback"), ("gmf", 8, "10gbit_50us")]
    for ways in curves.values():
        assert ways["replicated"][1] == ways["sharded"][1]
        assert list(ways["sharded"]) == [1, 2, 3, 4]
    figures = figures_of(plan, measured, model, errors, curves)
    assert len(figures["held_out_error_1_workers"].repeats) == 2
    assert len(figures["held_out_error_3_workers"].repeats) == 4
    shown = curves["gmf", 8, "loopback"]["sharded"][4]
    assert figures["predicted_gmf_batch_8_loopback_sharded_4_workers_rows_per_s"].median == shown
    assert figures["step_gmf_plain_batch_8_sharded_3_workers_ms"].median == pytest.approx(3.3)
    json.dumps({name: figure.summary() for name, figure in figures.items()}, allow_nan=False)
    draw_curves({"panel": curves["gmf", 8, "loopback"]}, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.cluster  # half a minute
def test_steps_and_collectives_of_two_ranks_are_timed() -> None:
    plan = Plan(
        backbones=("gmf",), batches=(8,), world_sizes=(1, 2), sizes=(12,), users=20, items=30, windows=1, repeats=1
    )
    with RankGroup(1) as one, RankGroup(2) as two:
        measured = measure(plan, {1: one, 2: two})
    times = [*measured.collectives.values(), *measured.steps.values()]
    assert len(times) == 3 + 2 * (1 + 2)
    assert all(len(repeats) == 1 and repeats[0] > 0 for repeats in times)
