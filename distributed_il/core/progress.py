"""One line that moves: where a run is, how fast, how good, and how long still."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from typing import Any, TextIO

from tqdm import tqdm

PLAIN_EVERY_S = 30.0


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
        best: Lowest validation loss so far; None before the first.
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
        """The line that people read."""
        parts = [f"round {self.round}/{self.max_rounds} {self.phase} {self.step / max(self.steps, 1):4.0%}"]
        parts.append(f"{_short(self.rows_per_s)} rows/s")
        if math.isfinite(self.loss):
            parts.append(f"loss {self.loss:.4f}")
        if self.decisions is not None:
            direct, skip, inverse = self.decisions
            parts.append(f"direct {direct:.0%} skip {skip:.0%} inverse {inverse:.0%}")
        if self.best is not None:
            parts.append(f"best valid {self.best:.4f}")
        if math.isfinite(self.eta_s):
            parts.append(f"{int(self.eta_s) // 60}:{int(self.eta_s) % 60:02d} left")
        return "  ".join(parts)


class ProgressLine:
    """Shows progress on a terminal as one moving line, elsewhere as a plain line now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Shows nothing yet.

        Args:
            stream: Where to write; standard error by default.
        """
        self._stream: TextIO = sys.stderr if stream is None else stream
        self._bar: Any = None
        self._round = 0
        self._told = -math.inf

    def __enter__(self) -> ProgressLine:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the last line standing."""
        if self._bar is not None:
            self._bar.close()

    def update(self, progress: Progress) -> None:
        """Shows where the run is."""
        if self._stream.isatty():
            if self._bar is None:
                self._bar = tqdm(total=0, bar_format="{desc}", file=self._stream, dynamic_ncols=True)
            self._bar.set_description_str(progress.line())
            return
        now = time.monotonic()
        if progress.round != self._round or now - self._told >= PLAIN_EVERY_S:
            self._round, self._told = progress.round, now
            print(progress.line(), file=self._stream, flush=True)

    def note(self, text: str) -> None:
        """Prints a line that stays, above the moving one."""
        tqdm.write(text, file=self._stream)
        self._stream.flush()


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.0f}"


class StageLine:
    """Shows the present stage and how far it is; on a terminal only."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Shows nothing yet.

        Args:
            stream: Where to write; standard error by default.
        """
        self._stream: TextIO = sys.stderr if stream is None else stream
        self._bar: Any = None

    def __enter__(self) -> StageLine:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Takes the line away."""
        if self._bar is not None:
            self._bar.close()

    def update(self, stage: str, done: int, total: int) -> None:
        """Shows where the work is.

        Args:
            stage: What is being done.
            done: Rows done.
            total: Rows in all; 0 where nobody knows.
        """
        if not self._stream.isatty():
            return
        if self._bar is None:
            self._bar = tqdm(file=self._stream, unit=" rows", unit_scale=True, leave=False, dynamic_ncols=True)
        self._bar.set_description(stage, refresh=False)
        self._bar.total = total or None
        self._bar.n = done
        self._bar.refresh()
