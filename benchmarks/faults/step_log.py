"""What every process of a run on Ray writes down of its steps, and the ledger that comes of it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.faults.row_ledger import RowLedger


@dataclass(frozen=True, slots=True)
class Entry:
    """A step that a process has taken, or the place that it begins at.

    Attributes:
        at: Time, in seconds of the machine's clock.
        process: The process's file.
        step: Optimiser steps of the model now.
        rows: Global numbers of the step's rows; None where the process begins.
    """

    at: float
    process: str
    step: int
    rows: list[int] | None


class StepLog:
    """A process's own file, made at its first step."""

    def __init__(self, place: Path) -> None:
        """Names the directory of all processes' files."""
        self._place = place
        self._file: Path | None = None

    def begin(self, step: int, rank: int) -> None:
        """Says before the first step where the process begins; later calls do nothing."""
        if self._file is None:
            self._file = self._place / f"steps-{time.time_ns()}-{rank}.jsonl"
            self._tell(step, None)

    def enter(self, step: int, rows: list[int]) -> None:
        """Takes in a step."""
        self._tell(step, rows)

    def _tell(self, step: int, rows: list[int] | None) -> None:
        assert self._file is not None
        with self._file.open("a") as file:
            file.write(json.dumps([time.time(), step, rows]) + "\n")


def entries(place: Path) -> list[Entry]:
    """What all processes have written down, in order of time.

    Args:
        place: Directory of their files.
    """
    return sorted(_read(place), key=lambda entry: entry.at)


def _read(place: Path) -> Iterator[Entry]:
    for path in place.glob("steps-*.jsonl"):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):  # a killed process may leave a part of one
                at, step, rows = json.loads(line)
                yield Entry(at, path.name, step, rows)


def ledger_of(found: list[Entry]) -> RowLedger:
    """The ledger of a run: where a process begins, the steps behind its place are struck out.

    No rank can finish a step before all have begun, so the order of time is right.

    Args:
        found: In order of time.
    """
    ledger = RowLedger()
    for entry in found:
        if entry.rows is None:
            ledger.go_back(entry.step)
        else:
            ledger.enter(entry.step, np.array(entry.rows, dtype=np.int64))
    return ledger


def silence_s(found: list[Entry], fault: float) -> float | None:
    """Seconds from a fault until the run went on: to the first step of a new process, else the longest pause.

    None where no step was left to take.

    Args:
        found: In order of time.
        fault: When it was, by the same clock.
    """
    begun = {entry.process for entry in found if entry.rows is None and entry.at > fault}
    anew = [entry.at for entry in found if entry.process in begun and entry.rows is not None]
    if anew:
        return anew[0] - fault
    times = [fault, *(entry.at for entry in found if entry.at > fault)]
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=None)
