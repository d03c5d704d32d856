"""Which ends of a worker group are restarted, and which of them count."""

from __future__ import annotations

import pytest
from ray.train import FailureConfig
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from distributed_il.runtime.supervision.restarts import RestartPolicy
from distributed_il.training.run_state import Leaving

RETRY, RAISE = FailureDecision.RETRY, FailureDecision.RAISE
FAILED = WorkerGroupError("failed", {0: RuntimeError("peer is gone")})
LEFT = WorkerGroupError("left", {0: RuntimeError("peer is gone"), 1: Leaving()})
NOT_STARTED = ControllerError(WorkerGroupStartupFailedError("a worker\nhas died"))
NO_ROOM = ControllerError(WorkerGroupStartupTimeoutError(num_workers=3))
MISTAKE = ControllerError(TypeError("a mistake"))


class Notes:
    """In the place of a channel."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("errors", "decisions"),
    [
        ([FAILED] * 3, [RETRY, RETRY, RAISE]),
        ([LEFT] * 9, [RETRY] * 9),
        ([FAILED, LEFT, FAILED, LEFT, FAILED], [RETRY] * 4 + [RAISE]),
        ([NOT_STARTED] * 3, [RETRY, RETRY, RAISE]),
        ([NOT_STARTED, FAILED, NOT_STARTED, NOT_STARTED, NOT_STARTED], [RETRY] * 4 + [RAISE]),
        ([NO_ROOM] * 9, [RETRY] * 9),
        ([MISTAKE], [RAISE]),
    ],
)
def test_what_is_restarted_where_two_failures_are_allowed(
    errors: list[TrainingFailedError], decisions: list[FailureDecision]
) -> None:
    policy = RestartPolicy(FailureConfig(max_failures=2), Notes())  # type: ignore[arg-type]
    assert [policy.make_decision(error) for error in errors] == decisions


def test_what_the_console_is_told_and_how_often() -> None:
    notes = Notes()
    policy = RestartPolicy(FailureConfig(max_failures=2), notes)  # type: ignore[arg-type]
    for error in (NO_ROOM, NO_ROOM, NOT_STARTED, FAILED, NO_ROOM):
        policy.make_decision(error)
    waits = "the cluster has no capacity for 3 workers now; the run waits for it"
    assert notes.lines == [waits, "workers did not start: has died", waits]
