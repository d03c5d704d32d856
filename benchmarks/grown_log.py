"""Does a model go on when its log has grown: for the users that it knew, and for those who came since?

Some users are left out of the log at first, and a model is trained. Then `prepare --append_to` adds them, which folds
them into the exposure factors, and everybody's new exposures too; a run starts `--from` the first one. Its model is
measured on the test rows of old and of new users at the switch, before its first step, and where it ends. Without Ray,
one thread.

    python -m benchmarks.grown_log --source DIR_OF_THE_FILES
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from benchmarks.common.training_task import local_trainer
from distributed_il.core.arrow_compute import pc
from distributed_il.core.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.evaluation.baselines import item_mean
from distributed_il.evaluation.metrics import compute_metrics
from distributed_il.models.learner import Learner

SPLITS = ("train", "valid", "test")
Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is measured."""

    source: str
    """Directory of train.parquet, valid.parquet and test.parquet: user_id, item_id, label."""
    new_share: float = 0.1
    """Of the users."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each leaves out other users and starts from other weights."""
    max_rounds: int = 30
    """Of the first run."""
    further_rounds: int = 3
    """Of the run that starts from it."""


def write_logs(plan: Plan, new: Ids, place: Path) -> None:
    """Writes the log of the old users and that of the new ones."""
    for split in SPLITS:
        table = pq.read_table(f"{plan.source}/{split}.parquet")
        is_new = pc.is_in(table.column("user_id"), pa.array(new).cast(table.schema.field("user_id").type))
        for name, rows in (("old", table.filter(pc.invert(is_new))), ("new", table.filter(is_new))):
            (place / name).mkdir(exist_ok=True)
            pq.write_table(rows, place / name / f"{split}.parquet")


def config_of(data: Dataset, run_dir: Path, seed: int, rounds: int, start_from: str | None = None) -> TrainConfig:
    """The settings of jobs/ml1m_best.yaml."""
    return TrainConfig(
        data=DataConfig(path=data.path),
        run=RunConfig(dir=str(run_dir), seed=seed, max_rounds=rounds, start_from=start_from),
        model=ModelConfig(factors=32),
        optimizer=OptimizerConfig(learning_rate=3e-3, weight_decay=1e-5, missed_steps="catch_up"),
        method=NoneConfig(),
    )


def test_rows(dataset: Dataset) -> tuple[Ids, Ids, Ids]:
    """Users, items and labels of the test split, int64 [n] each."""
    blocks = [block for lane in range(dataset.lanes) for block in dataset.blocks("test", lane)]
    tables = [dataset.read_block(block, ("user_id", "item_id", "label")) for block in blocks]
    users, items, labels = (
        np.concatenate([table.column(name).to_numpy() for table in tables]).astype(np.int64)
        for name in ("user_id", "item_id", "label")
    )
    return users, items, labels


def by_age(dataset: Dataset, old_users: int, scores: NDArray[np.float64]) -> Iterator[tuple[str, str, float]]:
    """AUC and GAUC of the test rows of old and of new users: (who, metric, value)."""
    users, _, labels = test_rows(dataset)
    for who, rows in (("old", users < old_users), ("new", users >= old_users)):
        if rows.any():
            found = compute_metrics(users[rows], scores[rows], labels[rows])
            yield from ((who, name, float(found[name])) for name in ("auc", "gauc"))


def scores_of(learner: Learner, dataset: Dataset) -> NDArray[np.float64]:
    """Logits of the test rows."""
    learner.materialize()
    users, items, _ = test_rows(dataset)
    return learner.score(torch.from_numpy(users), torch.from_numpy(items)).double().numpy()


def measure_once(plan: Plan, seed: int, place: Path) -> dict[str, float]:
    """Trains, adds users, and measures at each stage."""
    everybody = pq.read_table(f"{plan.source}/train.parquet", columns=["user_id"]).column("user_id").unique().to_numpy()
    new = np.random.default_rng(seed).permutation(np.sort(everybody))[: round(plan.new_share * everybody.size)]
    write_logs(plan, new, place)
    files: dict[str, Any] = {split: f"{split}.parquet" for split in SPLITS} | {"unseen": "keep", "rule": "binary"}
    prepare(PrepareConfig(source=f"{place}/old", output=f"{place}/small", factors=32, **files))
    prepare(
        PrepareConfig(source=f"{place}/new", output=f"{place}/large", append_to=f"{place}/small", new_ids=True, **files)
    )
    small, large = Dataset.open(f"{place}/small"), Dataset.open(f"{place}/large")
    found: dict[str, float] = {}

    def note(stage: str, dataset: Dataset, scores: NDArray[np.float64]) -> None:
        found.update({f"{who}_{name}_{stage}": value for who, name, value in by_age(dataset, small.num_users, scores)})

    first = local_trainer(config_of(small, place / "first", seed, plan.max_rounds), small)
    first.run()  # which ends with the best round in place
    note("before", small, scores_of(first.learner, small))
    then = config_of(large, place / "then", seed, plan.further_rounds, start_from=f"{place}/first")
    second = local_trainer(then, large)
    note("at_switch", large, scores_of(second.learner, large))
    seen, rows = large.activity(), test_rows(large)
    note("item_mean", large, item_mean(seen.item_rows, seen.item_positives)[rows[1]])
    second.run()
    note("after", large, scores_of(second.learner, large))
    return found


def main() -> None:
    """Measures, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--source", required=True, help="directory of train.parquet, valid.parquet and test.parquet")
    arguments = parser.parse_args()
    start_as_worker()
    torch.set_num_threads(1)
    plan = Plan(source=arguments.source)
    if arguments.quick:
        plan = replace(plan, seeds=(0,), max_rounds=3, further_rounds=1)
    found: dict[str, list[float]] = {}
    for seed in plan.seeds:
        with tempfile.TemporaryDirectory() as directory:
            for name, value in measure_once(plan, seed, Path(directory)).items():
                found.setdefault(name, []).append(value)
                print(f"seed {seed}: {name} {value:.4f}", flush=True)
    figures = {name: Figure(values) for name, values in found.items()}

    def gains(name: str, over: str) -> list[float]:
        return [one - other for one, other in zip(found[name], found[over], strict=True)]

    figures["old_auc_gained_at_switch"] = Figure(gains("old_auc_at_switch", "old_auc_before"), at_least=-1e-4)
    for metric in ("auc", "gauc"):
        gained = gains(f"new_{metric}_at_switch", f"new_{metric}_item_mean")
        figures[f"new_{metric}_over_item_mean_at_switch"] = Figure(gained, at_least=0.0)
    medians = {name: figure.median for name, figure in figures.items()}
    Result(
        name="grown_log",
        question="Does a model go on when its log has grown: for the users that it knew, and for those who came since?",
        answer=f"AUC of old users {medians['old_auc_before']:.4f} before, {medians['old_auc_at_switch']:.4f} at the "
        f"switch, {medians['old_auc_after']:.4f} after training on; of new users {medians['new_auc_at_switch']:.4f} at "
        f"the switch (item mean {medians['new_auc_item_mean']:.4f}) and {medians['new_auc_after']:.4f}; GAUC of new "
        f"users {medians['new_gauc_at_switch']:.4f} (item mean {medians['new_gauc_item_mean']:.4f}) and "
        f"{medians['new_gauc_after']:.4f}; medians over {len(plan.seeds)} seeds.",
        command=f"python -m benchmarks.grown_log --source DIR{' --quick' if arguments.quick else ''}",
        config={**asdict(plan), "source": "train.parquet, valid.parquet and test.parquet"},
        figures=figures,
        notes=(
            f"{plan.new_share:.0%} of the users come later, other ones with each seed. At the switch their rows are as "
            "they are drawn, so that all that the model knows of them are their exposure factors.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
