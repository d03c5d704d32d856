"""Logs with known noise: rows labelled 0 are interactions that their users did not like."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.data.prepare.simulate.simulator import SimulateConfig, simulate

ML1M, SIMULATED = "ml1m", "simulated"
LOGS = (SIMULATED, ML1M)
SIZES: Mapping[str, int] = {
    "num_users": 2_000,
    "num_items": 1_500,
    "num_positives": 120_000,
    "num_negatives": 60_000,
    "num_unclear": 0,
}
"""Of a simulated log: a third of what people watch, shown by popularity whatever they like, is noise."""
_FINISHED = "finished.json"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LogJob:
    """A dataset to make."""

    log: str
    """One of `LOGS`."""
    source: str
    """Directory of MovieLens-1M."""
    seed: int
    """Of the simulated world; MovieLens-1M is the same for all."""
    sizes: Mapping[str, int]
    """Of a simulated log."""
    work: Path
    """Directory of all datasets."""

    @property
    def path(self) -> str:
        """Of the dataset."""
        return str(self.work / (ML1M if self.log == ML1M else f"{SIMULATED}-{self.seed}") / "dataset")


def make(job: LogJob) -> Dataset:
    """Makes a dataset, or finds it made.

    In MovieLens-1M the noise is what was rated 1 or 2; the ratings of valid and test tell which of them are clean.

    Args:
        job: Which.

    Raises:
        UserError: The source can't be read.
    """
    place = Path(job.path).parent
    asked = json.dumps({"source": job.source} if job.log == ML1M else {"seed": job.seed, **job.sizes})
    if not ((place / _FINISHED).exists() and (place / _FINISHED).read_text() == asked):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if job.log == ML1M:
            prepare(PrepareConfig(source=job.source, output=job.path, rule="binary", name=ML1M, factors=0))
        else:
            sizes: Mapping[str, Any] = job.sizes
            simulate(SimulateConfig(output=job.path, seed=job.seed, **sizes))
        (place / _FINISHED).write_text(asked)
    return Dataset.open(job.path)
