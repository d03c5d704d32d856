"""Statistics of what has been read: rows, rejects, and how long people watched."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.data.prepare.sources.rejects import Rejects
from distributed_il.data.prepare.sources.time_units import TimeUnits

EDGES_S = (0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 18.0, 25.0, 35.0, 60.0, 120.0, 300.0)
"""Lower edges of the bins; the last one is open. The rule's own thresholds are among them."""
CLASSES = ("negative", "positive", "unclear")
"""Labels of a watch, by number."""


class WatchTimes:
    """Counts watches by class and length."""

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros((len(CLASSES), len(EDGES_S)), dtype=np.int64)
        """int64 [classes, bins]."""
        self.without_duration = 0
        """Watches whose duration is missing or 0."""

    def add(self, play: pa.Array, duration: pa.Array | None, labels: pa.Array, unit: str) -> None:
        """Counts watches.

        Args:
            play: float64 [n] from 0 up, without nulls.
            duration: float64 [n]; None where it is not read.
            labels: int8 [n], null where unclear.
            unit: `ms` or `s`.
        """
        if duration is not None:
            self.without_duration += int(np.count_nonzero(duration.fill_null(0.0).to_numpy() <= 0))
        seconds = play.to_numpy() / (1000.0 if unit == "ms" else 1.0)
        bins = np.searchsorted(EDGES_S, seconds, side="right") - 1
        classes = labels.fill_null(2).to_numpy()
        cells = classes.astype(np.int64) * len(EDGES_S) + bins
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)


@dataclass(slots=True)
class ReadStats:
    """What has been read of a source, or of one file of it."""

    rejects: Rejects
    """Bad rows so far."""
    rows: int = 0
    """Good rows so far."""
    empty_files: int = 0
    """Files without rows so far."""
    watch_times: WatchTimes = field(default_factory=WatchTimes)
    """Of the good rows."""
    time_units: TimeUnits = field(default_factory=TimeUnits)
    """Likewise."""

    def to_json(self) -> str:
        """Serialises the stats for another process."""
        times = self.watch_times
        return json.dumps(
            {
                "rows": self.rows,
                "empty_files": self.empty_files,
                "rejects": self.rejects.entries(),
                "watches": times.counts.tolist(),
                "without_duration": times.without_duration,
                "time_units": self.time_units.entries(),
            }
        )

    def add_json(self, text: str) -> None:
        """Adds the stats of files that another process has read."""
        found = json.loads(text)
        self.rows += found["rows"]
        self.empty_files += found["empty_files"]
        for entry in found["rejects"]:
            self.rejects.add(*entry)
        self.watch_times.counts += found["watches"]
        self.watch_times.without_duration += found["without_duration"]
        self.time_units.add_entries(found["time_units"])
