"""Where a run stands, when it saves itself, and what its ranks request of each other."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, NotRequired, TypedDict

from distributed_il.core.config import RunConfig
from distributed_il.core.documents import Count, Measured, Size, fitted
from distributed_il.core.errors import require


@dataclasses.dataclass(slots=True)
class RunState:
    """The position of a run, and what its stop rule looks at."""

    round: Count = 0  # rounds finished
    phase: Count = 0  # passes of the present round finished
    step: Count = 0  # steps of the present pass taken
    best_round: Count = 0  # from 1; 0 before the first
    best_value: float | None = None  # of the validation metric that it is chosen by
    # validation metrics of each round, with its training loss
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list[dict[str, Any]])
    # of the present round, if it has branches: which was chosen, and the calibrated training-test loss of each
    branches: dict[str, Any] | None = None

    def finished(self, run: RunConfig) -> bool:
        """Returns whether the stop rule ends the run."""
        return self.round >= run.max_rounds or self.round - self.best_round >= run.patience

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values, from which `read_facts` makes the same state."""
        return dataclasses.asdict(self)


_Round = TypedDict(
    "_Round",
    {
        "round": Size,
        "step": Count,
        "train_loss": Measured | None,
        "auc": Measured | None,
        "gauc": Measured | None,
        "ndcg@10": Measured | None,
        "ndcg@20": Measured | None,
        "mrr": Measured | None,
        "logloss": Measured | None,
        "ece": Measured | None,
        "calibrated_logloss": NotRequired[Measured | None],
        "ranking": NotRequired[dict[str, Measured | None]],
        "branches": NotRequired["_Branches"],
    },
)


class _Branches(TypedDict):
    chosen: str
    losses: dict[str, Measured | None]


class _Telemetry(TypedDict):
    pairs: tuple[Count, Count, Count]
    round_loss: tuple[Measured, Measured]


class _Facts(TypedDict):
    course: dict[str, Any]
    telemetry: _Telemetry


def read_facts(manifest: Mapping[str, Any]) -> tuple[RunState, dict[str, Any]]:
    """Returns the run's state that a checkpoint holds, and the facts of its telemetry.

    Args:
        manifest: Of the checkpoint.

    Raises:
        UserError: A key is missing, mistyped or out of range.
    """
    place, cure = f"checkpoint {manifest['place']}/manifest.json: facts", "restore it, or start under another run.dir"
    facts = fitted(manifest["facts"], _Facts, place, cure)
    known = facts["course"]
    if "best_loss" in known:  # before there was a choice of metrics
        known = {**known, "best_value": known["best_loss"]}
        del known["best_loss"]
    state = fitted(known, RunState, f"{place}.course", cure)
    fitted(state.history, list[_Round], f"{place}.course.history", cure)
    if state.branches is not None:
        fitted(state.branches, _Branches, f"{place}.course.branches", cure)
    rounds = len(state.history)
    require(
        state.round == rounds and state.best_round <= rounds,
        f"{place}.course: round is {state.round} and best_round {state.best_round}, after {rounds} rounds; {cure}",
    )
    return state, dict(facts["telemetry"])


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
