"""All runs of the benchmark: a search for each row, then repeats of what was chosen."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.common.resumable_pool import Result, ResumablePool
from benchmarks.common.training_task import TrainingTask, carry_out
from benchmarks.paper.search_space import Setting
from benchmarks.positives_only.package import carry_out_of_package, make_environment
from benchmarks.positives_only.rows import ROWS, draw
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.evaluation.selection import Selection

SEARCH_SEED = 1000
"""Of the runs that settings are chosen by; those of the repeats are 0, 1, …"""
SELECT_BY = "ndcg@20"
"""What chooses rounds and settings, on 1,000 users of valid."""
METRICS = ("recall@20", "ndcg@20")
SPLITS = ("train", "valid", "test")
BATCH_SIZE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is compared."""

    rows: tuple[str, ...]
    """Names in `ROWS`."""
    source: str
    """Directory of MovieLens-1M."""
    work: Path
    """Directory of the dataset, the package's environment and finished runs."""
    draws: int
    """Settings that each row is chosen from."""
    seeds: int
    """Repeats of the chosen one."""
    max_rounds: int
    patience: int = 3
    jobs: int = 2
    """Processes, of one thread each."""


def make_dataset(source: str, work: Path) -> Dataset:
    """Prepares the positives of MovieLens-1M, or finds them prepared.

    Args:
        source: Directory of train.parquet, valid.parquet and test.parquet: user_id, item_id, label.
        work: Where the dataset is to lie.

    Raises:
        UserError: A file can't be read.
    """
    path = work / "dataset"
    if not (path / "manifest.json").exists():
        log = work / "log"
        shutil.rmtree(log, ignore_errors=True)
        log.mkdir(parents=True)
        for split in SPLITS:
            try:
                table = pq.read_table(f"{source}/{split}.parquet", columns=["user_id", "item_id", "label"])
            except (OSError, pa.ArrowInvalid) as error:
                raise UserError(
                    f"{source}/{split}.parquet can't be read ({error}); --source is a directory with MovieLens-1M as "
                    "train.parquet, valid.parquet and test.parquet: user_id, item_id, label"
                ) from error
            pq.write_table(table.filter(pc.field("label") == 1).drop_columns("label"), log / f"{split}.parquet")
        prepare(PrepareConfig(source=str(log), output=str(path), name="ml1m-positives"))
        shutil.rmtree(log)
    return Dataset.open(str(path))


def compare(plan: Plan) -> dict[str, Any]:
    """Carries a plan out; what an earlier call with the same `work` finished is not done again.

    Args:
        plan: What to do.

    Returns:
        `about`, the dataset's rows, and `rows`, by name the chosen `setting`, the `search` with validation metrics, and
        `runs`, of each seed its test metrics; a row that diverged has `failed`, the reason, in place of runs.
    """
    dataset = make_dataset(plan.source, plan.work)
    of_package = any(ROWS[name].of_package for name in plan.rows)
    python = make_environment(plan.work / "package") if of_package else Path()
    search = {
        name: [
            _task(plan, dataset, f"{name}-draw{number}", draw(ROWS[name], number, dataset=dataset), SEARCH_SEED)
            for number in range(plan.draws)
        ]
        for name in plan.rows
    }

    def repeats(name: str, setting: Setting) -> list[TrainingTask]:
        return [_task(plan, dataset, f"{name}-seed{seed}", setting, seed, test=True) for seed in range(plan.seeds)]

    pool = ResumablePool(
        plan.work / "runs",
        jobs=plan.jobs,
        datasets={dataset.path: dataset.fingerprint},
        expected=[task for name, tasks in search.items() for task in (*tasks, *repeats(name, tasks[0].setting))],
        work=functools.partial(train_and_measure, python=python),
    )
    try:
        results = pool.run([task for tasks in search.values() for task in tasks])
        best = {name: choose(tasks, results) for name, tasks in search.items()}
        chosen = {name: repeats(name, task.setting) for name, task in best.items() if task is not None}
        results |= pool.run([task for tasks in chosen.values() for task in tasks])
    finally:
        pool.close()
    about = {f"{split}_rows": dataset.rows(split) for split in SPLITS}
    about |= {"users": dataset.num_users, "items": dataset.num_items}
    return {"about": about, "rows": _trivial(chosen, results) | _rows(search, chosen, results)}


def train_and_measure(task: TrainingTask, python: Path) -> Result:
    """Carries a task out and removes its model.

    Args:
        task: The run.
        python: Of the package's environment.
    """
    try:
        return carry_out_of_package(task, python) if "package" in task.setting else carry_out(task)
    finally:
        shutil.rmtree(task.model_dir, ignore_errors=True)


def choose(tasks: Sequence[TrainingTask], results: Mapping[str, Result]) -> TrainingTask | None:
    """The task that is best on valid, the first of equals; None where all diverged.

    Args:
        tasks: To choose from.
        results: By name of task.
    """
    selection = Selection(SELECT_BY)
    sound = [task for task in tasks if "failed" not in results[task.name]]
    return min(sound, key=lambda task: selection.cost(selection.value(results[task.name]["valid"])), default=None)


def _task(plan: Plan, dataset: Dataset, name: str, setting: Setting, seed: int, *, test: bool = False) -> TrainingTask:
    return TrainingTask(
        name=name,
        data=dataset.path,
        model_dir=str(plan.work / "models" / name),
        setting=setting,
        seed=seed,
        max_rounds=plan.max_rounds,
        patience=plan.patience,
        select_by=SELECT_BY,
        batch_size=BATCH_SIZE,
        test=test,
    )


def _trivial(chosen: Mapping[str, Sequence[TrainingTask]], results: Mapping[str, Result]) -> dict[str, Any]:
    """What needs no model, from the first run of ours that measured it."""
    found = [results[task.name] for tasks in chosen.values() for task in tasks]
    measured = next((result["ranking"]["trivial"] for result in found if "trivial" in result.get("ranking", {})), {})
    return {name: {"runs": [{key: values[key] for key in METRICS}]} for name, values in measured.items()}


def _rows(
    search: Mapping[str, Sequence[TrainingTask]],
    chosen: Mapping[str, Sequence[TrainingTask]],
    results: Mapping[str, Result],
) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name, tasks in search.items():
        rows[name] = {"search": [{"setting": task.setting, **_searched(results[task.name])} for task in tasks]}
        runs = [results[task.name] for task in chosen.get(name, ())]
        failed = [result["failed"] for result in (runs or [results[task.name] for task in tasks]) if "failed" in result]
        if failed:
            rows[name]["failed"] = failed[0]
            continue
        rows[name] |= {
            "setting": chosen[name][0].setting,
            "runs": [{key: result["ranking"][key] for key in METRICS} for result in runs],
            "rounds": [result["run"]["best_round"] for result in runs],
            "seconds": sum(result["seconds"] for result in runs) / len(runs),
        }
    return rows


def _searched(result: Result) -> dict[str, Any]:
    if "failed" in result:
        return {"failed": result["failed"]}
    kept = {name: result["valid"]["ranking"][name] for name in METRICS}
    return {"valid": kept, "rounds": result["run"]["best_round"], "seconds": result["seconds"]}
