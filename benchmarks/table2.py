"""Table 2 of the inverse learning paper: both backbones × its six methods, two rows with exposure factors, baselines.

Once at the paper's settings, and once with every row tuned on the validation split with the same budget: of as many
settings each, the one of lowest calibrated validation log loss wins, and the test split is read for that one alone.
Further seeds repeat the paper's settings and the chosen ones. A benchmark that was stopped goes on where it stood.

    python -m benchmarks.table2 --data DIR_OF_ML1M --out DIR
    python -m benchmarks.table2 --data DIR_OF_SIMULATED_LOGS --log micro_video --draws 3 --out DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import shutil
import sys
from pathlib import Path
from typing import Any, get_args

from benchmarks.common.machine import machine_facts
from benchmarks.common.resumable_pool import Result, ResumablePool
from benchmarks.common.training_task import TrainingTask
from benchmarks.paper.job_files import write_job_files
from benchmarks.paper.search_space import (
    BACKBONES,
    BATCH_SIZE,
    FACTORED,
    MAX_ROUNDS,
    METHODS,
    PATIENCE,
    ROWS,
    Log,
    Setting,
    candidates,
    paper_setting,
)
from benchmarks.paper.table2_report import markdown
from distributed_il.core.errors import UserError
from distributed_il.core.files import to_json, write_run_file
from distributed_il.data.dataset import Dataset

QUESTION = "Which method ranks {name} best, at the paper's settings and when every row is tuned with the same budget?"
SELECT_BY = "calibrated_logloss"
"""What chooses rounds and settings: it compares losses whatever scale their logits are on."""
Row = tuple[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The runs of the benchmark."""

    data: str
    """Prepared dataset."""
    out: Path
    """Where everything goes."""
    seeds: int = 1
    """Seeds 0, 1, …; settings are chosen with seed 0."""
    backbones: tuple[str, ...] = BACKBONES
    """Which backbones."""
    methods: tuple[str, ...] = ROWS
    """Which rows."""
    log: Log = "ml1m"
    """What `data` is, which decides the settings."""
    draws: int = 6
    """Settings that each row is chosen from."""
    quick: bool = False
    """Two settings and two rounds each: shows that everything works, measures nothing."""
    possible: tuple[str, ...] = ROWS
    """Rows that the dataset allows."""

    @property
    def rows(self) -> list[Row]:
        """Backbone and method of each row of the table."""
        methods = [method for method in self.methods if method in self.possible]
        return [(backbone, method) for backbone in self.backbones for method in methods]

    def paper(self) -> dict[Row, list[TrainingTask]]:
        """The paper's settings of the paper's rows, a run a seed."""
        return {
            row: [
                self._task(f"paper-{row[0]}-{row[1]}-seed{seed}", paper_setting(*row, self.log), seed=seed, test=True)
                for seed in range(self.seeds)
            ]
            for row in self.rows
            if row[1] in METHODS
        }

    def search(self) -> dict[Row, list[TrainingTask]]:
        """The settings to choose from; these runs never see the test split."""
        return {
            row: [
                self._task(f"search-{row[0]}-{row[1]}-{number}", setting, seed=0, test=False)
                for number, setting in enumerate(candidates(*row, self.log)[: 2 if self.quick else self.draws])
            ]
            for row in self.rows
        }

    def chosen(self, row: Row, best: TrainingTask) -> list[TrainingTask]:
        """The chosen setting: the search's own model is measured, further seeds are trained."""
        first = dataclasses.replace(best, name=f"tuned-{row[0]}-{row[1]}-seed0", test=True, go_on=True)
        return [first] + [
            self._task(f"tuned-{row[0]}-{row[1]}-seed{seed}", best.setting, seed=seed, test=True)
            for seed in range(1, self.seeds)
        ]

    def _task(self, name: str, setting: Setting, *, seed: int, test: bool) -> TrainingTask:
        return TrainingTask(
            name=name,
            data=self.data,
            model_dir=str(self.out / "models" / name),
            setting=setting,
            seed=seed,
            max_rounds=2 if self.quick else MAX_ROUNDS,
            patience=PATIENCE,
            select_by=SELECT_BY,
            test=test,
        )


def possible_rows(dataset: Dataset) -> tuple[str, ...]:
    """The rows that a dataset allows: with factors where it has some, unclear pairs where some are logged.

    Args:
        dataset: What is trained on.
    """
    has_factors, has_log = dataset.factors() is not None, dataset.logged() is not None
    return tuple(row for row in ROWS if (row in METHODS or has_factors) and (FACTORED.get(row) != "ordinal" or has_log))


def choose(tasks: list[TrainingTask], results: dict[str, Result]) -> TrainingTask:
    """The task of lowest calibrated validation log loss; the first of equals.

    Args:
        tasks: To choose from.
        results: By name of task.

    Raises:
        UserError: Every one of them diverged.
    """
    losses = {task.name: results[task.name].get("valid", {}).get(SELECT_BY) for task in tasks}
    sound = [task for task in tasks if losses[task.name] is not None]
    if not sound:
        raise UserError(
            f"all runs diverged: {results[tasks[0].name].get('failed', 'the validation loss is not finite')}"
        )
    return min(sound, key=lambda task: losses[task.name])


def compare(plan: Plan, *, jobs: int) -> dict[str, Any]:
    """Carries out the plan.

    Args:
        plan: The runs.
        jobs: Processes.

    Returns:
        The table, as table2-*.json holds it.
    """
    dataset = Dataset.open(plan.data)
    paper, search = plan.paper(), plan.search()
    # The longest first, so that no core is left with one at the end.
    first = sorted(_flat(paper) + _flat(search), key=lambda task: task.setting["model"]["backbone"], reverse=True)
    expected = first + [task for row in plan.rows for task in plan.chosen(row, search[row][0])]
    pool = ResumablePool(plan.out / "runs", jobs=jobs, datasets={plan.data: dataset.fingerprint}, expected=expected)
    try:
        results = pool.run(first)
        best = {row: choose(search[row], results) for row in plan.rows}
        chosen = {row: plan.chosen(row, best[row]) for row in plan.rows}
        results |= pool.run(_flat(chosen))
    finally:
        pool.close()
    for row, task in best.items():  # the model was trained by the search and only measured here
        results[chosen[row][0].name]["seconds"] = results[task.name]["seconds"]
    shutil.rmtree(plan.out / "models", ignore_errors=True)
    return {
        "question": QUESTION.format(name=dataset.manifest.name),
        "machine": machine_facts(),
        "dataset": {"name": dataset.manifest.name, "fingerprint": dataset.fingerprint},
        "config": {
            "log": plan.log,
            "draws": 2 if plan.quick else plan.draws,
            "seeds": plan.seeds,
            "jobs": jobs,
            "quick": plan.quick,
            "batch_size": BATCH_SIZE,
            "max_rounds": first[0].max_rounds,
            "patience": PATIENCE,
        },
        "trivial": next(result["trivial"] for result in results.values() if "trivial" in result),
        "paper": [_row(row, tasks, results) for row, tasks in paper.items()],
        "tuned": [_row(row, chosen[row], results) for row in plan.rows],
        "search": [_searched(row, search[row], best[row], results) for row in plan.rows],
    }


def _flat(tasks: dict[Row, list[TrainingTask]]) -> list[TrainingTask]:
    return [task for of_row in tasks.values() for task in of_row]


def _row(row: Row, tasks: list[TrainingTask], results: dict[str, Result]) -> dict[str, Any]:
    kept = ("seconds", "valid", "test", "run", "failed")
    runs = [{name: results[task.name][name] for name in kept if name in results[task.name]} for task in tasks]
    return {"backbone": row[0], "method": row[1], "setting": tasks[0].setting, "runs": runs}


def _searched(row: Row, tasks: list[TrainingTask], best: TrainingTask, results: dict[str, Result]) -> dict[str, Any]:
    settings = [
        {
            "setting": task.setting,
            "chosen": task is best,
            **{
                name: value
                for name, value in results[task.name].items()
                if name in ("seconds", "valid", "run", "failed")
            },
        }
        for task in tasks
    ]
    return {"backbone": row[0], "method": row[1], "settings": settings}


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark and writes table2-LOG-DATE.json and .md.

    Args:
        arguments: Of the command line; its own by default.

    Returns:
        0, or 2 where the user has to cure something.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="prepared MovieLens-1M, or simulated micro-video logs")
    parser.add_argument("--log", choices=get_args(Log), default="ml1m", help="which of them (default: ml1m)")
    parser.add_argument("--draws", type=int, default=6, help="settings that each row is chosen from (default: 6)")
    parser.add_argument("--out", required=True, type=Path, help="directory of the results")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each row (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one core each (default: 2)")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=BACKBONES, help="which (default: both)")
    parser.add_argument("--methods", nargs="+", choices=ROWS, default=ROWS, help="which (default: all)")
    parser.add_argument("--quick", action="store_true", help="two settings and two rounds each")
    parser.add_argument("--write-jobs", type=Path, help="directory that gets the tuned settings as ml1m_*.yaml")
    options = parser.parse_args(arguments)
    if min(options.seeds, options.jobs, options.draws) < 1:
        parser.error("--seeds, --jobs and --draws must be at least 1")
    plan = Plan(
        log=options.log,
        draws=options.draws,
        data=options.data,
        out=options.out,
        seeds=options.seeds,
        backbones=tuple(options.backbones),
        methods=tuple(options.methods),
        quick=options.quick,
    )
    try:
        plan = dataclasses.replace(plan, possible=possible_rows(Dataset.open(plan.data)))
        report = compare(plan, jobs=options.jobs)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    name = f"table2-{plan.log}-{datetime.date.today().isoformat()}"
    write_run_file(str(options.out), f"{name}.json", to_json(report))
    write_run_file(str(options.out), f"{name}.md", markdown(report))
    if options.write_jobs is not None:
        write_job_files(report, options.write_jobs)
    print(markdown(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
