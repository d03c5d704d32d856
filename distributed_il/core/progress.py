"""One line that moves: where a run is, how fast, how good, and how long still."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from tqdm import tqdm

PLAIN_EVERY_S = 30.0

StageProgress = Callable[[str, int, int], None]
"""Told the stage, and how many of its rows are done of how many in all; 0 where nobody knows."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        round: The present round, from 1.
        max_rounds: Rounds at the most.
        phase: Name of the present pass.
        step: Steps of the pass taken.
        steps: Steps of the pass.
        rows_per_s: Labelled rows per second over all workers.
        loss: Mean training loss of the round so far.
        decisions: Shares of direct, skip and inverse; None where the method takes none.
        eta_s: Seconds left of the pass; NaN where unknown.
        best: Validation metric of the best round so far; None before the first.
    """

    round: int
    max_rounds: int
    phase: str
    step: int
    steps: int
    rows_per_s: float
    loss: float
    decisions: tuple[float, float, float] | None
    eta_s: float
    best: float | None

    def line(self) -> str:
        """Returns the line that people read, what matters most first: a terminal may cut it."""
        parts = [f"round {self.round}/{self.max_rounds} {self.phase} {self.step / max(self.steps, 1):4.0%}"]
        if math.isfinite(self.eta_s):
            parts.append(f"{int(self.eta_s) // 60}:{int(self.eta_s) % 60:02d} left")
        if math.isfinite(self.loss):
            parts.append(f"loss {self.loss:.4f}")
        parts.append(f"{short_number(self.rows_per_s)} rows/s")
        if self.best is not None:
            parts.append(f"best valid {self.best:.4f}")
        if self.decisions is not None:
            direct, skip, inverse = self.decisions
            parts.append(f"direct {direct:.0%} skip {skip:.0%} inverse {inverse:.0%}")
        return "  ".join(parts)


class ProgressLine:
    """Shows on a terminal where the work is, as one moving line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Shows nothing yet; writes to standard error by default."""
        self._stream: TextIO = sys.stderr if stream is None else stream
        self._bar: Any = None
        self._told = -math.inf

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, progress: Progress) -> None:
        """Shows where a run is, in a line that goes away; elsewhere than on a terminal as a plain one now and then."""
        if self._stream.isatty():
            self._moving(total=0, bar_format="{desc}", leave=False).set_description_str(progress.line())
            return
        now = time.monotonic()
        if now - self._told >= PLAIN_EVERY_S:
            self._told = now
            print(progress.line(), file=self._stream, flush=True)

    def wait(self, what: str, seconds: float) -> None:
        """Shows, on a terminal, what is being waited for, and since when."""
        if self._stream.isatty():
            self._moving(total=0, bar_format="{desc}", leave=False).set_description_str(f"{what}, {seconds:.0f} s")

    def update_stage(self, stage: str, done: int, total: int) -> None:
        """Shows how far a stage is, on a terminal only; the line goes away in the end. A `StageProgress`."""
        if self._stream.isatty():
            bar = self._moving(unit=" rows", unit_scale=True, leave=False)
            bar.set_description(stage, refresh=False)
            bar.total, bar.n = total or None, done
            bar.refresh()

    def note(self, text: str) -> None:
        """Prints a line that stays, above the moving one."""
        tqdm.write(text, file=self._stream)
        self._stream.flush()
        self._told = time.monotonic()

    def _moving(self, **options: Any) -> Any:
        if self._bar is None:
            self._bar = tqdm(file=self._stream, dynamic_ncols=True, **options)
        return self._bar


def short_number(number: float) -> str:
    """Returns a number with one decimal and its thousands as a letter, such as 12.3k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.0f}"
