"""What reading a source finds beside its rows: how many there are, which are bad, and how long people watched."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from distributed_il.data.prepare.sources.rejects import Rejects
from distributed_il.data.prepare.sources.watch_times import WatchTimes


@dataclass(slots=True)
class Findings:
    """Counts of a source, or of one file of it."""

    rejects: Rejects
    """Bad rows so far."""
    rows: int = 0
    """Good rows so far."""
    watch_times: WatchTimes = field(default_factory=WatchTimes)
    """Of the good rows."""

    def to_json(self) -> str:
        """All of it, as another process takes it over."""
        times = self.watch_times
        return json.dumps(
            {
                "rows": self.rows,
                "rejects": self.rejects.entries(),
                "watches": times.counts.tolist(),
                "without_duration": times.without_duration,
            }
        )

    def add_json(self, text: str) -> None:
        """Takes over what another process has found in files that this one has not read."""
        found = json.loads(text)
        self.rows += found["rows"]
        for entry in found["rejects"]:
            self.rejects.add(*entry)
        self.watch_times.counts += found["watches"]
        self.watch_times.without_duration += found["without_duration"]
