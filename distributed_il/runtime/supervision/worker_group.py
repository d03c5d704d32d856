"""Groups of workers that start within a time or are cleared away, and that end without waiting for each other."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray._private.worker as ray_worker
from ray.exceptions import RayError
from ray.train.torch import TorchConfig
from ray.train.torch.config import (
    _set_torch_distributed_env_vars,  # pyright: ignore[reportPrivateUsage]
    _setup_torch_process_group,  # pyright: ignore[reportPrivateUsage]
    _TorchBackend,  # pyright: ignore[reportPrivateUsage]
)
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import PlacementGroupHandle

from distributed_il.runtime.lean_ray import on_private_ray

START_S = 60.0
"""How long workers may take to start beyond the time that one may wait for the others."""


class BoundedWorkerGroup(WorkerGroup):
    """A group whose start succeeds in time or fails so that another one can follow.

    Ray 2.60 waits without limit for the processes of workers and for what they set up together. Where a worker dies
    after that has begun, Ray keeps the group's placement group, so that the next group waits forever for its
    resources; and where one dies as it is handed its work, Ray takes that for an error of the program and ends the run.
    """

    _placed: PlacementGroupHandle | None = None
    _limit: threading.Timer | None = None

    def _start(self) -> None:
        try:
            super()._start()
        except Exception as error:
            self._clear()
            if isinstance(error, RayError):
                raise WorkerGroupStartupFailedError(str(error)) from error
            raise
        finally:
            if self._limit is not None:
                self._limit.cancel()

    def _create_placement_group(self, *arguments: Any, **named: Any) -> PlacementGroupHandle:
        self._placed = super()._create_placement_group(*arguments, **named)
        return self._placed

    def _create_workers(self, *arguments: Any, **named: Any) -> Any:
        # The resources are there; what takes long from here on is hung. Without them a worker is killed, and whatever
        # waits for it is told.
        config = self._train_run_context.backend_config
        assert isinstance(config, StandingGroup)
        self._limit = threading.Timer(START_S + config.timeout_s, self._clear)
        self._limit.daemon = True
        self._limit.start()
        return super()._create_workers(*arguments, **named)

    def _init_train_context_on_workers(
        self, workers: list[Any], sync_actor: Any, train_context_args: dict[str, list[Any]]
    ) -> None:
        # As Ray does it, but without a handle of the controller, which is no actor here; only reports would need it.
        contexts = [
            worker.actor.init_train_context.remote(
                train_run_context=self._train_run_context,
                distributed_context=worker.distributed_context,
                synchronization_actor=sync_actor,
                storage_context=self._storage_context,
                worker_callbacks=self._worker_callbacks_to_propagate,
                controller_actor=None,
                **{name: values[rank] for name, values in train_context_args.items()},
            )
            for rank, worker in enumerate(workers)
        ]
        ray.get(contexts)
        self._decorate_worker_log_file_paths(workers)

    def _clear(self) -> None:
        if self._placed is not None:
            self._placed.shutdown()


@dataclass
class StandingGroup(TorchConfig):
    """A process group that is not taken down: it ends with its processes, which Ray kills next.

    To take down a gloo group right after a collective can hang in torch 2.13, and a worker that hangs already would
    keep Ray waiting for half a minute.
    """

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What sets the group up."""
        return _StandingBackend


class _StandingBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Called by Ray Train before training begins; on a Ray on loopback the ranks meet in a file.

        The store in which they would meet elsewhere listens on all interfaces and asks for no token.
        """
        if not on_private_ray():
            super().on_start(worker_group, backend_config)
            return
        node: Any = ray_worker.global_worker.node
        meeting = Path(node.get_session_dir_path(), f"ranks-{uuid.uuid4().hex}").as_uri()
        worker_group.execute(_set_torch_distributed_env_vars)
        joined = [
            worker_group.execute_single_async(
                rank,
                _setup_torch_process_group,
                backend=backend_config.backend,
                world_rank=rank,
                world_size=len(worker_group),
                init_method=meeting,
                timeout_s=backend_config.timeout_s,
            )
            for rank in range(len(worker_group))
        ]
        ray.get(joined)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        pass
