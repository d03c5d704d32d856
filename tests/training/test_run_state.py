"""When a run saves itself, and how it is left: the position that a checkpoint keeps, and requests of single ranks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_datasets import make_small_dataset
from thread_ranks import ThreadCollectives, run_on_threads

from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.evaluation.metric_columns import METRICS
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.run_state import CheckpointSchedule, Leaving, RunState, Stopped, read_facts
from distributed_il.training.trainer import Trainer


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_checkpoint_is_due_so_long_after_the_last_one() -> None:
    clock = Clock()
    schedule = CheckpointSchedule(RunConfig(dir="run", checkpoint_every_s=60.0), clock)
    for _ in range(2):
        clock.now += 59.9
        assert not schedule.is_due()
        clock.now += 0.1
        assert schedule.is_due()
        schedule.saved()
        assert not schedule.is_due()


def test_without_a_rhythm_nothing_is_due() -> None:
    clock = Clock()
    schedule = CheckpointSchedule(RunConfig(dir="run", checkpoint_every_s=None), clock)
    clock.now += 1e9
    assert not schedule.is_due()
    assert not any(map(schedule.falls_on, range(100)))


def test_steps_to_save_after() -> None:
    schedule = CheckpointSchedule(RunConfig(dir="run", checkpoint_every_steps=4))
    assert [step for step in range(1, 13) if schedule.falls_on(step)] == [4, 8, 12]


TELEMETRY = {"pairs": [3, 2, 1], "round_loss": [0.5, 4.0]}


def entry(number: int) -> dict[str, Any]:
    """Of a round."""
    return {"round": number, "step": 7 * number, "train_loss": 0.7, **dict.fromkeys(METRICS, 0.5)}


def facts(course: Any, telemetry: Any = TELEMETRY) -> dict[str, Any]:
    """A manifest as it is read."""
    return json.loads(json.dumps({"place": "run", "facts": {"course": course, "telemetry": telemetry}}))


@pytest.mark.parametrize("state", [RunState(), RunState(2, 1, 7, 1, 0.25, [entry(1), entry(2)])])
def test_a_state_comes_back_from_json(state: RunState) -> None:
    found, told = read_facts(facts(state.to_dict()))
    assert found == state
    assert told == {"pairs": (3, 2, 1), "round_loss": (0.5, 4.0)}


@pytest.mark.parametrize(("best_round", "best_loss"), [(0, None), (1, 0.25)])
def test_a_state_of_before_has_the_lowest_loss(best_round: int, best_loss: float | None) -> None:
    kept = {"round": 1, "phase": 0, "step": 0, "history": [entry(1)]}
    state = read_facts(facts({**kept, "best_round": best_round, "best_loss": best_loss}))[0]
    assert state == RunState(1, 0, 0, best_round, best_loss, [entry(1)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"round": 2}, r"course: round is 2 and best_round 1, after 1 rounds"),
        ({"best_round": 2}, "best_round 2, after 1 rounds"),
        ({"step": -1}, r"facts\.course: step is -1; it must be from 0"),
        ({"phase": "0"}, r'facts\.course: phase is "0"; it must be a whole number'),
        ({"history": [{"round": 1}]}, r"course\.history: \[0\]\.step is missing"),
        ({"history": None}, r"course: history is null; it must be a list"),
        ({"branches": {"chosen": 1}}, r"course\.branches: chosen is 1; it must be text"),
        ({"more": 1}, "course: more is unknown here"),
    ],
)
def test_a_state_that_can_not_be_is_refused(changed: dict[str, Any], message: str) -> None:
    course = RunState(1, 0, 0, 1, 0.25, [entry(1)]).to_dict()
    with pytest.raises(UserError, match=rf"checkpoint run/manifest\.json: .*{message}.*; restore it"):
        read_facts(facts(course | changed))


def test_telemetry_that_can_not_be_is_refused() -> None:
    for told in ({"pairs": [1, 2], "round_loss": [0, 0]}, {"pairs": [1, 2, 3]}, None):
        with pytest.raises(UserError, match=r"facts: telemetry"):
            read_facts(facts(RunState().to_dict(), told))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_small_dataset(tmp_path_factory.mktemp("course") / "dataset", num_users=80, train=2_000)


def trained(
    dataset: Dataset, run_dir: Path, prepare: Callable[[Trainer, int], None] | None = None, **asked: Any
) -> Any:
    """Two ranks of a run of 40 steps and a report every two; how each ends."""

    def run(ranks: ThreadCollectives) -> str:
        config = TrainConfig(
            data=DataConfig(path=dataset.path),
            run=RunConfig(dir=str(run_dir), batch_size=25, workers=2, max_rounds=1),
            method=NoneConfig(),
        )
        trainer = Trainer(
            config,
            dataset,
            reader=LocalBlockReader(dataset),
            collectives=ranks,
            device=torch.device("cpu"),
            hooks=RunHooks(**{name: lambda ask=ask: ask(trainer, ranks.rank) for name, ask in asked.items()}),
        )
        if prepare is not None:
            prepare(trainer, ranks.rank)
        try:
            trainer.fit()
        except (Stopped, Leaving) as ended:
            return f"{type(ended).__name__} at {trainer.learner.step}"
        return "finished"

    return run_on_threads(2, run)


def at_step(step: int) -> Callable[[Trainer, int], bool]:
    """Only the last rank has the wish."""
    return lambda trainer, rank: rank == 1 and trainer.learner.step == step


@pytest.mark.parametrize(("wish", "ending"), [("should_stop", "Stopped"), ("should_leave", "Leaving")])
def test_the_wish_of_one_rank_ends_all_after_a_checkpoint(
    wish: str, ending: str, dataset: Dataset, tmp_path: Path
) -> None:
    assert trained(dataset, tmp_path, **{wish: at_step(12)}) == [f"{ending} at 12"] * 2
    last = CheckpointStore(str(tmp_path)).manifest("last")
    assert last is not None
    assert (last["step"], last["facts"]["course"]["step"]) == (12, 12)


def saved_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(rank, step) of every checkpoint to come."""
    found: list[tuple[int, int]] = []
    save = CheckpointStore.save

    def noted(self: CheckpointStore, learner: Any, *arguments: Any, **named: Any) -> None:
        found.append((learner.collectives.rank, learner.step))
        save(self, learner, *arguments, **named)

    monkeypatch.setattr(CheckpointStore, "save", noted)
    return found


def test_a_checkpoint_that_one_rank_is_asked_for_is_made_by_all(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = saved_steps(monkeypatch)
    assert trained(dataset, tmp_path, should_save=at_step(8)) == ["finished"] * 2
    assert sorted(found) == [(0, 8), (0, 40), (1, 8), (1, 40)]


def test_the_clock_of_one_rank_is_enough(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = saved_steps(monkeypatch)

    def slow_clock(trainer: Trainer, rank: int) -> None:
        """A second a step on rank 1, none on rank 0."""
        trainer.checkpoint_schedule = CheckpointSchedule(
            RunConfig(dir="run", checkpoint_every_s=15.0), lambda: float(trainer.learner.step * rank)
        )

    assert trained(dataset, tmp_path, slow_clock) == ["finished"] * 2
    assert sorted(step for rank, step in found if rank == 0) == [16, 32, 40]
    assert sorted(step for rank, step in found if rank == 1) == [16, 32, 40]
