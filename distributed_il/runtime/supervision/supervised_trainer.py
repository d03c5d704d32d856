"""A `TorchTrainer` whose controller is ours in four points: start, end, restarts and number of workers."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any

from ray._private import auto_init_hook
from ray.train import FailureConfig, Result
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController

from distributed_il.runtime.environment import environment
from distributed_il.runtime.lean_ray import on_private_ray
from distributed_il.runtime.run_channel import RunChannel
from distributed_il.runtime.supervision.elastic import ElasticPolicy
from distributed_il.runtime.supervision.lean_train import lean_train
from distributed_il.runtime.supervision.notice import SigtermNotice
from distributed_il.runtime.supervision.restarts import RestartPolicy
from distributed_il.runtime.supervision.worker_group import BoundedWorkerGroup
from distributed_il.training.checkpoint import CheckpointStore

_CONNECTS = auto_init_hook.enable_auto_connect
"""Whether what asks Ray for something starts one where there is none, as the user has set it."""
_DRAIN_POLL_S = 1
_PLACE_WITHIN_S = 15
"""How long an elastic run waits for capacity that it has seen free; a lost node is noticed meanwhile."""


class Controller(TrainController):
    """Ray Train's controller over groups that start within a time and free their resources before these are counted."""

    worker_group_cls = BoundedWorkerGroup

    def __init__(self, *arguments: Any, left: threading.Event, **named: Any) -> None:
        """As Ray's, which `left` ends at its next turn."""
        self._left = left
        super().__init__(*arguments, **named)

    async def _run_control_loop_iteration(self) -> None:
        if self._left.is_set():
            raise asyncio.CancelledError
        await super()._run_control_loop_iteration()

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
        self._left = threading.Event()

    def leave(self, training: Future[Any]) -> None:
        """Leaves `fit`, which runs in another thread, to itself: it ends soon, and until then starts no other Ray.

        Args:
            training: Done as `fit` ends.
        """
        self._left.set()
        auto_init_hook.enable_auto_connect = False
        training.add_done_callback(_connect_again)  # at once, where it has just ended

    def _create_default_callbacks(self) -> list[Any]:
        # Workers read blocks by themselves, so there are no datasets to hand to them; and with the process that the
        # controller runs in, the job ends, and with that its placement groups.
        unneeded = (DatasetsCallback, PlacementGroupCleanerCallback)
        kept = [callback for callback in super()._create_default_callbacks() if not isinstance(callback, unneeded)]
        return [*kept, SigtermNotice()]

    def _initialize_and_run_controller(self, **arguments: Any) -> Result:
        """Runs the controller in this process: one of its own would take seconds to start, and end with this one."""
        logging.getLogger("ray.train").setLevel(logging.CRITICAL)  # what people need to know goes through the channel
        failures = self.run_config.failure_config or FailureConfig()
        arguments["failure_policy"] = RestartPolicy(failures, self._channel)
        variables = {
            "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
            "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(math.ceil(self._hung_after_s)),
            "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": str(_DRAIN_POLL_S),
        }
        if len(self._counts) > 1:
            arguments["scaling_policy"] = ElasticPolicy(
                self.scaling_config, self._counts, self._channel, self._store.newest
            )
            variables["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(_PLACE_WITHIN_S)
        with environment(variables, override=True), lean_train() if on_private_ray() else nullcontext():
            controller = Controller(left=self._left, **arguments)
            asyncio.run(controller.run())
        return controller.get_result()


def _connect_again(_: Future[Any]) -> None:
    auto_init_hook.enable_auto_connect = _CONNECTS
