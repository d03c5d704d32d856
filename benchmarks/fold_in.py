"""Are users who were held out of training, and folded in by their histories, served as if it had been with them?

One model is trained on everything, one without the training and validation rows of some users, its exposure factors
computed without them, too. The second one then folds these users in: by what they watched alone, and by their labels as
well. Both are measured on the test rows of these users. How many histories a second are folded in is measured with
random weights and histories of the size of the paper's Micro Video. Without Ray, one thread.

    distributed-il prepare --config jobs/ml1m_prepare.yaml --source DIR_OF_THE_FILES --output DATASET
    python -m benchmarks.fold_in --data DATASET
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from benchmarks.common.training_task import local_trainer
from benchmarks.recommend import Plan as RecommendPlan
from benchmarks.recommend import random_model
from distributed_il.core.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset, DatasetWriter
from distributed_il.data.exposure import Neighbours
from distributed_il.data.prepare.build.exposure_factors import add_factors
from distributed_il.data.prepare.build.training_exposures import training_exposures
from distributed_il.data.sampling import PairIndex
from distributed_il.evaluation.metrics import compute_metrics
from distributed_il.evaluation.top_items import USERS_AT_ONCE
from distributed_il.inference.fold_in import STEPS, LabelledItems, UserFoldIn, load_fold_in
from distributed_il.inference.model import load_served_model

Rows = dict[str, NDArray[Any]]
COLUMNS = ("user_id", "item_id", "label")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is measured."""

    data: str
    """Prepared dataset with exposure factors."""
    held_out_share: float = 0.1
    """Of the users."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each holds out other users and starts from other weights."""
    backbone: str = "bias_mf"
    factors: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-5
    batch_size: int = 1024
    max_rounds: int = 30
    steps: int = STEPS
    """Of the fold-in."""


def rows_of(dataset: Dataset, split: str, columns: Sequence[str] = COLUMNS) -> Rows:
    """Columns of a split, lane after lane; empty where there is no such split."""
    blocks = [block for lane in range(dataset.lanes) for block in dataset.blocks(split, lane)]
    tables = [dataset.read_block(block, columns) for block in blocks]
    return {name: np.concatenate([table.column(name).to_numpy() for table in tables]) for name in columns}


def without_users(dataset: Dataset, users: NDArray[np.int64], path: Path) -> Dataset:
    """The dataset without what training sees of some users, under the same ids; its test split stays.

    Args:
        dataset: What to copy.
        users: Ids of the users, int64 [n].
        path: Of the copy.
    """
    about = dataset.manifest
    with DatasetWriter(str(path), name=about.name, rule=about.rule, lanes=dataset.lanes) as writer:
        for split in about.splits:
            rows = rows_of(dataset, split, COLUMNS[:2] if split == "unclear" else COLUMNS)
            if split != "test":
                kept = ~np.isin(rows["user_id"], users)
                rows = {name: values[kept] for name, values in rows.items()}
            writer.append(split, pa.table(rows))
        for name, index in (("observed", dataset.observed()), ("logged", dataset.logged())):
            if index is not None:
                owners, items = pairs_of(index)
                kept = ~np.isin(owners, users)
                writer.write_index(name, [(owners[kept], items[kept])], dataset.num_users)
        writer.finish(users=dataset.vocabulary("users"), items=dataset.vocabulary("items"))
    return Dataset.open(str(path))


def pairs_of(index: PairIndex) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Users and items of an index, pair by pair."""
    return np.repeat(np.arange(index.num_users), np.diff(index.indptr)), np.asarray(index.items)


def labelled_items(rows: Rows, users: NDArray[np.int64], num_users: int) -> LabelledItems:
    """The labelled items of some users; all others have none."""
    kept = np.flatnonzero(np.isin(rows["user_id"], users))
    kept = kept[np.argsort(rows["user_id"][kept], kind="stable")]
    counts = np.bincount(rows["user_id"][kept], minlength=num_users)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return LabelledItems(Neighbours(offsets, rows["item_id"][kept].astype(np.int32)), rows["label"][kept])


def trained(plan: Plan, dataset: Dataset, run_dir: str, seed: int) -> str:
    """Trains a model and returns its run directory."""
    config = TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=run_dir, seed=seed, batch_size=plan.batch_size, max_rounds=plan.max_rounds),
        model=ModelConfig(backbone=plan.backbone, factors=plan.factors),
        optimizer=OptimizerConfig(learning_rate=plan.learning_rate, weight_decay=plan.weight_decay),
        method=NoneConfig(),
    )
    local_trainer(config, dataset).fit()
    return run_dir


def measure(plan: Plan) -> dict[str, list[float]]:
    """Holds users out, trains with and without them and folds them in; GAUC on their test rows, a repeat a seed."""
    dataset, found = Dataset.open(plan.data), dict[str, list[float]]()
    for seed in plan.seeds:
        with tempfile.TemporaryDirectory() as directory:
            for name, value in _one(plan, dataset, Path(directory), seed).items():
                found.setdefault(name, []).append(value)
                print(f"seed {seed}: {name} {value:.4f}", flush=True)
    return found


def _one(plan: Plan, dataset: Dataset, place: Path, seed: int) -> dict[str, float]:
    number = round(plan.held_out_share * dataset.num_users)
    users = np.random.default_rng(seed).permutation(dataset.num_users)[:number].astype(np.int64)
    smaller = without_users(dataset, users, place / "smaller")
    add_factors(smaller, place, columns=plan.factors)
    test = rows_of(dataset, "test")
    kept = np.isin(test["user_id"], users)
    asked, items, labels = (test[name][kept].astype(np.int64) for name in COLUMNS)

    def gauc(scores: NDArray[Any]) -> float:
        return float(compute_metrics(asked, scores.astype(np.float64), labels)["gauc"])

    with_them, _ = load_served_model(trained(plan, dataset, str(place / "with"), seed), "best", None)
    folding = load_fold_in(trained(plan, smaller, str(place / "without"), seed), "best", None)
    watched = training_exposures(dataset, place).exposures.by_user
    labelled = labelled_items(rows_of(dataset, "train"), users, dataset.num_users)
    started = time.perf_counter()
    rows = folding.rows(watched, labelled, steps=plan.steps)
    seconds = time.perf_counter() - started
    folded, alone = (replace(folding.model, users=each.numpy()) for each in (rows, folding.rows(watched)))
    return {
        "gauc_trained_with_them": gauc(with_them.logits(asked, items).numpy()),
        "gauc_folded_in": gauc(folded.logits(asked, items).numpy()),
        "gauc_folded_in_without_labels": gauc(alone.logits(asked, items).numpy()),
        "gauc_item_mean": gauc(folding.model.priors.items[items]),
        "fold_in_s": seconds,
    }


def random_histories(number: int, items: int, seed: int) -> LabelledItems:
    """Histories of 30 to 150 labelled items, popular ones more often."""
    generator = np.random.default_rng(seed)
    offsets = np.append(0, np.cumsum(generator.integers(30, 151, number))).astype(np.int64)
    ids = (items * generator.random(offsets[-1]) ** 2).astype(np.int32)
    return LabelledItems(Neighbours(offsets, ids), generator.integers(0, 2, ids.size).astype(np.int8))


def rates(plan: Plan, histories: int) -> dict[str, list[float]]:
    """Histories folded in per second of CPU time, by backbone; a repeat is a share of them, as `recommend` takes it."""
    size, found = RecommendPlan(users=1), dict[str, list[float]]()
    for backbone in size.dot_products:
        folding = UserFoldIn(random_model(size, backbone), OptimizerConfig(learning_rate=plan.learning_rate), None)
        for part in range(histories // USERS_AT_ONCE + 1):  # the first one is not counted
            labelled = random_histories(USERS_AT_ONCE, size.items, part)
            started = time.process_time()
            folding.rows([labelled.items], labelled, steps=plan.steps)
            seconds = time.process_time() - started
            if part:
                found.setdefault(f"{backbone}_histories_per_cpu_s", []).append(USERS_AT_ONCE / seconds)
    return found


def main() -> None:
    """Measures, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--data", required=True, help="prepared dataset with exposure factors")
    arguments = parser.parse_args()
    start_as_worker()
    torch.set_num_threads(1)
    plan = Plan(data=arguments.data)
    if arguments.quick:
        plan = replace(plan, seeds=(0,), max_rounds=3)
    speed = rates(plan, 1_024 if arguments.quick else 8_192)
    found = measure(plan)
    lost = [with_ - in_ for with_, in_ in zip(found["gauc_trained_with_them"], found["gauc_folded_in"], strict=True)]
    figures = {name: Figure(values) for name, values in found.items()}
    figures |= {name: Figure(values, at_least=1_000.0) for name, values in speed.items()}
    figures["gauc_lost_by_fold_in"] = Figure(lost, at_most=0.005)
    medians = {name: figure.median for name, figure in figures.items()}
    Result(
        name="fold_in",
        question="Are users who were held out of training, and folded in by their histories, served as if it had been "
        "with them?",
        answer=f"GAUC of {plan.held_out_share:.0%} of the users: {medians['gauc_folded_in']:.4f} folded in by labels "
        f"and exposures, {medians['gauc_trained_with_them']:.4f} where training was with them, "
        f"{medians['gauc_folded_in_without_labels']:.4f} folded in by exposures alone, "
        f"{medians['gauc_item_mean']:.4f} by the items' means; medians over {len(plan.seeds)} seeds. "
        + ", ".join(f"{name.split('_histories')[0]} {np.median(values):,.0f}" for name, values in speed.items())
        + " histories a second of CPU time.",
        command=f"python -m benchmarks.fold_in --data DATASET{' --quick' if arguments.quick else ''}",
        config={**asdict(plan), "data": Dataset.open(plan.data).manifest.name},
        figures=figures,
        notes=(
            "A repeat is a seed: other users are held out, and the models start from other weights.",
            "The model without them has seen none of their training and validation rows, and its exposure factors are "
            "computed without them; it is chosen on the validation rows of the others.",
            "fold_in_s is the time for all of these users together, the factors of every other user included.",
            f"A rate has a repeat for each {USERS_AT_ONCE} histories of 30 to 150 labelled items, of 131,690, with "
            "random weights; CPU time, of one thread.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
