"""The record of a run: its settings, history and decisions, read from its last checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from distributed_il.core.config import RunConfig, completed, flat
from distributed_il.core.errors import UserError
from distributed_il.evaluation.selection import Selection
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.monitor import DecisionHistory, WeightHistogram
from distributed_il.training.run_outputs import read_metrics
from distributed_il.training.run_state import RunState, read_facts
from distributed_il.training.seeds import seed_dirs

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class RunRecord:
    """A run, finished or not.

    Attributes:
        name: Short, but different from all others.
        run_dir: As it was given.
        settings: Its configuration, keys joined by dots.
        history: Validation metrics and training loss of each round.
        decisions: All of them.
        first_weights: w1 of unlabelled pairs in the first round.
        weights: The same of the last round.
        results: Content of metrics.json; None where the run has not finished, or has never read the test split.
    """

    name: str
    run_dir: str
    settings: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    decisions: DecisionHistory
    first_weights: WeightHistogram
    weights: WeightHistogram
    results: Mapping[str, Any] | None

    @property
    def split(self) -> str:
        """Split that its model may be measured on: `test` only once the run itself has read it."""
        return "valid" if self.results is None else "test"

    @property
    def duration(self) -> timedelta | None:
        """How long the process trained that ended the run, to the second; None where it has not ended."""
        seconds = None if self.results is None else self.results["run"]["throughput"].get("seconds")
        return None if seconds is None else timedelta(seconds=round(seconds))

    @property
    def environment(self) -> Mapping[str, Any]:
        """When, on what machine and with which versions the run ended; empty where that was not written."""
        return {} if self.results is None else self.results["run"].get("environment", {})

    @property
    def selection(self) -> Selection:
        """What the run chooses its best round by."""
        return Selection(self.settings["run.select_by"])

    @property
    def best_round(self) -> int:
        """Round of the best value of what the run selects by, from 1."""
        place = self.selection.best([self.selection.value(entry) for entry in self.history])
        return 1 if place is None else place + 1


def read_record(run_dir: str, name: str) -> RunRecord:
    """Reads the record of a run, which has that name on the page.

    Raises:
        UserError: There is no run that has finished a round, or its checkpoint is damaged.
    """
    store = CheckpointStore(run_dir)
    manifest = store.manifest("last")
    state = RunState() if manifest is None else read_facts(manifest)[0]
    if manifest is None or not state.history:
        raise UserError(f"{run_dir} holds no run that has finished a round; give the run.dir of one that has")
    results = read_metrics(run_dir, manifest)
    if results is None and state.finished(RunConfig(**completed(manifest["config"])["run"])):
        _log.warning(
            "%s has trained to its end and holds no metrics.json, so it is measured on valid; `train` there writes it",
            run_dir,
        )
    arrays = store.state(manifest).arrays
    prefix = "decisions."
    decisions = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    return RunRecord(
        name=name,
        run_dir=run_dir,
        settings=flat(completed(manifest["config"])),
        history=state.history,
        decisions=DecisionHistory.from_state(decisions),
        first_weights=WeightHistogram(arrays["first_weights"].astype(np.int64)),
        weights=WeightHistogram(arrays["weights"].astype(np.int64)),
        results=results,
    )


def read_records(run_dirs: Sequence[str]) -> list[RunRecord]:
    """Reads the records of runs, each named by as little of its path as tells it from the others.

    A directory of `run.seeds` stands for the runs in it.

    Raises:
        UserError: As `read_record` and `short_names`.
    """
    run_dirs = [run_dir for given in run_dirs for run_dir in seed_dirs(given) or [given]]
    return [read_record(run_dir, name) for run_dir, name in zip(run_dirs, short_names(run_dirs), strict=True)]


def short_names(run_dirs: Sequence[str]) -> list[str]:
    """Returns the last parts of each path or URI, as few as make all names distinct.

    Raises:
        UserError: A run was given twice.
    """
    paths = [path.rstrip("/") for path in run_dirs]
    parts = [path.split("/") for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    twice = next(path for path in paths if paths.count(path) > 1)
    raise UserError(f"{twice} is given twice; name each run once")
