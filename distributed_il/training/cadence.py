"""When a run saves itself inside a round."""

from __future__ import annotations

import time
from collections.abc import Callable

from distributed_il.core.config import RunConfig


class Cadence:
    """Two rhythms: every so many steps, the same on all ranks, and by this rank's clock, which all have to agree on."""

    def __init__(self, run: RunConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts the clock.

        Args:
            run: Has `checkpoint_every_steps` and `checkpoint_every_s`.
            clock: Seconds.
        """
        self._steps, self._seconds, self._clock = run.checkpoint_every_steps, run.checkpoint_every_s, clock
        self._saved = clock()

    def falls_on(self, step: int) -> bool:
        """Whether an optimiser step is one to save after."""
        return self._steps is not None and step % self._steps == 0

    def is_due(self) -> bool:
        """Whether so much time has gone by since the last checkpoint that this rank wants another."""
        return self._seconds is not None and self._clock() - self._saved >= self._seconds

    def saved(self) -> None:
        """Starts the clock again, after a checkpoint."""
        self._saved = self._clock()
