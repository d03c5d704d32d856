"""All runs of the benchmark: a search for each row of each setting, then repeats of what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.resumable_pool import Result, ResumablePool
from benchmarks.common.training_task import TrainingTask
from benchmarks.feedback_value.datasets import Job, Made, make
from benchmarks.feedback_value.kinds import Kind
from benchmarks.feedback_value.measuring import METRICS, train_and_measure
from benchmarks.feedback_value.rows import Row, rows_of
from benchmarks.feedback_value.search import BATCH_SIZE, draw
from benchmarks.paper.search_space import Setting
from distributed_il.data.dataset import Dataset

SEARCH_SEED = 1000
"""Of the masks and runs that settings are chosen by; those of the repeats are 0, 1, …"""
SELECT_BY = "calibrated_logloss"
"""What chooses rounds and settings, on validation rows."""

Cell = tuple[str, str]
"""Names of a setting and of a row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is compared."""

    kinds: tuple[Kind, ...]
    rows: tuple[str, ...]
    """Names in `ROWS`."""
    source: str
    """Directory of MovieLens-1M."""
    work: Path
    """Directory of datasets and of finished runs."""
    draws: int = 12
    """Settings that each row is chosen from."""
    seeds: int | None = None
    """Repeats, at the most as many as each setting has; by default those."""
    max_rounds: int = 60
    patience: int = 3
    jobs: int = 2
    """Processes, of one thread each."""

    def repeats(self, kind: Kind) -> int:
        """Seeds of a setting."""
        return min(self.seeds or kind.seeds, kind.seeds)


class Comparison:
    """The datasets of a plan, and the tasks on them."""

    def __init__(self, plan: Plan) -> None:
        """Makes all datasets, or finds them made.

        Raises:
            UserError: A source can't be read.
        """
        self.plan = plan
        jobs: dict[tuple[str, int], Job] = {}
        for kind in plan.kinds:
            for seed in (SEARCH_SEED, *range(plan.repeats(kind))):
                mask = seed if kind.masks else 0
                jobs[kind.name, mask] = Job(
                    kind=kind,
                    source=plan.source,
                    seed=mask,
                    place=plan.work / "datasets" / f"{kind.name}-{mask}",
                    shuffled="factors_shuffled" in plan.rows and "factors_shuffled" in (kind.rows or plan.rows),
                )
        self.made: dict[tuple[str, int], Made] = {key: make(job) for key, job in jobs.items()}
        self.cells: dict[Cell, tuple[Kind, Row]] = {
            (kind.name, row.name): (kind, row)
            for kind in plan.kinds
            for row in rows_of(kind, Dataset.open(self.of(kind, SEARCH_SEED).path), plan.rows)
        }

    def of(self, kind: Kind, seed: int) -> Made:
        """The dataset of a seed."""
        return self.made[kind.name, seed if kind.masks else 0]

    def search(self, cell: Cell) -> list[TrainingTask]:
        """The tasks that a row is chosen from; they never read the test split."""
        kind, row = self.cells[cell]
        dataset = Dataset.open(self.of(kind, SEARCH_SEED).path)
        return [
            self._task(cell, f"draw{number}", draw(row, number, dataset=dataset, dense=kind.dense), SEARCH_SEED)
            for number in range(min(self.plan.draws, kind.draws or self.plan.draws))
        ]

    def repeats(self, cell: Cell, setting: Setting) -> list[TrainingTask]:
        """The tasks that measure the chosen setting."""
        seeds = range(self.plan.repeats(self.cells[cell][0]))
        return [self._task(cell, f"seed{seed}", setting, seed, test=True) for seed in seeds]

    def _task(self, cell: Cell, which: str, setting: Setting, seed: int, *, test: bool = False) -> TrainingTask:
        kind, row = self.cells[cell]
        made, name = self.of(kind, seed), "-".join((*cell, which))
        return TrainingTask(
            name=name,
            data=made.shuffled if row.shuffled else made.path,
            model_dir=str(self.plan.work / "models" / name),
            setting=setting,
            seed=seed,
            max_rounds=self.plan.max_rounds,
            patience=self.plan.patience,
            select_by=SELECT_BY,
            batch_size=BATCH_SIZE,
            test=test,
        )


def compare(plan: Plan) -> dict[str, Any]:
    """Carries a plan out; what an earlier call with the same `work` finished is not done again.

    Args:
        plan: What to do.

    Returns:
        By setting: `about`, facts of its datasets, and `rows`, by name the chosen `setting`, the `search` with
        validation metrics, and `runs`, of each seed its metrics by split or probe; a row that diverged has no `runs`.
    """
    comparison = Comparison(plan)
    search = {cell: comparison.search(cell) for cell in comparison.cells}
    expected = [
        task for cell, tasks in search.items() for task in (*tasks, *comparison.repeats(cell, tasks[0].setting))
    ]
    fingerprints = {path: made.fingerprint for made in comparison.made.values() for path in (made.path, made.shuffled)}
    pool = ResumablePool(
        plan.work / "runs", jobs=plan.jobs, datasets=fingerprints, expected=expected, work=train_and_measure
    )
    try:
        results = pool.run([task for tasks in search.values() for task in tasks])
        best = {cell: choose(tasks, results) for cell, tasks in search.items()}
        chosen = {cell: comparison.repeats(cell, task.setting) for cell, task in best.items() if task is not None}
        results |= pool.run([task for tasks in chosen.values() for task in tasks])
    finally:
        pool.close()
    report: dict[str, Any] = {kind.name: {"about": _about(kind, comparison, plan), "rows": {}} for kind in plan.kinds}
    for cell, tasks in search.items():
        rows = report[cell[0]]["rows"]
        rows[cell[1]] = {
            "search": [{"setting": task.setting, **_searched(results[task.name])} for task in tasks],
            **({"setting": chosen[cell][0].setting, **_runs(chosen[cell], results)} if cell in chosen else {}),
        }
        if "item_mean" not in rows and "runs" in rows[cell[1]]:
            rows["item_mean"] = {"runs": [_item_mean(results[task.name]) for task in chosen[cell]]}
    return report


def choose(tasks: Sequence[TrainingTask], results: Mapping[str, Result]) -> TrainingTask | None:
    """The task of lowest calibrated validation loss, the first of equals; None where all diverged.

    Args:
        tasks: To choose from.
        results: By name of task.
    """
    sound = [task for task in tasks if "failed" not in results[task.name]]
    return min(sound, key=lambda task: results[task.name]["valid"][SELECT_BY], default=None)


def _about(kind: Kind, comparison: Comparison, plan: Plan) -> dict[str, Any]:
    return {
        "family": kind.family,
        "share": kind.share,
        "seeds": plan.repeats(kind),
        "targets": dict(kind.targets),
        **comparison.of(kind, SEARCH_SEED).facts,
    }


def _searched(result: Result) -> dict[str, Any]:
    if "failed" in result:
        return {"failed": result["failed"]}
    kept = {name: result["valid"][name] for name in (SELECT_BY, *METRICS)}
    return {"valid": kept, "rounds": result["run"]["best_round"], "seconds": result["seconds"]}


def _runs(tasks: Sequence[TrainingTask], results: Mapping[str, Result]) -> dict[str, Any]:
    found = [results[task.name] for task in tasks]
    failed = [result["failed"] for result in found if "failed" in result]
    if failed:
        return {"failed": failed[0]}
    return {
        "runs": [
            {"test": {name: result["test"][name] for name in METRICS}, **result["probes"].get("model", {})}
            for result in found
        ],
        "seconds": sum(result["seconds"] for result in found) / len(found),
    }


def _item_mean(result: Result) -> dict[str, Any]:
    test = {name: result["trivial"]["item_mean"][name] for name in METRICS}
    return {"test": test, **result["probes"].get("item_mean", {})}
