"""After which ends of a worker group a run goes on."""

from __future__ import annotations

from ray.train import FailureConfig
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from distributed_il.runtime.run_channel import RunChannel
from distributed_il.training.run_state import Leaving


class RestartPolicy(DefaultFailurePolicy):
    """Ray's policy, except that workers which left when asked are no failure, and failed starts are counted.

    Ray repeats a failed start forever, as it must where capacity is lacking; it must not where workers can't reach
    each other.
    """

    def __init__(self, failure_config: FailureConfig, channel: RunChannel) -> None:
        super().__init__(failure_config)
        self._channel = channel
        self._failed_starts = 0
        self._waiting = False

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        """What Ray's controller asks after each end of a group, and after each start that failed."""
        if isinstance(training_failed_error, ControllerError):
            cause = training_failed_error.controller_failure
            if isinstance(cause, WorkerGroupStartupTimeoutError):
                self._note_waiting(cause.num_workers)
            elif isinstance(cause, WorkerGroupStartupFailedError):
                return self._after_failed_start(cause)
        else:
            self._failed_starts, self._waiting = 0, False
            if _left(training_failed_error):
                return FailureDecision.RETRY
        return super().make_decision(training_failed_error)

    def _note_waiting(self, workers: int) -> None:
        if not self._waiting:
            self._channel.note(f"the cluster has no capacity for {workers} workers now; the run waits for it")
        self._waiting = True

    def _after_failed_start(self, cause: Exception) -> FailureDecision:
        self._failed_starts += 1
        self._channel.note(f"workers did not start: {str(cause).strip().splitlines()[-1]}")
        enough = self._failed_starts > self.failure_config.max_failures
        return FailureDecision.RAISE if enough else FailureDecision.RETRY


def _left(error: TrainingFailedError) -> bool:
    """Whether workers ended because a node of theirs goes away, after a checkpoint."""
    return isinstance(error, WorkerGroupError) and any(
        isinstance(failure, Leaving) for failure in error.worker_failures.values()
    )
