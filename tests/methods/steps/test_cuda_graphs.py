"""Steps as CUDA graphs: filled up they are the same steps, and where nothing can be recorded they go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_batches import random_batch
from saved_runs import about_no_run
from small_learner import small_learner
from torch import Tensor

from distributed_il.core.method_config import InverseGradientConfig, OrdinalConfig
from distributed_il.data.loading.index_plan import IndexPlan, UniqueIds
from distributed_il.methods import Method, make_method
from distributed_il.methods.protocol import extras_of
from distributed_il.methods.steps import compiled, cuda_graphs
from distributed_il.methods.steps.compiled import tensors_in
from distributed_il.methods.steps.cuda_graphs import GraphedSteps, filled_up
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner
from distributed_il.training.checkpoint import CheckpointStore, SavedState
from distributed_il.training.consistency import fingerprint

USERS, ITEMS, BATCH = 40, 50, 64
ROWS = (64, 64, 64, 64, 50, 64, 64, 64, 1, 64, 64, 7, 64, 64)
"""Full batches, others in between, and one too small for either."""


def make_learner(
    backbone: str,
    missed_steps: str = "skip",
    device: str = "cpu",
    *,
    factors: bool = False,
    method: Method | None = None,
) -> Learner:
    return small_learner(
        USERS,
        ITEMS,
        model={"backbone": backbone},
        optimizer={"missed_steps": missed_steps},
        factors=factors,
        method_extras=extras_of(method) if method else None,
        device=device,
    )


def eager(backbone: str, missed_steps: str = "skip") -> StepExecutor:
    return StepExecutor(make_learner(backbone, missed_steps))


def with_graphs(learner: Learner, warn: Callable[[str], None]) -> StepExecutor:
    executor = StepExecutor(learner)
    executor.fused = GraphedSteps(learner, batch_size=BATCH, warn=warn)
    return executor


def refuse(message: str) -> None:
    raise AssertionError(message)


class Recorder:
    """Stands in for CUDA: a replay calls the function on the memory that it was recorded with."""

    def __init__(self) -> None:
        self.lengths: list[tuple[int, ...]] = []
        self.replays = 0

    def capture(self, function: Callable[..., Any], arguments: list[Any]) -> tuple[Callable[[], None], Any]:
        self.lengths.append(tuple(len(value) for value in tensors_in(tuple(arguments[1:]))))
        tables = tensors_in(arguments[0])
        state = [value.clone() for value in tables]
        results = function(*arguments)  # for the shapes of its results; a capture computes nothing
        for value, before in zip(tables, state, strict=True):
            value.copy_(before)

        def replay() -> None:
            self.replays += 1
            for mine, found in zip(tensors_in(results), tensors_in(function(*arguments)), strict=True):
                mine.copy_(found)

        return replay, results


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Graphs that need neither CUDA nor a compiler."""
    found = Recorder()
    monkeypatch.setattr(compiled, "_compile", lambda function: function)
    monkeypatch.setattr(cuda_graphs, "warm_up", lambda function, arguments: function(*arguments))
    monkeypatch.setattr(cuda_graphs, "capture", found.capture)
    return found


IG = make_method(InverseGradientConfig(dual_learning_rate=3e-3))


def train_alike(
    ours: StepExecutor,
    theirs: StepExecutor,
    rows: tuple[int, ...],
    rates: tuple[int, ...] = (0, 1, 1),
    method: Method = IG,
) -> set[int]:
    """Labelled and inverse steps by turns on both, which must agree; returns the decisions."""
    rng = np.random.default_rng(3)
    choices: set[int] = set()
    for step, count in enumerate(rows):
        rate = rates[step % len(rates)]
        batch = random_batch(rng, rows=count, num_users=USERS, num_items=ITEMS, rate=rate, invalid_share=0.1)
        report, expected = method.step(ours, to_device(batch, ours.learner.device)), method.step(theirs, batch)
        assert float(report.loss_sum) == pytest.approx(float(expected.loss_sum), rel=1e-10)
        if expected.decision is not None:
            assert report.decision is not None
            assert report.decision.choice == expected.decision.choice
            assert report.decision.losses == pytest.approx(expected.decision.losses, abs=1e-10)
            assert report.unlabelled_logits is not None
            assert expected.unlabelled_logits is not None
            torch.testing.assert_close(report.unlabelled_logits.cpu(), expected.unlabelled_logits)
            choices.add(expected.decision.choice)
    ours, theirs = ours.learner, theirs.learner
    for name in ("users", "items", "tower"):
        found, wanted = getattr(ours, name).packed.cpu(), getattr(theirs, name).packed
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)
    for name in ("users", "items"):
        assert torch.equal(getattr(ours, name).last_step.cpu(), getattr(theirs, name).last_step)
        assert not getattr(ours, name).packed_and_spare[-1].any()
    return choices


def to_device(value: Any, device: torch.device) -> Any:
    """A batch elsewhere."""
    if isinstance(value, Tensor):
        return value.to(device)
    if not hasattr(value, "__dataclass_fields__"):
        return value
    return type(value)(*(to_device(getattr(value, name), device) for name in value.__dataclass_fields__))


@pytest.mark.parametrize("missed_steps", ["skip", "catch_up"])
@pytest.mark.parametrize("backbone", ["gmf", "neumf", "deepfm"])
def test_full_batches_are_replayed_and_all_are_the_eager_steps(
    recorder: Recorder, backbone: str, missed_steps: str
) -> None:
    executor = with_graphs(make_learner(backbone, missed_steps), refuse)
    assert len(train_alike(executor, eager(backbone, missed_steps), ROWS)) >= 2
    plain, evaluate, apply = (64,) * 5, (64,) * 12, (64,) * 4
    tower = executor.learner.tower.size
    # Ids, inverses and labels; the same with pairs, their weight and both overlaps; ids and δ. Numbers stand last.
    assert sorted(recorder.lengths) == sorted([(*plain, 4), (*evaluate, 4), (*apply, tower, 2)])
    assert recorder.replays >= 12


def test_steps_with_exposure_factors(recorder: Recorder) -> None:
    executor = with_graphs(make_learner("bias_mf", "catch_up", factors=True), refuse)
    theirs = StepExecutor(make_learner("bias_mf", "catch_up", factors=True))
    assert len(train_alike(executor, theirs, ROWS)) >= 2
    assert recorder.replays >= 12


def test_plain_steps_alone(recorder: Recorder) -> None:
    """What method `none` takes."""
    executor = with_graphs(make_learner("gmf"), refuse)
    train_alike(executor, eager("gmf"), ROWS, rates=(0,))
    assert recorder.replays == ROWS.count(BATCH) - 1  # the first warms up


def test_ordinal_steps_with_a_learned_half_width(recorder: Recorder) -> None:
    method = make_method(OrdinalConfig(half_width="learned"))
    executor = with_graphs(make_learner("bias_mf", factors=True, method=method), refuse)
    theirs = StepExecutor(make_learner("bias_mf", factors=True, method=method))
    train_alike(executor, theirs, ROWS, rates=(2,), method=method)
    # Ids, inverses and factors are of rows and pairs together, 64 · 3; then labels and numbers.
    assert recorder.lengths == [(192,) * 6 + (64, 4)]
    assert recorder.replays == ROWS.count(BATCH) - 1


def test_every_number_of_pairs_has_a_graph_of_its_own(recorder: Recorder) -> None:
    executor = with_graphs(make_learner("gmf"), refuse)
    train_alike(executor, eager("gmf"), (64,) * 8, rates=(1, 2))
    assert {found[5] for found in recorder.lengths if len(found) == 13} == {64, 128}


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_where_nothing_can_be_recorded_the_step_says_so_once_and_goes_on(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    def capture(function: Callable[..., Any], arguments: list[Any]) -> Any:
        if len(recorder.lengths) == fails_at:
            raise RuntimeError("operation not permitted when stream is capturing\nand more lines")
        return recorder.capture(function, arguments)

    monkeypatch.setattr(cuda_graphs, "capture", capture)
    said: list[str] = []
    executor = with_graphs(make_learner("neumf", "catch_up"), said.append)
    train_alike(executor, eager("neumf", "catch_up"), ROWS)
    assert said == ["steps are no CUDA graphs, and slower for it: operation not permitted when stream is capturing"]


def test_a_plan_is_filled_up_by_hand() -> None:
    users = UniqueIds(torch.tensor([3, 5]), torch.tensor([1, 0, 1]))
    items = UniqueIds(torch.tensor([1, 2, 4]), torch.tensor([2, 0, 1]))
    plan = filled_up(IndexPlan(users, items), (9, 7))
    assert plan.users.ids.tolist() == [3, 5, 9]
    assert plan.items.ids.tolist() == [1, 2, 4]
    assert plan.users.inverse.tolist() == [1, 0, 1]


def test_the_spare_row_is_in_no_checkpoint_and_no_fingerprint(tmp_path: Path) -> None:
    learner, other = make_learner("gmf"), make_learner("gmf")
    before = fingerprint(learner)
    for table in (learner.users, learner.items):
        table.packed_and_spare[-1] = 7.0
        table.last_step_and_spare[-1] = 7
    assert torch.equal(fingerprint(learner), before)
    store = CheckpointStore(str(tmp_path))
    about = about_no_run(learner.users.num_rows, learner.items.num_rows)
    store.save(learner, SavedState({}, {}), round=1, about=about, names=("last",))
    manifest = store.manifest("last")
    assert manifest is not None
    store.restore(manifest, other)
    for mine, theirs in ((other.users, learner.users), (other.items, learner.items)):
        assert torch.equal(mine.packed, theirs.packed)
        assert not mine.packed_and_spare[-1].any()
        assert mine.packed.shape[0] == mine.num_rows == len(mine.last_step)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("missed_steps", ["skip", "catch_up"])
@pytest.mark.parametrize("backbone", ["gmf", "neumf", "deepfm"])
def test_graphs_on_a_gpu_are_the_eager_steps_of_a_cpu(backbone: str, missed_steps: str) -> None:
    executor = StepExecutor(make_learner(backbone, missed_steps, "cuda"))
    executor.compile(refuse, batch_size=BATCH)
    assert isinstance(executor.fused, GraphedSteps)
    assert len(train_alike(executor, eager(backbone, missed_steps), ROWS)) >= 2
