"""Ray Train on a private Ray, without the actors that it would start there for nothing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from ray.train.v2._internal.execution.scaling_policy import scaling_policy
from ray.train.v2._internal.execution.worker_group import state, worker_group

from distributed_il.runtime.lean_ray import ignore, replaced


@contextmanager
def lean_train() -> Generator[None]:
    """Lets Ray Train request no nodes, of which there will be no more, and start nothing for `ray.train.report`."""
    with ExitStack() as ended:
        ended.enter_context(replaced(scaling_policy, TrainAutoscalingCoordinatorClient=_NoRequests))
        ended.enter_context(replaced(worker_group, SynchronizationActor=_NoReports))
        ended.enter_context(replaced(state, _shutdown_sync_actor=ignore))
        yield


class _NoRequests:
    def __init__(self, requester: str) -> None:
        pass

    maybe_send_resource_request = send_resource_request = cancel_resource_request = ignore


class _NoReports:
    """Stands for the class of the actor, and for the actor."""

    @classmethod
    def options(cls, **_: Any) -> type[_NoReports]:
        return cls

    @classmethod
    def remote(cls, **_: Any) -> type[_NoReports]:
        return cls
