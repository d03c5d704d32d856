"""Whether a worker has been told that a node of the run is about to go away."""

from __future__ import annotations

from ray.train.v2._internal.execution.context import get_train_context


def leave_notice() -> bool:
    """Whether Ray drains a node that has workers of this run; asked in a worker, answered without a message.

    The public `ray.train.get_preemption_info` is a collective of its own; the trainer's reports are one already.
    """
    return get_train_context().preemption_context.preemption_info is not None
