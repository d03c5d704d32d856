"""A private Ray without what nobody asks of it: each process less saves a second or more of a core at the start.

On a cluster all of it stays: the dashboard shows what is collected, and the autoscaler acts on what is requested.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import ray
import ray._private.worker as ray_worker
from ray._private.node import Node
from ray.data import ExecutionResources
from ray.data._internal.cluster_autoscaler import ClusterAutoscaler
from ray.data._internal.execution import streaming_executor
from ray.data._internal.stats import _StatsManager  # pyright: ignore[reportPrivateUsage]

from distributed_il.runtime.private_ray import LOOPBACK


def on_private_ray() -> bool:
    """Whether this process works in a private Ray: those alone are on the loopback interface."""
    node: Any = ray_worker.global_worker.node
    return node.node_ip_address == LOOPBACK


@contextmanager
def lean_node() -> Generator[None]:
    """Lets a Ray that starts inside leave out dashboard, autoscaler and the reader of its logs."""
    with replaced(Node, start_api_server=ignore, start_monitor=ignore, start_log_monitor=ignore):
        yield


@contextmanager
def lean_data() -> Generator[None]:
    """Lets Ray Data in this process do without its actors of statistics and of requests for more nodes."""
    with ExitStack() as ended:
        statistics = ("update_execution_metrics", "update_iteration_metrics", "register_dataset_to_stats_actor")
        ended.enter_context(
            replaced(
                _StatsManager,
                gen_dataset_id_from_stats_actor=staticmethod(lambda: uuid4().hex),
                **dict.fromkeys(statistics, staticmethod(ignore)),
            )
        )
        ended.enter_context(replaced(streaming_executor, create_cluster_autoscaler=_OneNode))
        yield


class _OneNode(ClusterAutoscaler):
    """What Ray Data asks for more nodes where there is one, and will be."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def try_trigger_scaling(self) -> None:
        pass

    def on_executor_shutdown(self) -> None:
        pass

    def get_total_resources(self) -> ExecutionResources:
        return ExecutionResources.from_resource_dict(dict[str, float](ray.cluster_resources()))


def ignore(*_: Any, **__: Any) -> None:
    """Does nothing, whatever it is given."""


@contextmanager
def replaced(owner: Any, **replacements: Any) -> Generator[None]:
    """Gives a module or class other attributes for a while; Ray has no settings for these."""
    before = {name: vars(owner)[name] for name in replacements}
    for name, value in replacements.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
