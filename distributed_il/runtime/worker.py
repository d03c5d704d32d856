"""What one Ray Train worker runs: Ray's context in, a trainer's rank out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import ray.train
import ray.train.torch
import torch

from distributed_il.core.config import TrainConfig, config_from_dict
from distributed_il.core.errors import UserError
from distributed_il.core.shared_memory import join_ranks
from distributed_il.data.dataset import Dataset
from distributed_il.runtime.lean_ray import ignore, lean_data, on_private_ray
from distributed_il.runtime.preflight import find_difference
from distributed_il.runtime.ray_data import RayBlockReader
from distributed_il.runtime.round_metrics import RoundMetrics
from distributed_il.runtime.run_channel import RunChannel
from distributed_il.runtime.supervision import leave_notice
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.monitor import NullMonitor, TensorBoardMonitor, event_dir
from distributed_il.training.monitor.loggers import LoggingMonitor
from distributed_il.training.run_claim import CLAIM_FILE, RunClaim
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.run_state import Stopped
from distributed_il.training.trainer import Trainer

_MISTAKES = (AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError, ValueError)
"""Errors of a program, not of a machine: they would come again after a restart."""


def train_loop(arguments: dict[str, Any]) -> None:
    """Runs one rank to its end, which is the run's end, a stop that was asked for, or an error.

    Args:
        arguments: `config`, what `config_to_dict` makes of a run with absolute paths, `channel`, the run's
            `RunChannel`, `claim`, its `RunClaim`, and `dataset`, the fingerprint of the dataset that the driver sees.

    Raises:
        UserError: As the trainer raises it, after its message has gone to the channel.
        Leaving: A node of the run will go away; the controller starts workers on others.
        Exception: As it came; those that a restart can't cure after the channel has been told so.
    """
    channel: RunChannel = arguments["channel"]
    try:
        with lean_data() if on_private_ray() else nullcontext():
            result = _train(arguments["config"], channel, arguments["claim"], arguments["dataset"])
    except Stopped:
        return  # all ranks stop at the same step, so none is left waiting
    except UserError as error:
        channel.refuse(str(error))
        raise
    except _MISTAKES:
        channel.give_up()
        raise
    if ray.train.get_context().get_world_rank() == 0:
        channel.finish(result)


def _train(settings: Mapping[str, Any], channel: RunChannel, claim: RunClaim, fingerprint: str) -> dict[str, Any]:
    config = config_from_dict(settings)  # here, where the message of a method that can't be imported finds its way
    torch.set_num_threads(config.run.threads_per_worker)
    # The driver has asked the nodes that there were; this one may have joined later.
    problem = find_difference(config.run.dir, CLAIM_FILE, config.data.path, fingerprint)
    if problem is not None:
        raise UserError(f"node {ray.util.get_node_ip_address()}: {problem}")
    dataset = Dataset.open(config.data.path)
    collectives = join_ranks(config.run.collective_timeout_s)
    with run_monitor(config, channel.note) if collectives.rank == 0 else NullMonitor() as monitor:
        trainer = Trainer(
            config,
            dataset,
            reader=RayBlockReader(dataset),
            collectives=collectives,
            device=ray.train.torch.get_device() if config.run.use_gpu else torch.device("cpu"),
            hooks=RunHooks(
                monitor=monitor,
                on_progress=channel.send_progress,
                check_claim=claim.check,
                should_stop=channel.should_stop,
                should_save=channel.should_save,
                should_leave=leave_notice,
                on_note=channel.note,
                # A private Ray has no dashboard, nor what reports go through.
                on_round=ignore if on_private_ray() else RoundMetrics(config.run.dir, collectives.rank),
            ),
        )
        return trainer.run()


def run_monitor(config: TrainConfig, on_note: Callable[[str], None]) -> TensorBoardMonitor | LoggingMonitor:
    """Returns TensorBoard's files of a run, and its loggers; `on_note` is told where one of these fails.

    What was written after the last checkpoint will be written again, so it is hidden.
    """
    run_dir = config.run.dir
    last = CheckpointStore(run_dir).manifest("last")
    files = TensorBoardMonitor(event_dir(run_dir), purge_step=0 if last is None else last["step"] + 1)
    return LoggingMonitor(files, config, on_note) if config.run.loggers else files
