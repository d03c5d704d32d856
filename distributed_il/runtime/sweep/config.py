"""What a sweep is told."""

from __future__ import annotations

from dataclasses import dataclass

from distributed_il.core.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """What a sweep tries; the sections beside it are the run that all trials share."""

    space: str
    """YAML file of the search space: for each setting `choice: […]`, or `uniform`, `loguniform` or `randint` with
    `[low, high]`, such as `optimizer.learning_rate: {loguniform: [1e-4, 1e-2]}`."""
    trials: int = 20
    """How many settings are tried."""
    grace_rounds: int = 2
    """Rounds that every trial may run before it is compared with the others."""
    reduction_factor: int = 3
    """Of the trials that reach a comparison one in so many goes on; the next is after so many times the rounds."""

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("grace_rounds", 1), ("reduction_factor", 2)):
            if getattr(self, name) < least:
                raise UserError(f"sweep.{name} is {getattr(self, name)}; it must be at least {least}")
