"""What our controller does before Ray's decides."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest
from ray._private import auto_init_hook
from ray.train.v2._internal.execution.controller.state import RestartingState
from ray.train.v2._internal.execution.scaling_policy import NoopDecision
from ray.train.v2.api.exceptions import WorkerGroupError

from distributed_il.runtime.supervision.supervised_trainer import Controller, SupervisedTrainer


class Scene:
    """In the place of a worker group and of a scaling policy; notes in which order they are called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def shutdown(self) -> None:
        self.called.append("shutdown")

    def make_decision_for_non_running_worker_group(self) -> NoopDecision:
        self.called.append("count")
        return NoopDecision()


def test_a_failed_group_gives_its_room_back_before_it_is_counted() -> None:
    scene = Scene()
    controller = object.__new__(Controller)  # without what only an actor has
    controller._worker_group = scene  # type: ignore[assignment]
    controller._scaling_policy = scene  # type: ignore[assignment]
    controller._run_attempt_id = "attempt"
    state = RestartingState(training_failed_error=WorkerGroupError("failed", {}))
    for _ in range(2):
        controller._make_and_handle_scaling_decision_for_non_running_worker_group(state)
    assert scene.called == ["shutdown", "count", "count"]


@pytest.mark.parametrize("ends", ["before", "after"])
def test_ray_is_started_for_others_again_as_soon_as_a_run_that_was_left_has_ended(ends: str) -> None:
    trainer, training = object.__new__(SupervisedTrainer), Future[None]()
    trainer._left = threading.Event()
    if ends == "before":
        training.set_result(None)
    trainer.leave(training)
    assert trainer._left.is_set()
    assert auto_init_hook.enable_auto_connect == (ends == "before")
    if ends == "after":
        training.set_result(None)
    assert auto_init_hook.enable_auto_connect


def test_a_run_that_is_left_ends_at_the_controllers_next_turn() -> None:
    controller = object.__new__(Controller)
    controller._left = threading.Event()
    controller._left.set()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(controller._run_control_loop_iteration())
