"""Runs inside the workers of a run that is to fail: slows and notes its steps, and dies where it was told to."""

from __future__ import annotations

import functools
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch.distributed as dist

import distributed_il.methods.steps.executor
import distributed_il.training.checkpoint
import distributed_il.training.checkpoint_shards
from benchmarks.faults.step_log import StepLog
from distributed_il.core.files import write_atomically
from distributed_il.data.loading.batch import Batch
from distributed_il.methods.inverse_gradient import InverseGradient
from distributed_il.methods.steps.decision import StepReport, decide_together
from distributed_il.methods.steps.executor import StepExecutor

STAGE = "DISTRIBUTED_IL_BENCHMARK_STAGE"
"""Variable that names the directory in which the benchmark and its workers meet; without it nothing happens."""
STEP_S = 0.1
"""By so much each step is slower, so that a fault can hit a short run."""


@dataclass(frozen=True, slots=True)
class Order:
    """A worker that passes a place for the n-th time is to kill itself; it is carried out once."""

    rank: int
    place: str
    number: int

    def give(self, stage: Path) -> None:
        """Leaves it for the workers that start from now on."""
        (stage / "order.json").write_text(json.dumps(asdict(self)))


class Sentry:
    """The eyes of the benchmark within one worker."""

    def __init__(self, stage: Path) -> None:
        """Reads the order, if there is one.

        Args:
            stage: Where benchmark and workers meet.
        """
        self._stage, self._log = stage, StepLog(stage)
        order = stage / "order.json"
        self._order = Order(**json.loads(order.read_text())) if order.exists() else None
        self._passed: Counter[str] = Counter()

    def passes(self, place: str) -> None:
        """Counts, and ends this process by SIGKILL if this is the place of the order."""
        self._passed[place] += 1
        rank = dist.get_rank() if dist.is_initialized() else 0
        if self._order != Order(rank, place, self._passed[place]):
            return
        try:
            fired = os.open(self._stage / "fired", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return
        os.write(fired, str(time.time()).encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def step(self, step: Callable[..., StepReport], method: Any, executor: StepExecutor, batch: Batch) -> StepReport:
        """Takes a method's step."""
        learner = executor.learner
        self._log.begin(learner.step, learner.collectives.rank)
        self.passes("training-train" if batch.unlabelled is None else "training-test")
        time.sleep(STEP_S)
        report = step(method, executor, batch)
        self._log.enter(learner.step, batch.row_numbers.tolist())
        return report


def post() -> None:
    """Posts a sentry in this process, if it is a worker of the benchmark and has none yet."""
    if STAGE not in os.environ or hasattr(InverseGradient.step, "__wrapped__"):
        return
    sentry = Sentry(Path(os.environ[STAGE]))
    step, decide = InverseGradient.step, decide_together

    @functools.wraps(step)
    def watched_step(method: InverseGradient, executor: StepExecutor, batch: Batch) -> StepReport:
        return sentry.step(step, method, executor, batch)

    @functools.wraps(decide)
    def watched_decide(*arguments: Any) -> Any:
        decision = decide(*arguments)
        sentry.passes("candidates")  # the three losses have been summed over ranks, and no update has begun
        return decision

    written = _after(write_atomically, functools.partial(sentry.passes, "checkpoint"))
    mock.patch.object(InverseGradient, "step", watched_step).start()
    mock.patch.object(distributed_il.methods.steps.executor, "decide_together", watched_decide).start()
    mock.patch.object(distributed_il.training.checkpoint, "write_atomically", written).start()
    mock.patch.object(distributed_il.training.checkpoint_shards, "write_atomically", written).start()


def _after(write: Callable[..., None], tell: Callable[[], None]) -> Callable[..., None]:
    @functools.wraps(write)
    def watched(*arguments: Any) -> None:
        write(*arguments)
        tell()

    return watched
