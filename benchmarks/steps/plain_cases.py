"""Plain steps of several methods, with exposure factors and without, and with unclear pairs beside labelled rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks.steps.step_cases import CALLS_TO_READY, POOL_ROWS, USER_SHARE, Mode, Size, refuse, wait_for
from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.core.method_config import MethodConfig, NoneConfig, OrdinalConfig
from distributed_il.data.lanes import Schedule
from distributed_il.data.loading.batch import Batch
from distributed_il.data.loading.loader import window_steps
from distributed_il.data.loading.windows import BatchMaker, WindowRows
from distributed_il.data.sampling import UnlabelledPairs
from distributed_il.methods import make_method
from distributed_il.methods.protocol import extras_of
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.embedding.factored import Factors, RowFactors
from distributed_il.models.learner import Learner

NUM_FACTORS = 16


@dataclass(frozen=True, slots=True)
class Kind:
    """What a step is of.

    Attributes:
        method: Its settings.
        pairs: Unclear pairs for each labelled row.
        factors: Exposure factors of a row; 0 for none.
    """

    method: MethodConfig = field(default_factory=NoneConfig)
    pairs: int = 0
    factors: int = 0


KINDS = {
    "none": Kind(),
    "none_with_factors": Kind(factors=NUM_FACTORS),
    "ordinal_with_factors_1_pair": Kind(OrdinalConfig(pairs=1), 1, NUM_FACTORS),
    "ordinal_with_factors_2_pairs": Kind(OrdinalConfig(pairs=2), 2, NUM_FACTORS),
}


class PlainCase:
    """A learner with a pool of batches, plans made ahead; ids are uniform at random, those of pairs too."""

    def __init__(self, size: Size, kind: Kind, device: torch.device) -> None:
        """Builds the model and all batches.

        Args:
            size: Of the model and of a step.
            kind: What a step is of.
            device: Where the model lives.
        """
        self._size, self._kind, self._device = size, kind, device
        users = round(size.rows * USER_SHARE)
        self._counts = (users, size.rows - users)
        self._method = make_method(kind.method)
        learner = Learner(
            ModelConfig(backbone=size.backbone),
            OptimizerConfig(),
            num_users=users,
            num_items=size.rows - users,
            seed=0,
            collectives=LocalCollectives(),
            device=device,
            factors=_random_factors(self._counts, kind.factors, device) if kind.factors else None,
            method_extras=extras_of(self._method),
        )
        self._learner, self._executor = learner, StepExecutor(learner)
        generator = np.random.default_rng(0)
        windows = max(POOL_ROWS // (size.batch * window_steps(size.batch)), 1)
        self._batches = [batch for _ in range(windows) for batch in self._window(generator)]

    def compile(self) -> None:
        """Readies the compiled steps.

        Raises:
            RuntimeError: They could not be compiled.
        """
        self._executor.compile(refuse, batch_size=self._size.batch)
        self._fused, self._executor.fused = self._executor.fused, None
        self.steps("compiled", CALLS_TO_READY)()

    def steps(self, mode: Mode, count: int) -> Callable[[], None]:
        """A call that takes some steps, each with the next batch of the pool, and waits for the device.

        Args:
            mode: Eager or compiled.
            count: Steps of a call.
        """
        pool = itertools.cycle(self._batches)

        def call() -> None:
            self._executor.fused = self._fused if mode == "compiled" else None
            for batch in itertools.islice(pool, count):
                self._method.step(self._executor, batch)
            wait_for(self._device)

        return call

    def _window(self, generator: np.random.Generator) -> list[Batch]:
        steps, rate = window_steps(self._size.batch), self._kind.pairs
        count = self._size.batch * steps
        users, items = (generator.integers(0, rows, count) for rows in self._counts)
        pairs = None
        if rate:
            drawn = [generator.integers(0, rows, count * rate) for rows in self._counts]
            nothing = np.zeros(count * rate, dtype=np.bool_)
            pairs = UnlabelledPairs(drawn[0], drawn[1], ~nothing, nothing)
        rows = WindowRows(
            numbers=np.arange(count),
            user_ids=users,
            item_ids=items,
            labels=generator.integers(0, 2, count),
            bounds=range(0, count + 1, self._size.batch),
            pairs=pairs,
            rate=rate,
        )
        factors = self._learner.factors if self._device.type == "cpu" else None
        maker = BatchMaker(
            *self._counts,
            dtype=torch.float32,
            device=self._device,
            factors=(factors[0].of, factors[1].of) if factors else None,
        )
        schedule = Schedule(count, self._size.batch, num_lanes=1, world_size=1)
        return maker.batches(rows, range(steps), schedule, self._method.phases[0])


def _random_factors(counts: tuple[int, int], k: int, device: torch.device) -> Factors:
    generator = torch.Generator().manual_seed(0)
    sides = [
        RowFactors(
            torch.randn((rows, k), generator=generator).to(device), torch.ones(k, device=device), clip=4.0, scale=0.1
        )
        for rows in counts
    ]
    return Factors(sides[0], sides[1], 1e-4)
