"""What the kernel says of a process and its descendants, sampled over time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import theilslopes

from cluster.local.node import descendants

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one time.

    Attributes:
        at_s: Seconds since the first sample.
        anonymous_bytes: Memory of its own.
        files: Open files.
        threads: Threads.
    """

    at_s: float
    anonymous_bytes: int
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Track:
    """The samples of one process.

    Attributes:
        title: What it calls itself.
        samples: In order of time.
    """

    title: str
    samples: Sequence[Sample]

    def slope(self, quantity: str, *, from_s: float) -> float:
        """Growth an hour: the median slope over all pairs of samples (Theil and Sen), which single peaks don't move.

        Args:
            quantity: An attribute of `Sample`.
            from_s: Leave out what was before.
        """
        kept = [sample for sample in self.samples if sample.at_s >= from_s]
        values = [getattr(sample, quantity) for sample in kept]
        found: Any = theilslopes(values, [sample.at_s / HOUR_S for sample in kept])
        return float(found.slope)

    def median(self, quantity: str, *, from_s: float) -> float:
        """The median of a quantity.

        Args:
            quantity: An attribute of `Sample`.
            from_s: Leave out what was before.
        """
        return float(np.median([getattr(sample, quantity) for sample in self.samples if sample.at_s >= from_s]))

    def range(self, quantity: str, *, from_s: float) -> float:
        """The largest value less the smallest one.

        Args:
            quantity: An attribute of `Sample`.
            from_s: Leave out what was before.
        """
        values = [getattr(sample, quantity) for sample in self.samples if sample.at_s >= from_s]
        return float(max(values) - min(values))


class ProcessSamples:
    """Samples of a process and all that descend from it."""

    def __init__(self, root: int) -> None:
        """Names the process; nothing is read yet."""
        self._root = root
        self._began = time.monotonic()
        self._titles: dict[int, str] = {}
        self._samples: dict[int, list[Sample]] = {}

    def take(self) -> None:
        """Samples all that live now."""
        now = time.monotonic() - self._began
        for pid in {self._root, *descendants(self._root)}:
            try:
                sample = _read(pid, now)
                title = _title(pid)
            except (OSError, KeyError):
                continue  # it has ended, or is about to
            self._titles[pid] = title
            self._samples.setdefault(pid, []).append(sample)

    def tracks(self, *, from_s: float, until_s: float) -> list[Track]:
        """The processes that lived for a whole stretch of time.

        Args:
            from_s: Its begin, in seconds since this object was made.
            until_s: Its end.
        """
        return [
            Track(self._titles[pid], samples)
            for pid, samples in self._samples.items()
            if samples[0].at_s <= from_s and samples[-1].at_s >= until_s
        ]

    def counts(self) -> Mapping[str, int]:
        """Processes seen in all, by title."""
        titles = list(self._titles.values())
        return {title: titles.count(title) for title in sorted(set(titles))}


def _read(pid: int, now: float) -> Sample:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    anonymous = 1024 * int(fields["RssAnon"].split()[0])
    return Sample(now, anonymous, len(os.listdir(f"/proc/{pid}/fd")), int(fields["Threads"]))


def _title(pid: int) -> str:
    """The name that a process of Ray gives itself, or else the program's."""
    words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    if words[0].startswith("ray::"):
        return words[0].split(".")[0]
    program = Path(words[0].split(" ")[0]).name
    scripts = [Path(word).name for word in words[1:] if word.endswith(".py")]
    return scripts[0] if program.startswith("python") and scripts else program
