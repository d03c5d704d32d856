"""How many workers a run has while nodes come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from ray._private.state import available_resources_per_node
from ray._private.state import state as cluster_state
from ray.train import ScalingConfig
from ray.train.v2._internal.execution.scaling_policy import NoopDecision, ResizeDecision, ScalingDecision, ScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroupPollStatus, WorkerGroupState

from distributed_il.runtime.run_channel import RunChannel

CHECK_EVERY_S = 5.0
"""How often a run that could have more workers looks for free capacity."""
SAVE_WITHIN_S = 60.0
"""How long a checkpoint may take that is asked for before the run grows; then it grows from the one before."""
PAUSE_S = 0.5
SETTLED = 6
"""Pauses after which fewer workers than wanted are started; what workers had is free a moment after their end."""
NOTED_WAIT = 20
"""Pauses after which it is told that the run waits."""


class ElasticPolicy(ScalingPolicy):
    """Takes as many workers as there is capacity for, of the counts that leave the result as it is.

    Ray's own policy counts what whole nodes have, in use by others or not, takes any count, and restarts without a
    checkpoint.
    """

    def __init__(
        self, scaling_config: ScalingConfig, counts: Sequence[int], channel: RunChannel, newest: Callable[[], object]
    ) -> None:
        """Takes the numbers of workers allowed, ascending; `newest` changes with each checkpoint of the run."""
        super().__init__(scaling_config)
        self._counts, self._channel, self._newest = counts, channel, newest
        self._next_check = 0.0
        self._requested: tuple[float, object] | None = None
        self._waits = 0

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        """Called again and again while there are no workers."""
        self._maybe_send_resource_request()
        count = self._fitting(self._free_slots())
        if not count or (count < self._counts[-1] and self._waits < SETTLED):
            self._wait()
            return NoopDecision()
        self._waits, self._requested = 0, None
        if count < self._counts[-1]:
            self._channel.note(f"going on with {count} of {self._counts[-1]} workers")
        return self._resized(count)

    def make_decision_for_running_worker_group(
        self, worker_group_state: WorkerGroupState, worker_group_status: WorkerGroupPollStatus
    ) -> ScalingDecision:
        """Called at each poll of the workers."""
        self._maybe_send_resource_request()
        present, now = worker_group_state.num_workers, time.monotonic()
        if present == self._counts[-1] or now < self._next_check:
            return NoopDecision()
        count = self._fitting(present + self._free_slots())
        if count <= present:
            self._next_check, self._requested = now + CHECK_EVERY_S, None
            return NoopDecision()
        if self._requested is None:
            self._channel.save()
            self._requested = now + SAVE_WITHIN_S, self._newest()
        until, before = self._requested
        if self._newest() == before and now < until:
            return NoopDecision()
        self._requested = None
        self._channel.note(f"there is capacity: from {present} to {count} workers")
        return self._resized(count)

    def _wait(self) -> None:
        """Lets some time pass, since the controller asks at once again, and says so if it gets long."""
        self._waits += 1
        if self._waits == NOTED_WAIT:
            self._channel.note(f"the cluster has no capacity for {self._counts[0]} workers now; the run waits for it")
        time.sleep(PAUSE_S)

    def _get_num_workers_for_resource_request(self) -> int:
        return self._counts[-1]

    def _resized(self, count: int) -> ResizeDecision:
        return ResizeDecision(num_workers=count, resources_per_worker=self._worker_resources())

    def _fitting(self, free_slots: int) -> int:
        """Returns the largest number of workers that fit; 0 for none."""
        return max((count for count in self._counts if count <= free_slots), default=0)

    def _free_slots(self) -> int:
        leaving = cluster_state.get_draining_nodes()
        return sum(
            slots(free, self._worker_resources())
            for node, free in available_resources_per_node().items()
            if node not in leaving
        )

    def _worker_resources(self) -> dict[str, float]:
        return cast("dict[str, float]", self.scaling_config.resources_per_worker)


def slots(free: Mapping[str, float], resources: Mapping[str, float]) -> int:
    """Returns how many workers, which take `resources` each, a node can take that has `free` left."""
    return int(min(free.get(name, 0.0) // amount for name, amount in resources.items() if amount))
