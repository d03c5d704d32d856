"""Where a run stands, and the two ways in which it is left before its end."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from distributed_il.core.config import RunConfig


class Stopped(Exception):
    """The run was asked to stop; its state is in the last checkpoint."""


class Leaving(Exception):
    """A node of the run will go away soon; the state is in the last checkpoint, for workers on other nodes."""


@dataclasses.dataclass(slots=True)
class Course:
    """The position of a run, and what its stop rule looks at.

    Attributes:
        round: Rounds finished.
        phase: Passes of the present round finished.
        step: Steps of the present pass taken.
        best_round: Round of lowest validation loss, from 1; 0 before the first.
        best_loss: That loss.
        history: Validation metrics of each round, with its training loss.
    """

    round: int = 0
    phase: int = 0
    step: int = 0
    best_round: int = 0
    best_loss: float = math.inf
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list[dict[str, Any]])

    def finished(self, run: RunConfig) -> bool:
        """Whether the stop rule says so."""
        return self.round >= run.max_rounds or self.round - self.best_round >= run.patience

    def state(self) -> dict[str, Any]:
        """JSON values that `from_state` takes."""
        state = dataclasses.asdict(self)
        return state | {"best_loss": None} if math.isinf(self.best_loss) else state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Course:
        """A course as a checkpoint has kept it."""
        known = dict(state)
        if known["best_loss"] is None:
            known["best_loss"] = math.inf
        return cls(**known)


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


class Wishes(NamedTuple):
    """Each of them begins with a checkpoint, so that what is done at the same step on every rank is done together.

    Attributes:
        save: A checkpoint, and on.
        stop: The end of the run.
        leave: The end of these workers, because one of their nodes will go away.
    """

    save: bool = False
    stop: bool = False
    leave: bool = False

    @classmethod
    def of_all(cls, counts: Iterable[float]) -> Wishes:
        """What follows from the number of ranks that wish for each."""
        return cls(*(count > 0 for count in counts))
