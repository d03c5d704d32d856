"""What do exact metrics of rankings over all items cost, beside the lists that `recommend` makes for the same users?

Both rank the users of a prepared dataset's test split against all its items, with the same random weights: metrics at
10, 20 and 50, and the 50 best items. They take turns on the same users in one process of one thread. CPU time counts,
so that other work on the machine does not.

    distributed-il simulate --preset micro-video --output DATASET
    python -m benchmarks.ranking --data DATASET
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.measuring import ratios
from benchmarks.common.peak_memory import PeakMemory
from benchmarks.common.result import Figure, Result
from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.evaluation.fallbacks import KnownIds, Priors
from distributed_il.evaluation.full_ranking import measure_ranking
from distributed_il.evaluation.item_scores import ModelScores
from distributed_il.evaluation.output import Output
from distributed_il.evaluation.ranked_users import RankedUsers
from distributed_il.evaluation.split_scores import SplitReader
from distributed_il.evaluation.top_items import USERS_AT_ONCE
from distributed_il.inference.choice import Choice
from distributed_il.inference.model import ServedModel
from distributed_il.inference.top_k import top_items
from distributed_il.models.learner import Learner

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is measured."""

    data: str
    """Prepared dataset."""
    users: int
    """Users of a turn, those that a run would choose; the whole split has more."""
    cutoffs: tuple[int, ...] = (10, 20, 50)
    """K; `recommend` makes lists of the last."""
    backbones: tuple[str, ...] = ("gmf", "bias_mf")
    embedding_dim: int = 32
    turns: int = 3
    """Timed, after one that is not."""
    seed: int = 0


def random_learner(plan: Plan, dataset: Dataset, backbone: str) -> Learner:
    """A model whose logits spread over some units, as a trained one's do."""
    return Learner(
        ModelConfig(backbone=backbone, embedding_dim=plan.embedding_dim, init_std=0.4, factors=0),
        OptimizerConfig(),
        num_users=dataset.num_users,
        num_items=dataset.num_items,
        seed=plan.seed,
        collectives=LocalCollectives(),
        device=CPU,
    )


def served(learner: Learner, dataset: Dataset) -> ServedModel:
    """The same model as `recommend` holds it."""
    ids = (torch.arange(dataset.num_users), torch.arange(dataset.num_items))
    users, items = (rows.numpy() for rows in learner.embeddings.weights(*ids))
    activity = dataset.activity()
    return ServedModel(
        backbone=learner.tower.module.eval().requires_grad_(False),
        users=users,
        items=items,
        known=KnownIds.of(activity, None),
        priors=Priors.of(activity, Output()),
    )


def ways(plan: Plan, backbone: str) -> tuple[dict[str, Callable[[], object]], NDArray[np.int64]]:
    """The two ways to rank the same users, by name, and the users."""
    dataset = Dataset.open(plan.data)
    learner = random_learner(plan, dataset, backbone)
    test, valid = (
        SplitReader(dataset, LocalBlockReader(dataset), name, rank=0, world_size=1) for name in ("test", "valid")
    )
    users = RankedUsers(dataset, test, (valid,), most=plan.users, collectives=LocalCollectives(), device=CPU)
    scores, positives = ModelScores(learner, dataset), dataset.activity().item_positives
    user_ids = np.concatenate([block.user_ids for block in users.blocks()])
    model, logged = served(learner, dataset), dataset.logged()
    choice = Choice((dataset.observed(), *([] if logged is None else [logged])))

    def measure() -> object:
        return measure_ranking(
            users, scores, positives, cutoffs=plan.cutoffs, collectives=LocalCollectives(), device=CPU
        )

    def recommend() -> object:
        for start in range(0, user_ids.size, USERS_AT_ONCE):
            top_items(model, user_ids[start : start + USERS_AT_ONCE], top=plan.cutoffs[-1], choice=choice)
        return None

    return {"metrics": measure, "recommend": recommend}, user_ids


def measure(plan: Plan, backbone: str) -> dict[str, Figure]:
    """Times both ways, turn by turn, and the memory that the metrics take at the first one."""
    torch.set_num_threads(1)
    calls, users = ways(plan, backbone)
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    wall: dict[str, list[float]] = {name: [] for name in calls}
    memory: list[float] = []
    for turn in range(plan.turns + 1):
        for name, call in calls.items():
            with PeakMemory(CPU) as peak:
                begun, started = time.process_time(), time.perf_counter()
                call()
                seconds = time.process_time() - begun, time.perf_counter() - started
            memory.append(peak.bytes)
            if turn:
                cpu[name].append(seconds[0])
                wall[name].append(seconds[1])
    figures = {f"{backbone}_metrics_over_recommend": Figure(ratios(cpu["metrics"], cpu["recommend"]), at_most=1.3)}
    for name in calls:
        figures[f"{backbone}_{name}_users_per_cpu_s"] = Figure([users.size / seconds for seconds in cpu[name]])
        figures[f"{backbone}_{name}_wall_s"] = Figure(wall[name])
    return figures | {f"{backbone}_metrics_working_memory_bytes": Figure(memory[:1])}


def main() -> None:
    """Measures, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--data", required=True, help="prepared dataset")
    parser.add_argument("--users", type=int, default=4_096, help="users of a turn (default: %(default)s)")
    arguments = parser.parse_args()
    start_as_worker()
    plan = Plan(data=arguments.data, users=arguments.users)
    if arguments.quick:
        plan = replace(plan, users=min(plan.users, 1_024), turns=1)
    dataset, figures = Dataset.open(plan.data), dict[str, Figure]()
    for backbone in plan.backbones:
        # A process for each: what an allocator keeps from one backbone would hide what the next one takes.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            figures |= pool.submit(measure, plan, backbone).result()
    Result(
        name="ranking",
        question="What do exact metrics of rankings over all items cost, beside the lists that `recommend` makes for "
        "the same users?",
        answer=f"CPU time of metrics at {', '.join(map(str, plan.cutoffs))} over that of the {plan.cutoffs[-1]} best: "
        + ", ".join(f"{name} {figures[f'{name}_metrics_over_recommend'].median:.2f}" for name in plan.backbones)
        + f"; {min(plan.users, dataset.num_users):,} users, {dataset.num_items:,} items.",
        command=f"python -m benchmarks.ranking --data DATASET --users {plan.users}"
        + (" --quick" if arguments.quick else ""),
        config={**asdict(plan), "data": dataset.manifest.name},
        figures=figures,
        notes=(
            f"The users are a choice of those of the test split, of {dataset.num_users:,} users in all; nothing is "
            "extrapolated. Ratios are of CPU time, turn by turn; wall time stands beside it.",
            "Choosing the users and reading their rows is in neither; lists are not written to files.",
            "Working memory is what the first measuring of metrics, before anything else was ranked, takes beside "
            "weights, seen pairs and the split's rows.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
