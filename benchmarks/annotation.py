"""How well does each method's annotation of unclear watches tell what users truly like?

Simulated watches, whose true preference the simulator keeps beside them. GMF is trained by each of the six methods, the
unclear watches are annotated as `distributed-il annotate` does it, and w1 is held against the truth: whether the user
likes the item more than not. Beside the methods stands what needs no training, the item's mean.

    python -m benchmarks.annotation
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from benchmarks.common.training_task import local_trainer
from benchmarks.unlabelled import column
from distributed_il.core.config import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
    UnlabelledConfig,
)
from distributed_il.core.method_config import (
    InverseDualConfig,
    InverseGradientConfig,
    MethodConfig,
    NegativeSamplingConfig,
    NoneConfig,
    ReweightedConfig,
    TruncatedConfig,
)
from distributed_il.data.dataset import Dataset
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.prepare.simulate.simulator import SimulateConfig, simulate
from distributed_il.evaluation.baselines import item_mean
from distributed_il.evaluation.metrics import compute_metrics
from distributed_il.inference.model import load_served_model
from distributed_il.inference.pair_results import PairResults
from distributed_il.inference.pair_sources import SplitPairs

# Settings as in benchmarks.unlabelled, not tuned; idl and ig learn from the unclear watches themselves.
METHODS: dict[str, tuple[MethodConfig, Literal["sampled", "logged"]]] = {
    "none": (NoneConfig(), "sampled"),
    "ns": (NegativeSamplingConfig(unlabelled_weight=0.3), "sampled"),
    "t_ce": (TruncatedConfig(), "sampled"),
    "r_ce": (ReweightedConfig(), "sampled"),
    "idl": (InverseDualConfig(unlabelled_weight=0.3), "logged"),
    "ig": (InverseGradientConfig(dual_learning_rate=1e-4), "logged"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is simulated and trained."""

    users: int = 2_000
    items: int = 3_000
    positives: int = 156_000
    negatives: int = 144_000
    unclear: int = 150_000
    """Watches that are annotated."""
    rounds: int = 30
    """At the most; training stops three rounds after its best one by validation loss."""
    seeds: int = 3
    """Runs of each method, on the same watches."""


def simulated(plan: Plan, place: str) -> Dataset:
    """The watches of a plan."""
    sizes = {f"num_{name}": getattr(plan, name) for name in ("users", "items", "positives", "negatives", "unclear")}
    simulate(SimulateConfig(output=place, **sizes))
    return Dataset.open(place)


def annotated(run_dir: str, dataset: Dataset) -> NDArray[Any]:
    """w1 of the unclear watches, in the order of `column`."""
    model, run = load_served_model(run_dir, "best", dataset.path)
    users = IdLookup("user", dataset.vocabulary("users"))
    items = IdLookup("item", dataset.vocabulary("items"))
    work = PairResults(model, users, items, SplitPairs(dataset, "unclear"), weights=True, checkpoint=run.identity())
    tables = [table for part in range(len(work.rows)) for table, _ in work.tables(part)]
    return np.concatenate([table.column("w1").to_numpy() for table in tables])


def auc(dataset: Dataset, scores: NDArray[Any]) -> float:
    """AUC of scores of the unclear watches against whether the user truly likes the item more than not."""
    liked = (column(dataset, "unclear", "preference") > 0.5).astype(np.int8)
    return float(compute_metrics(np.zeros(liked.size, np.int64), scores, liked, probabilities=scores)["auc"])


def train(plan: Plan, dataset: Dataset, run_dir: str, name: str, seed: int) -> None:
    """Trains GMF by a method."""
    method, source = METHODS[name]
    config = TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=run_dir, seed=seed, max_rounds=plan.rounds, select_by="logloss"),
        model=ModelConfig(backbone="gmf", factors=0),
        optimizer=OptimizerConfig(learning_rate=1e-3, weight_decay=1e-5, missed_steps="catch_up"),
        unlabelled=UnlabelledConfig(source=source),
        method=method,
    )
    local_trainer(config, dataset).fit()


def measure(plan: Plan) -> dict[str, Figure]:
    """AUC of w1 by method, and of the item's mean."""
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory() as place:
        dataset = simulated(plan, f"{place}/data")
        for name in tqdm(METHODS, desc="methods", leave=False, disable=None):
            found: list[float] = []
            for seed in range(plan.seeds):
                run_dir = str(Path(place) / f"{name}-{seed}")
                train(plan, dataset, run_dir, name, seed)
                found.append(auc(dataset, annotated(run_dir, dataset)))
            figures[f"{name}_w1_auc"] = Figure(found)
        activity = dataset.activity()
        means = item_mean(activity.item_rows, activity.item_positives)
        figures["item_mean_auc"] = Figure([auc(dataset, means[column(dataset, "unclear", "item_id")])])
    return figures


def main() -> None:
    """Trains, annotates, prints and writes the report."""
    arguments = command_line(__doc__).parse_args()
    start_as_worker()
    torch.set_num_threads(1)
    small = Plan(users=1_000, items=1_500, positives=78_000, negatives=72_000, unclear=75_000, rounds=15, seeds=1)
    plan = small if arguments.quick else Plan()
    figures = measure(plan)
    medians = {name.removesuffix("_auc").removesuffix("_w1"): figure.median for name, figure in figures.items()}
    Result(
        name="annotation",
        question="How well does each method's annotation of unclear watches tell what users truly like?",
        answer="AUC of w1 against the true preference of unclear watches, which no training saw: "
        + ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in medians.items())
        + ".",
        command="python -m benchmarks.annotation" + (" --quick" if arguments.quick else ""),
        config=asdict(plan) | {"backbone": "gmf", "methods": {name: str(row) for name, row in METHODS.items()}},
        figures=figures,
        notes=(
            "One repeat for each seed of training; the watches are the same. w1 grows with the logit, so that its AUC "
            "is the model's own.",
            "A watch counts as liked where the true preference is above a half. Settings are not tuned.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
