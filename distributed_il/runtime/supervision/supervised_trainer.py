"""A `TorchTrainer` whose controller is ours in four points: start, end, restarts and number of workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ray
from ray.train import FailureConfig, Result
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController

from distributed_il.runtime.run_channel import RunChannel
from distributed_il.runtime.supervision.elastic import ElasticPolicy
from distributed_il.runtime.supervision.notice import SigtermNotice
from distributed_il.runtime.supervision.restarts import RestartPolicy
from distributed_il.runtime.supervision.worker_group import BoundedWorkerGroup
from distributed_il.training.checkpoint import CheckpointStore

_DRAIN_POLL_S = 1
_PLACE_WITHIN_S = 15
"""How long an elastic run waits for capacity that it has seen free; a lost node is noticed meanwhile."""


class Controller(TrainController):
    """Ray Train's controller over groups that start within a time and free their resources before these are counted."""

    worker_group_cls = BoundedWorkerGroup

    def _make_and_handle_scaling_decision_for_non_running_worker_group(self, controller_state: Any) -> Any:
        # Ray keeps the workers that are left of a failed group until it has decided how many the next one has.
        if self.get_worker_group() is not None:
            self._shutdown_worker_group()
        return super()._make_and_handle_scaling_decision_for_non_running_worker_group(controller_state)


class SupervisedTrainer(TorchTrainer):
    """Runs training under our controller; everything else is Ray's.

    Args:
        arguments: As for `TorchTrainer`; the torch configuration is a `StandingGroup`.
        channel: Where what happens is told.
        counts: Numbers of workers that the run may have, ascending; one for a fixed number.
        store: The checkpoints of the run.
        hung_after_s: Seconds without a sign of life after which a worker is given up.
    """

    def __init__(
        self,
        *arguments: Any,
        channel: RunChannel,
        counts: Sequence[int],
        store: CheckpointStore,
        hung_after_s: float,
        **named: Any,
    ) -> None:
        super().__init__(*arguments, **named)
        self._channel, self._counts, self._store, self._hung_after_s = channel, counts, store, hung_after_s

    def _create_default_callbacks(self) -> list[Any]:
        return [*super()._create_default_callbacks(), SigtermNotice()]

    def _initialize_and_run_controller(self, **arguments: Any) -> Result:
        failures = self.run_config.failure_config or FailureConfig()
        arguments["failure_policy"] = RestartPolicy(failures, self._channel)
        variables = get_env_vars_to_propagate() | {
            "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(math.ceil(self._hung_after_s)),
            "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": str(_DRAIN_POLL_S),
            "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
        }
        if len(self._counts) > 1:
            arguments["scaling_policy"] = ElasticPolicy(
                self.scaling_config, self._counts, self._channel, self._store.newest
            )
            variables["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(_PLACE_WITHIN_S)
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        controller: Any = ray.remote(num_cpus=0, label_selector=here, runtime_env={"env_vars": variables})(Controller)
        running = controller.remote(**arguments)
        ray.get(running.run.remote())
        return ray.get(running.get_result.remote())
