"""All runs of the benchmark: a search for each row of each log, then repeats of what was chosen."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.resumable_pool import Result, ResumablePool
from benchmarks.common.training_task import TrainingTask, carry_out
from benchmarks.noise.logs import SIZES, LogJob, make
from benchmarks.noise.rows import draw
from benchmarks.paper.search_space import Setting
from distributed_il.data.dataset import Dataset
from distributed_il.evaluation.selection import RANKING, Selection
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.run_state import read_facts

SEARCH_SEED = 1000
"""Of the worlds and runs that settings are chosen by; those of the repeats are 0, 1, …"""
SELECT_BY = "ndcg@20"
"""What chooses rounds and settings, on validation rows."""
BATCH_SIZE = 1024
METRICS = ("recall@20", "recall@50", "ndcg@20", "ndcg@50")
CURVE = "recall@20"
"""Of valid, told of every round."""
Cell = tuple[str, str]
"""Names of a log and of a row."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is compared."""

    logs: tuple[str, ...]
    rows: tuple[str, ...]
    """Names in `ROWS`."""
    source: str
    """Directory of MovieLens-1M."""
    work: Path
    """Directory of datasets and of finished runs."""
    draws: int = 3
    """Settings that each row is chosen from."""
    seeds: int = 3
    """Repeats of what was chosen."""
    rounds: int = 12
    """Of every run: all of them, so that the curves show what noise does in the end."""
    sizes: Mapping[str, int] = dataclasses.field(default_factory=lambda: SIZES)
    """Of the simulated log."""
    jobs: int = 2
    """Processes, of one thread each."""


def compare(plan: Plan) -> dict[str, Any]:
    """Carries a plan out; what an earlier call with the same `work` finished is not done again.

    Args:
        plan: What to do.

    Returns:
        By log: `about`, its numbers of rows; `rows`, by name the chosen `setting`, the `search` with validation
        metrics, and `runs`, of each seed `test`, METRICS and the GAUC of clean against noisy test rows, and `curve`,
        CURVE round by round; and `trivial`, METRICS of popularity and item co-occurrence by name, seed by seed.
    """
    seeds = (SEARCH_SEED, *range(plan.seeds))
    made = {(log, seed): make(_job(plan, log, seed)) for log in plan.logs for seed in seeds}
    cells = [(log, row) for log in plan.logs for row in plan.rows]
    search = {cell: _search(plan, cell, made[cell[0], SEARCH_SEED]) for cell in cells}
    expected = [task for cell in cells for task in (*search[cell], *_repeats(plan, cell, search[cell][0].setting))]
    fingerprints = {dataset.path: dataset.fingerprint for dataset in made.values()}
    pool = ResumablePool(
        plan.work / "runs", jobs=plan.jobs, datasets=fingerprints, expected=expected, work=train_and_rank
    )
    try:
        results = pool.run([task for tasks in search.values() for task in tasks])
        chosen = {cell: _repeats(plan, cell, choose(tasks, results).setting) for cell, tasks in search.items()}
        results |= pool.run([task for tasks in chosen.values() for task in tasks])
    finally:
        pool.close()
    return {log: _of_log(log, plan, made[log, SEARCH_SEED], search, chosen, results) for log in plan.logs}


def train_and_rank(task: TrainingTask) -> Result:
    """Carries a task out and removes its model.

    Args:
        task: The run.

    Returns:
        What `carry_out` does, and `curve`, CURVE of valid round by round.

    Raises:
        UserError: It diverged.
    """
    try:
        found = carry_out(task)
        manifest = None if "failed" in found else CheckpointStore(task.model_dir).manifest("last")
        history = [] if manifest is None else read_facts(manifest)[0].history
        return {**found, "curve": [entry[RANKING][CURVE] for entry in history]}
    finally:
        shutil.rmtree(task.model_dir, ignore_errors=True)


def choose(tasks: Sequence[TrainingTask], results: Mapping[str, Result]) -> TrainingTask:
    """The task of best validation metric, the first of equals.

    Args:
        tasks: To choose from; not all of them diverged.
        results: By name of task.
    """
    selection = Selection(SELECT_BY)
    sound = [task for task in tasks if "failed" not in results[task.name]]
    return min(sound, key=lambda task: selection.cost(selection.value(results[task.name]["valid"])))


def _job(plan: Plan, log: str, seed: int) -> LogJob:
    return LogJob(log=log, source=plan.source, seed=seed, sizes=plan.sizes, work=plan.work / "datasets")


def _search(plan: Plan, cell: Cell, dataset: Dataset) -> list[TrainingTask]:
    """The tasks that a row is chosen from; they never read the test split."""
    steps = math.ceil(dataset.rows("train") / BATCH_SIZE)
    return [
        _task(plan, cell, f"draw{number}", draw(cell[1], number, steps=steps), SEARCH_SEED, test=False)
        for number in range(plan.draws)
    ]


def _repeats(plan: Plan, cell: Cell, setting: Setting) -> list[TrainingTask]:
    """The tasks that measure the chosen setting."""
    return [_task(plan, cell, f"seed{seed}", setting, seed, test=True) for seed in range(plan.seeds)]


def _task(plan: Plan, cell: Cell, which: str, setting: Setting, seed: int, *, test: bool) -> TrainingTask:
    name = "-".join((*cell, which))
    return TrainingTask(
        name=name,
        data=_job(plan, cell[0], seed).path,
        model_dir=str(plan.work / "models" / name),
        setting=setting,
        seed=seed,
        max_rounds=plan.rounds,
        patience=plan.rounds,
        select_by=SELECT_BY,
        batch_size=BATCH_SIZE,
        test=test,
    )


def _of_log(
    log: str,
    plan: Plan,
    dataset: Dataset,
    search: Mapping[Cell, Sequence[TrainingTask]],
    chosen: Mapping[Cell, Sequence[TrainingTask]],
    results: Mapping[str, Result],
) -> dict[str, Any]:
    splits = dataset.manifest.splits
    rows = {
        row: {
            "setting": chosen[log, row][0].setting,
            "search": [_searched(task, results[task.name]) for task in search[log, row]],
            "runs": [_measured(results[task.name]) for task in chosen[log, row]],
        }
        for row in plan.rows
    }
    found = [results[task.name][RANKING]["trivial"] for task in chosen[log, plan.rows[0]]]
    trivial = {name: [{key: one[name][key] for key in METRICS} for one in found] for name in found[0]}
    about = {f"{name}_rows": splits[name].rows for name in ("train", "valid", "test")}
    about |= {"noise": splits["train"].rows - splits["train"].positives}
    return {"about": about, "rows": rows, "trivial": trivial}


def _searched(task: TrainingTask, result: Result) -> dict[str, Any]:
    if "failed" in result:
        return {"setting": task.setting, "failed": result["failed"]}
    valid = {name: result["valid"][RANKING][name] for name in METRICS}
    return {"setting": task.setting, "valid": valid, "best_round": result["run"]["best_round"]}


def _measured(result: Result) -> dict[str, Any]:
    test = {name: result[RANKING][name] for name in METRICS} | {"gauc": result["test"]["gauc"]}
    return {
        "test": test,
        "curve": result["curve"],
        "best_round": result["run"]["best_round"],
        "seconds": result["seconds"],
    }
