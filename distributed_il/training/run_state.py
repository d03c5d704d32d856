"""Where a run stands, and the two ways in which it is left before its end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

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
