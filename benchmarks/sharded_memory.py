"""Does a table that is too large for one process train on two?

Two gloo processes, each with a limit on its memory that lies below the size of the whole tables, train with
`model.tables: sharded`, write a checkpoint and read it back; one process under the same limit says why it can't.

    python -m benchmarks.sharded_memory
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from distributed_il.core.collectives import DistributedCollectives, LocalCollectives
from distributed_il.core.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig, config_to_dict
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.loading.batch import Batch, Unlabelled
from distributed_il.methods import make_method
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner
from distributed_il.training.checkpoint import CheckpointStore, SavedState


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Tables, limit and steps."""

    num_users: int = 4_000_000
    """Rows of the user table."""
    num_items: int = 10_000
    """Rows of the item table."""
    embedding_dim: int = 32
    """Width of a row of GMF; with both moments and the step it has 12 bytes for each of these, and 4."""
    limit_share: float = 0.95
    """Memory that each process may have, as a share of the whole tables."""
    batch: int = 1024
    """Labelled rows of a rank and step."""
    steps: int = 200
    """Half of them inverse steps."""

    @property
    def table_bytes(self) -> int:
        """Both tables."""
        return (self.num_users + self.num_items) * (12 * self.embedding_dim + 4)

    @property
    def limit_bytes(self) -> int:
        """What each process may have (RLIMIT_DATA: heap and private memory, whether touched or not)."""
        return int(self.limit_share * self.table_bytes)


def batches(plan: Plan, rank: int, world_size: int) -> Iterator[Batch]:
    """A rank's random batches: a label is likelier 1 where user and item have the same parity."""
    generator = torch.Generator().manual_seed(rank)

    def ids(rows: int, count: int) -> torch.Tensor:
        # u⁸ of a uniform u: the first ids come by far the most often, and any id may come.
        return (torch.rand(count, generator=generator, dtype=torch.float64) ** 8 * rows).long()

    for step in range(plan.steps):
        users, items = ids(plan.num_users, plan.batch), ids(plan.num_items, plan.batch)
        likely = torch.where((users + items) % 2 == 0, 0.9, 0.1)
        labels = (torch.rand(plan.batch, generator=generator) < likely).float()
        numbers = torch.arange(plan.batch) * world_size + rank
        pairs = Unlabelled(users, ids(plan.num_items, plan.batch), torch.ones(plan.batch), 1) if step % 2 else None
        count = plan.batch * world_size
        yield Batch(users, items, labels, numbers, pairs, global_count=count, capacity=plan.batch)


def train(plan: Plan, run_dir: str, ranks: DistributedCollectives | LocalCollectives) -> dict[str, Any]:
    """Trains, saves, goes on for a step and comes back: what one rank has to say of it.

    Args:
        plan: Sizes.
        run_dir: Where the checkpoint goes.
        ranks: One rank or all.

    Raises:
        UserError: There is no memory for the rows of this rank.
    """
    learner = Learner(
        ModelConfig(backbone="gmf", embedding_dim=plan.embedding_dim, init_std=0.1, tables="sharded"),
        OptimizerConfig(learning_rate=0.02),
        num_users=plan.num_users,
        num_items=plan.num_items,
        seed=0,
        collectives=ranks,
        device=torch.device("cpu"),
    )
    executor = StepExecutor(learner)
    method, losses = make_method(InverseGradientConfig(dual_learning_rate=1e-3)), list[float]()
    started, all_batches = time.perf_counter(), list(batches(plan, ranks.rank, ranks.world_size))
    for batch in all_batches:
        report = method.step(executor, batch)
        losses.append(float(report.loss_sum) / report.rows)
    trained, store = time.perf_counter(), CheckpointStore(run_dir)
    config = TrainConfig(data=DataConfig(path=""), run=RunConfig(dir=run_dir))
    sizes = {"num_users": plan.num_users, "num_items": plan.num_items}
    about = {"config": config_to_dict(config), "dataset": "", **sizes, "vocabulary": {}, "start": None}
    store.save(learner, SavedState({}, {}), round=1, about=about, names=("last",))
    saved, total = time.perf_counter(), learner.users.packed.sum()
    method.step(executor, all_batches[0])
    manifest = store.manifest("last")
    assert manifest is not None
    began = time.perf_counter()
    store.restore(manifest, learner)
    return {
        "held_bytes": sum(table.packed.nbytes + table.last_step.nbytes for table in (learner.users, learner.items)),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "loss_first_tenth": sum(losses[: plan.steps // 10]) / (plan.steps // 10),
        "loss_last_tenth": sum(losses[-(plan.steps // 10) :]) / (plan.steps // 10),
        "step_ms": 1e3 * (trained - started) / plan.steps,
        "checkpoint_write_s": saved - trained,
        "checkpoint_read_s": time.perf_counter() - began,
        "sum_changed": float((learner.users.packed.sum() - total).abs()),
    }


def run_limited(plan: Plan, world_size: int) -> list[dict[str, Any]]:
    """Runs `train` in processes of limited memory; a rank that can't says why under `error`.

    Args:
        plan: Sizes.
        world_size: Processes.
    """
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(world_size, spawn) as pool:
        ranks = [pool.submit(_limited_rank, plan, rank, world_size, folder) for rank in range(world_size)]
        return [rank.result() for rank in ranks]


def _limited_rank(plan: Plan, rank: int, world_size: int, folder: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (plan.limit_bytes, plan.limit_bytes))
    try:
        if world_size == 1:
            return train(plan, f"{folder}/run", LocalCollectives())
        place, wait = f"file://{folder}/rendezvous", timedelta(seconds=60)
        dist.init_process_group("gloo", place, wait, world_size=world_size, rank=rank)
        return train(plan, f"{folder}/run", DistributedCollectives())
    except UserError as error:
        return {"error": str(error)}
    finally:
        if world_size > 1:
            dist.destroy_process_group()


def main() -> None:
    """Runs both, prints and writes the report."""
    arguments = command_line(__doc__).parse_args()
    start_as_worker()
    plan = Plan(steps=50) if arguments.quick else Plan()
    alone, ranks = run_limited(plan, 1)[0], run_limited(plan, 2)
    figures = {name: Figure([rank[name] for rank in ranks]) for name in ranks[0]}
    figures["peak_memory_bytes"] = Figure([rank["peak_memory_bytes"] for rank in ranks], at_most=plan.limit_bytes)
    figures["sum_changed"] = Figure([rank["sum_changed"] for rank in ranks], at_most=0)
    sizes = {"table_bytes": Figure([plan.table_bytes]), "limit_bytes": Figure([plan.limit_bytes])}
    Result(
        name="sharded_memory",
        question="Does a table that is too large for one process train on two?",
        answer=f"Two processes of {plan.limit_bytes / 1e9:.2f} GB each trained tables of {plan.table_bytes / 1e9:.2f} "
        f"GB and wrote and read their checkpoint. One process of the same limit: {alone.get('error', 'trained, too')}",
        command="python -m benchmarks.sharded_memory" + (" --quick" if arguments.quick else ""),
        config=asdict(plan),
        figures=sizes | figures,
        notes=(
            "Repeats are ranks. Peak memory is resident memory, libraries included; the limit counts private memory, "
            "touched or not.",
            "sum_changed: of the user rows held, from before the checkpoint to after its reading, a step between them.",
            "Half of the steps are inverse steps. Times are of a shared machine and of two ranks on it.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
