"""Models of one size with batches for them, and the steps that are timed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import numpy as np
import torch

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.lanes import Schedule
from distributed_il.data.loading.batch import Batch
from distributed_il.data.loading.loader import window_steps
from distributed_il.data.loading.windows import BatchMaker, WindowRows
from distributed_il.data.sampling import UnlabelledPairs
from distributed_il.methods import make_method
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner

Step = Literal["plain", "inverse"]
Mode = Literal["eager", "compiled"]
STEPS: tuple[Step, ...] = get_args(Step)
MODES: tuple[Mode, ...] = get_args(Mode)
USER_SHARE = 37_692 / (37_692 + 131_690)
"""Of the rows of both tables: the paper's Table 1."""
CALLS_TO_READY = 2
"""Calls after which a function is compiled and, on a GPU, recorded as a graph."""
POOL_ROWS = 1 << 18
"""Labelled rows of the batches that steps take by turns: more rows of a table than a cache holds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """What is trained.

    Attributes:
        backbone: `gmf` or `neumf`.
        rows: Of both tables.
        batch: Labelled rows of a step; an inverse step has as many unlabelled pairs.
    """

    backbone: str
    rows: int
    batch: int

    @property
    def label(self) -> str:
        """Ends the names of its figures."""
        digits = f"{self.rows // 10**6}m" if self.rows >= 10**6 else f"{self.rows // 1000}k"
        return digits if self.batch == 1024 else f"{digits}_batch_{self.batch}"


class StepCase:
    """A learner with one pool of batches for plain steps and one for inverse steps, plans made ahead.

    Ids are uniform at random: hardly any row of a large table is touched twice in a batch or is still in a cache.

    Attributes:
        size: What is trained.
        learner: It trains on at every call.
        batches: The pools, by kind of step.
        decisions: How many inverse steps chose direct, skip and inverse.
    """

    def __init__(self, size: Size, device: torch.device, *, seed: int = 0) -> None:
        """Builds the model and all batches.

        Args:
            size: What is trained.
            device: Where it lives.
            seed: Of weights and batches.
        """
        self.size, self._device = size, device
        self.num_users = round(size.rows * USER_SHARE)
        self.num_items = size.rows - self.num_users
        self.learner = Learner(
            ModelConfig(backbone=size.backbone),
            OptimizerConfig(),
            num_users=self.num_users,
            num_items=self.num_items,
            seed=seed,
            collectives=LocalCollectives(),
            device=device,
        )
        self._executor = StepExecutor(self.learner)
        self.config = InverseGradientConfig()
        self._method = make_method(self.config)
        self.decisions = [0, 0, 0]
        self._maker = BatchMaker(self.num_users, self.num_items, dtype=torch.float32, device=device)
        generator = np.random.default_rng(seed)
        windows = max(POOL_ROWS // (size.batch * window_steps(size.batch)), 1)
        self.windows = [self._window(generator) for _ in range(windows)]
        self.batches: dict[Step, list[Batch]] = {
            "plain": [batch for window in self.windows for batch in self.plan(window, pairs=False)],
            "inverse": [batch for window in self.windows for batch in self.plan(window, pairs=True)],
        }

    def compile(self) -> None:
        """Readies the compiled steps.

        Raises:
            RuntimeError: They could not be compiled.
        """
        self._executor.compile(refuse, batch_size=self.size.batch)
        self._fused, self._executor.fused = self._executor.fused, None
        for step in STEPS:
            self.steps(step, "compiled", CALLS_TO_READY)()

    def plan(self, window: WindowRows, *, pairs: bool) -> list[Batch]:
        """Batches of a window with their plans: what a run does in its prefetch thread.

        Args:
            window: Rows and pairs.
            pairs: Whether the batches carry their unlabelled pairs.
        """
        phase = self._method.phases[1 if pairs else 0]
        rows = window if pairs else dataclasses.replace(window, pairs=None, rate=0)
        schedule = Schedule(window.bounds[-1], self.size.batch, num_lanes=1, world_size=1)
        return self._maker.batches(rows, range(window_steps(self.size.batch)), schedule, phase)

    def steps(self, step: Step, mode: Mode, count: int) -> Callable[[], None]:
        """A call that takes some steps, each with the next batch of its pool, and waits for the device.

        Args:
            step: Plain or inverse.
            mode: Eager or compiled.
            count: Steps of a call.
        """
        pool: Iterator[Batch] = itertools.cycle(self.batches[step])

        def call() -> None:
            self._executor.fused = self._fused if mode == "compiled" else None
            for batch in itertools.islice(pool, count):
                report = self._method.step(self._executor, batch)
                if report.decision is not None:
                    self.decisions[report.decision.choice] += 1
            wait_for(self._device)

        return call

    def row_bytes(self, step: Step) -> float:
        """Bytes of table rows that a step must at least read and write, on average over the pool.

        Each distinct labelled row is read and written once with its moments; each distinct row of a pair has its weight
        read once, and written where the decision moves it, which is left out.
        """
        dims = (self.learner.users.dim, self.learner.items.dim)
        total = 0
        for batch in self.batches[step]:
            for plan, visits in zip(batch.plans, (2 * 3, 1), strict=False):
                sides = (plan.users, plan.items)
                total += sum(4 * visits * dim * side.ids.numel() for dim, side in zip(dims, sides, strict=True))
        return total / len(self.batches[step])

    def _window(self, generator: np.random.Generator) -> WindowRows:
        count = self.size.batch * window_steps(self.size.batch)
        users = generator.integers(0, self.num_users, count)
        pairs = UnlabelledPairs(
            users,
            generator.integers(0, self.num_items, count),
            np.ones(count, dtype=np.bool_),
            np.zeros(count, dtype=np.bool_),
        )
        return WindowRows(
            numbers=np.arange(count),
            user_ids=users,
            item_ids=generator.integers(0, self.num_items, count),
            labels=generator.integers(0, 2, count),
            bounds=range(0, count + 1, self.size.batch),
            pairs=pairs,
            rate=1,
        )


def wait_for(device: torch.device) -> None:
    """Waits until a device has done its work; a CPU always has.

    Args:
        device: The device.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def refuse(message: str) -> None:
    """Told that steps could not be compiled, ends the benchmark.

    Args:
        message: What went wrong.

    Raises:
        RuntimeError: Always.
    """
    raise RuntimeError(message)
