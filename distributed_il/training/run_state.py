"""Where a run stands, when it saves itself, and what its ranks request of each other."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from distributed_il.core.config import RunConfig


@dataclasses.dataclass(slots=True)
class RunState:
    """The position of a run, and what its stop rule looks at."""

    round: int = 0  # rounds finished
    phase: int = 0  # passes of the present round finished
    step: int = 0  # steps of the present pass taken
    best_round: int = 0  # from 1; 0 before the first
    best_value: float | None = None  # of the validation metric that it is chosen by
    # validation metrics of each round, with its training loss
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list[dict[str, Any]])
    # of the present round, if it has branches: which was chosen, and the calibrated training-test loss of each
    branches: dict[str, Any] | None = None

    def finished(self, run: RunConfig) -> bool:
        """Returns whether the stop rule ends the run."""
        return self.round >= run.max_rounds or self.round - self.best_round >= run.patience

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values, from which `from_dict` makes the same state."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunState:
        """Returns the state that a checkpoint holds."""
        known = dict(values)
        if "best_loss" in known:  # before there was a choice of metrics
            known["best_value"] = known.pop("best_loss")
        return cls(**known)


class CheckpointSchedule:
    """When to save: every so many steps, the same on all ranks, and by this rank's clock, which the others follow."""

    def __init__(self, run: RunConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps, self._seconds, self._clock = run.checkpoint_every_steps, run.checkpoint_every_s, clock
        self._saved = clock()

    def falls_on(self, step: int) -> bool:
        """Returns whether a checkpoint follows an optimiser step."""
        return self._steps is not None and step % self._steps == 0

    def is_due(self) -> bool:
        """Returns whether the last checkpoint is so old that this rank requests another."""
        return self._seconds is not None and self._clock() - self._saved >= self._seconds

    def saved(self) -> None:
        """Starts the clock again, after a checkpoint."""
        self._saved = self._clock()


class RankRequests(NamedTuple):
    """What a rank requests; each request begins with a checkpoint, which all ranks write after the same step."""

    save: bool = False  # a checkpoint, and on
    stop: bool = False  # the end of the run
    leave: bool = False  # the end of these workers, because one of their nodes will go away

    @classmethod
    def of_all(cls, counts: Iterable[float]) -> RankRequests:
        """Returns what at least one rank requests, given the number of ranks for each."""
        return cls(*(count > 0 for count in counts))


class Stopped(Exception):
    """The run was asked to stop; its state is in the last checkpoint."""


class Leaving(Exception):
    """A node of the run will go away soon; the state is in the last checkpoint, for workers on other nodes."""
