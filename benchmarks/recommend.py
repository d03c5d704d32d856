"""How fast, in how much memory and how exactly are the 50 best of 131,690 items found for 37,692 users?

Random weights and random seen pairs of the size of the paper's Micro Video, one thread. Of some users the items are
also ranked by brute force: the tower scores every pair on its own, and a stable sort follows. At the end the whole
result is made as `distributed-il recommend` makes it: parts of Parquet by Ray Data.

    python -m benchmarks.recommend
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.peak_memory import PeakMemory
from benchmarks.common.result import Figure, Result
from distributed_il.core.config import ModelConfig
from distributed_il.data.id_files.id_lookup import IdLookup
from distributed_il.data.sampling import PairIndex
from distributed_il.evaluation.fallbacks import KnownIds, Priors
from distributed_il.evaluation.top_items import USERS_AT_ONCE
from distributed_il.inference.choice import Choice
from distributed_il.inference.model import ServedModel
from distributed_il.inference.recommendations import USERS_PER_PART, Recommendations
from distributed_il.inference.top_k import top_items
from distributed_il.models.backbones import load_backbone
from distributed_il.runtime.batch_inference import run_work

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is measured."""

    users: int = 37_692
    items: int = 131_690
    top: int = 50
    """K."""
    seen_pairs: int = 5_677_495
    """Training pairs that are left out."""
    embedding_dim: int = 32
    dot_products: tuple[str, ...] = ("gmf", "bias_mf")
    """Backbones that rank all users."""
    towers: tuple[str, ...] = ("mlp", "neumf")
    """Backbones of which each pair goes through some layers; these rank some users."""
    tower_users: int = 64
    checked_users: int = 200
    """Users whose items are also found by brute force, for a tower `tower_users`."""
    job_workers: int = 2
    """Parts that the job makes side by side."""
    seed: int = 0


def random_model(plan: Plan, backbone: str) -> ServedModel:
    """A model whose logits spread over some units, as a trained one's do."""
    tower = load_backbone(ModelConfig(backbone=backbone, embedding_dim=plan.embedding_dim), seed=plan.seed)
    generator = np.random.default_rng(plan.seed)
    return ServedModel(
        backbone=tower.eval().requires_grad_(False),
        users=generator.normal(0, 0.4, (plan.users, tower.user_dim)).astype(np.float32),
        items=generator.normal(0, 0.4, (plan.items, tower.item_dim)).astype(np.float32),
        known=KnownIds(np.ones(plan.users, np.bool_), np.ones(plan.items, np.bool_)),
        priors=Priors(np.zeros(plan.items), 0.0),
    )


def seen_pairs(plan: Plan) -> PairIndex:
    """Random pairs, popular items more often."""
    generator = np.random.default_rng(plan.seed + 1)
    users = generator.integers(0, plan.users, plan.seen_pairs)
    items = (plan.items * generator.random(plan.seen_pairs) ** 2).astype(np.int64)
    return PairIndex.from_pairs(users, items, plan.users)


def brute_force(model: ServedModel, user: int, top: int, seen: PairIndex) -> tuple[NDArray[Any], NDArray[Any]]:
    """Items and logits of one user: every pair through the tower on its own, then a stable sort."""
    logits = model.score(np.full(len(model.items), user), np.arange(len(model.items)))[0].numpy().copy()
    logits[seen.items[seen.indptr[user] : seen.indptr[user + 1]]] = -np.inf
    order = np.argsort(-logits, kind="stable")[:top]
    return order, logits[order]


def exactness(model: ServedModel, users: NDArray[np.int64], top: int, seen: PairIndex) -> tuple[float, float]:
    """Share of places with the same item as by brute force, and the largest difference of logits at a place."""
    same, furthest = 0, 0.0
    for start in range(0, users.size, USERS_AT_ONCE):
        some = users[start : start + USERS_AT_ONCE]
        best = top_items(model, some, top=top, choice=Choice((seen,)))
        for place, user in enumerate(tqdm(some.tolist(), desc="brute force", leave=False, disable=None)):
            items, logits = brute_force(model, user, top, seen)
            same += int((best.item_ids[place].numpy() == items).sum())
            furthest = max(furthest, float(np.abs(best.logits[place].numpy() - logits).max()))
    return same / (users.size * top), furthest


def measure(plan: Plan) -> dict[str, Figure]:
    """Ranks by each backbone, then runs the job for the first one."""
    figures: dict[str, Figure] = {}
    for backbone in (*plan.dot_products, *plan.towers):
        # A process for each: what an allocator keeps from one backbone would hide what the next one takes.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            figures |= pool.submit(_rank, plan, backbone).result()
    return figures | _job(plan)


def _rank(plan: Plan, backbone: str) -> dict[str, Figure]:
    torch.set_num_threads(1)
    model, seen = random_model(plan, backbone), seen_pairs(plan)
    number = plan.users if backbone in plan.dot_products else plan.tower_users
    rates: list[float] = []
    with PeakMemory(CPU) as memory:
        for start in tqdm(range(0, number, USERS_PER_PART), desc=backbone, leave=False, disable=None):
            stop, began = min(start + USERS_PER_PART, number), time.perf_counter()
            for first in range(start, stop, USERS_AT_ONCE):
                top_items(
                    model, np.arange(first, min(first + USERS_AT_ONCE, stop)), top=plan.top, choice=Choice((seen,))
                )
            rates.append((stop - start) / (time.perf_counter() - began))
    checked = np.random.default_rng(plan.seed).permutation(number)[: min(plan.checked_users, number)]
    same, furthest = exactness(model, checked.astype(np.int64), plan.top, seen)
    return {
        f"{backbone}_users_per_s": Figure(rates),
        f"{backbone}_working_memory_bytes": Figure([memory.bytes]),
        f"{backbone}_places_with_the_item_of_brute_force": Figure([same]),
        f"{backbone}_largest_logit_difference": Figure([furthest], at_most=1e-5),
    }


def _job(plan: Plan) -> dict[str, Figure]:
    seen = seen_pairs(plan)
    work = Recommendations(
        model=random_model(plan, plan.dot_products[0]),
        users=IdLookup("user", pa.array(range(plan.users))),
        items=IdLookup("item", pa.array(range(plan.items))),
        asked=pa.array(range(plan.users)),
        top=plan.top,
        choice=Choice((seen,)),
        made_from={"result": "recommend"},
    )
    with tempfile.TemporaryDirectory() as output:
        began = time.perf_counter()
        counts = run_work(work, output, workers=plan.job_workers, on_progress=lambda *_: None)
        seconds = time.perf_counter() - began
    if counts["rows"] != plan.users * plan.top:
        raise RuntimeError(f"the job wrote {counts['rows']} rows instead of {plan.users * plan.top}")
    return {
        f"{plan.dot_products[0]}_job_s": Figure([seconds]),
        f"{plan.dot_products[0]}_job_users_per_s": Figure([plan.users / seconds]),
        "shared_memory_bytes": Figure([work.nbytes]),
    }


def main() -> None:
    """Measures, prints and writes the report."""
    arguments = command_line(__doc__).parse_args()
    start_as_worker()
    torch.set_num_threads(1)
    plan = Plan(users=2_048, tower_users=4, checked_users=20, seen_pairs=300_000) if arguments.quick else Plan()
    figures = measure(plan)
    rates = {name: figure.median for name, figure in figures.items() if name.endswith("users_per_s")}
    differing = max(figure.median for name, figure in figures.items() if name.endswith("logit_difference"))
    Result(
        name="recommend",
        question=f"How fast and how exactly are the {plan.top} best of {plan.items:,} items found for {plan.users:,} "
        "users?",
        answer="Users per second, one thread: "
        + ", ".join(f"{name.removesuffix('_users_per_s')} {rate:,.1f}" for name, rate in rates.items())
        + f". Against brute force no logit at any place differs by more than {differing:.1e}, which is rounding.",
        command="python -m benchmarks.recommend" + (" --quick" if arguments.quick else ""),
        config=asdict(plan),
        figures=figures,
        notes=(
            "A rate has a repeat for each part of 4,096 users. Working memory is what ranking takes beside weights and "
            "seen pairs, which lie in memory once for all processes of a machine (shared memory).",
            "Brute force scores every pair through the tower on its own; the dot products of a block are summed in "
            "another order, so that two items whose logits are equal but for rounding may change places.",
            "The job includes the start of Ray, the hand-over of the model and the writing of Parquet.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
