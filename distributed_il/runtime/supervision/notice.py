"""Whether a worker has been told that it, or a node of the run, is about to go away."""

from __future__ import annotations

import signal
import threading

from ray.train.v2._internal.execution.callback import WorkerCallback
from ray.train.v2._internal.execution.context import get_train_context

_terminated = threading.Event()


class SigtermNotice(WorkerCallback):
    """Makes of SIGTERM, which ends a Ray worker at once, a notice that leaves time for a checkpoint."""

    def after_init_train_context(self) -> None:
        """Called in the main thread of each worker before training begins."""
        signal.signal(signal.SIGTERM, lambda number, frame: _terminated.set())


def leave_notice() -> bool:
    """Whether this worker had a SIGTERM, or Ray drains a node that has workers of this run; asked in a worker.

    The public `ray.train.get_preemption_info` is a collective of its own; the trainer's reports are one already.
    """
    return _terminated.is_set() or get_train_context().preemption_context.preemption_info is not None
