"""What a run calls on its way: each hook shows its state to somebody, or asks whether it is to go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distributed_il.core.progress import Progress
from distributed_il.training.monitor import Monitor, NullMonitor


def _never() -> bool:
    return False


def _ignore(_: object) -> None:
    pass


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class RunHooks:
    """The hooks of one rank; by default nobody is told and nothing is requested."""

    monitor: Monitor = NullMonitor()  # noqa: RUF009, it has no state
    """TensorBoard, on rank 0 alone."""
    on_progress: Callable[[Progress], None] = _ignore
    """Given, on rank 0, what the progress line shows."""
    on_note: Callable[[str], None] = _ignore
    """Given what a person should know and nothing else shows."""
    on_round: Callable[[dict[str, Any]], None] = _ignore
    """Given each round's entry of the history once the round is in a checkpoint; may end the run by an exception."""
    should_save: Callable[[], bool] = _never
    """Asked at each report; one rank's yes makes all save a checkpoint."""
    should_stop: Callable[[], bool] = _never
    """Asked likewise; a yes stops the run after a checkpoint."""
    check_claim: Callable[[], None] = _nothing
    """Called on rank 0 before anything is written into the run's directory; raises where another run has that."""
    should_leave: Callable[[], bool] = _never
    """Asked likewise; a yes ends these workers after a checkpoint, not the run."""
