"""Starts a run on Ray Train, shows its progress, and brings its result or its error to the caller."""

from __future__ import annotations

from distributed_il.runtime.session import ray_session  # isort: skip  # before Ray

import dataclasses
import math
import signal
import threading
import time
import uuid
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback

from distributed_il.core.config import TrainConfig, config_to_dict
from distributed_il.core.errors import UserError
from distributed_il.core.process import process_environment
from distributed_il.core.progress import ProgressLine
from distributed_il.runtime.capacity import wait_for_capacity, worker_resources
from distributed_il.runtime.data_checks import possible_workers
from distributed_il.runtime.lean_ray import on_private_ray
from distributed_il.runtime.paths import with_absolute_paths
from distributed_il.runtime.preflight import check_cluster, check_run
from distributed_il.runtime.run_channel import RunChannel
from distributed_il.runtime.supervision import StandingGroup, SupervisedTrainer
from distributed_il.runtime.worker import train_loop
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.feedback import about_feedback, resolve_feedback
from distributed_il.training.run_claim import RunClaim, claim_run
from distributed_il.training.run_state import Leaving

POLL_S = 0.3
GRACE_S = 60.0
"""How long a run that was asked to stop may take to its next checkpoint."""


def launch(config: TrainConfig) -> dict[str, Any]:
    """Runs a training run to its end and returns what metrics.json holds.

    A run whose directory holds a checkpoint goes on from there. SIGINT or SIGTERM ends it after a checkpoint, a second
    one at once.

    Raises:
        UserError: Something is wrong that the user can cure; nothing was begun, or the last checkpoint stands.
        KeyboardInterrupt: SIGINT came.
        SystemExit: SIGTERM came.
        ray.train.TrainingFailedError: Workers failed more often than `run.max_failures`.
    """
    config = with_absolute_paths(config)
    dataset = check_run(config)
    counts = possible_workers(config.run, dataset)
    cpus = config.run.workers * config.run.threads_per_worker
    about = about_feedback(resolve_feedback(config, dataset), dataset)
    # Ray sets a handler of SIGTERM when it starts, so ours comes after it.
    with (
        claim_run(config.run.dir, take_over=config.run.take_over) as claim,
        ProgressLine() as line,
        ray_session(cpus=cpus),
        _signals() as received,
    ):
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, take_over=False))  # once, not again
        if about is not None:
            line.note(about)
        # No node will ever join a private Ray.
        limit_s = 0.0 if on_private_ray() else config.run.wait_for_workers_s
        wait_for_capacity(
            config.run, workers=counts[0], limit_s=limit_s, note=line.note, stopped=lambda: bool(received)
        )
        if received:
            raise _interruption(received)
        check_cluster(config, dataset)
        channel = RunChannel()
        trainer = make_trainer(config, counts, channel, claim, dataset.fingerprint)
        training = _fit_in_thread(trainer)
        _follow(training, channel, line, received)
        if not training.done():
            trainer.leave(training)
        result = _result(training, channel)
        if result is not None:
            return result
        line.note(f"stopped; the same command goes on from the last checkpoint in {config.run.dir}")
        raise _interruption(received)


def make_trainer(
    config: TrainConfig, counts: Sequence[int], channel: RunChannel, claim: RunClaim, fingerprint: str
) -> SupervisedTrainer:
    """Returns the Ray Train job of a run with absolute paths.

    `counts` are the numbers of workers that it may have, ascending; its workers send `channel` what the driver shows,
    write nothing once `claim` is lost, and train where the dataset has the `fingerprint` alone.
    """
    run = config.run
    return SupervisedTrainer(
        train_loop,
        channel=channel,
        counts=counts,
        store=CheckpointStore(run.dir),
        hung_after_s=run.collective_timeout_s,
        train_loop_config={
            "config": config_to_dict(config),
            "channel": channel,
            "claim": claim,
            "dataset": fingerprint,
        },
        torch_config=StandingGroup(
            backend="nccl" if run.use_gpu else "gloo", timeout_s=math.ceil(run.collective_timeout_s)
        ),
        scaling_config=ScalingConfig(
            num_workers=run.workers, use_gpu=run.use_gpu, resources_per_worker=worker_resources(run)
        ),
        run_config=RunConfig(
            # Resuming is our checkpoints' business: to Ray every start is a new run.
            name=f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}",
            storage_path=f"{run.dir}/ray",
            failure_config=FailureConfig(max_failures=run.max_failures),
            worker_runtime_env={"env_vars": process_environment(run.threads_per_worker)},
            logging_config=LoggingConfig(log_level="WARNING"),
            callbacks=[FailureNotes(channel)],
        ),
    )


class FailureNotes(UserCallback):
    """Runs in Ray Train's controller: reports that workers failed, and ends the run if a restart would not help."""

    def __init__(self, channel: RunChannel) -> None:
        self._channel = channel

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called by Ray Train with the errors of workers by rank; it does not restart after an error raised here.

        Raises:
            UserError: A worker has left its message in the channel.
            Exception: The first of the errors, if it would come again.
        """
        refusal = self._channel.refusal()
        if refusal is not None:
            raise UserError(refusal)
        if any(isinstance(error, Leaving) for error in worker_exceptions.values()):
            self._channel.note("notice that a node or worker will go: saved, and on with new workers")
            return
        rank, first = min(worker_exceptions.items())
        if self._channel.given_up():
            raise first
        self._channel.note(f"worker {rank} failed: {str(first).strip().splitlines()[-1]}")


def _interruption(received: list[int]) -> BaseException:
    return KeyboardInterrupt() if received[0] == signal.SIGINT else SystemExit(128 + received[0])


def _fit_in_thread(trainer: SupervisedTrainer) -> Future[Any]:
    """Runs `fit` in a thread of its own: there Ray leaves signals to the main thread, which has the console."""
    done: Future[Any] = Future()

    def fit() -> None:
        try:
            done.set_result(trainer.fit())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=fit, name="fit", daemon=True).start()
    return done


def _follow(training: Future[Any], channel: RunChannel, line: ProgressLine, received: list[int]) -> None:
    """Shows what comes over the channel until training ends, or has to be abandoned."""
    stop_by, began, under_way = math.inf, time.monotonic(), False
    while not training.done():
        if not under_way:
            line.wait("workers are starting", time.monotonic() - began)
        _wait(training)
        update = channel.update()
        for note in update.notes:
            line.note(note)
        if update.progress is not None:
            under_way = True
            line.update(update.progress)
        if received and math.isinf(stop_by):
            stop_by = time.monotonic() + GRACE_S
            channel.stop()
            line.note("stopping after a checkpoint; once more (Ctrl-C or SIGTERM) stops at once")
        if len(received) > 1 or time.monotonic() > stop_by:
            return


def _wait(training: Future[Any]) -> None:
    try:
        training.exception(timeout=POLL_S)
    except TimeoutError:
        return


def _result(training: Future[Any], channel: RunChannel) -> dict[str, Any] | None:
    """Returns the run's result; None if it was stopped before it had one."""
    refusal = channel.refusal()
    if refusal is not None:
        raise UserError(refusal)
    if training.done():
        training.result()
    return channel.result()


@contextmanager
def _signals() -> Generator[list[int]]:
    """Collects SIGINT and SIGTERM in a list in place of their usual effect; only the main thread can."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda number, _: received.append(number)) for kind in kinds}
    try:
        yield received
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
