"""Do speed and memory hold as the log grows?

Simulates logs of the same users and items and of ever more labelled rows, and trains GMF by inverse gradient on each,
streamed from disk by Ray Data and Ray Train with one worker. Speed is that of the passes. Memory is that of the worker,
watched from its start to its end and told by kind: what is mapped from files may be dropped by the system, what is
anonymous may not. The worker of the largest log runs under a limit: what the smallest log's worker took, and little
more.

    python -m benchmarks.growth --data DIR
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from benchmarks.common.training_ranks import Speed, run_way
from benchmarks.common.worker_memory import WorkerMemory
from distributed_il.core.config import TrainConfig, config_from_dict
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare.simulate.simulator import SimulateConfig, simulate

SLOWEST_LEAST = 0.85
"""Slowest over fastest size."""
FLAT_MOST = 1.1
"""Largest over smallest memory of a size."""
MORE_BYTES = 64 << 20
"""What the largest log's worker may take beyond the smallest log's."""
DECODED_BYTES = 9
"""A row as it is read: two 32-bit ids and a label of a byte."""
POSITIVES = 0.52


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Logs and runs."""

    data: str
    """Directory of the logs; those that are missing are simulated there."""
    users: int = 37_692
    """Users of every log."""
    items: int = 131_690
    """Items of every log."""
    sizes: tuple[int, ...] = (1_000_000, 10_000_000, 100_000_000)
    """Labelled rows, ascending: three fifths to train on, one to validate, one to test."""
    repeats: tuple[int, ...] = (2, 2, 1)
    """Runs of each size."""
    timed_rows: int = 20_000_000
    """Rows that the passes of a run go over at least, in as many rounds as it takes: short passes tell little."""

    def rounds(self, size: int) -> int:
        """Rounds of a run."""
        return math.ceil(self.timed_rows / (size * 3 // 5))

    def path(self, size: int) -> str:
        """Directory of a log."""
        return f"{self.data}/growth_{label(size)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What was seen of a run."""

    speed: Speed
    """As the run tells it."""
    rounds: int
    """Rounds."""
    memory: dict[str, int]
    """Most bytes of the worker by `FIELDS` of `worker_memory`."""
    limit_bytes: int | None = None
    """RLIMIT_DATA that the worker kept to; None where there was none."""


Train = Callable[[TrainConfig, int | None], tuple[Speed, dict[str, int]]]
Runs = dict[int, list[Run]]


def label(size: int) -> str:
    """A size in names: `10m` for ten million."""
    return f"{size / 1e6:g}m"


def simulate_missing(plan: Plan) -> None:
    """Makes the logs that are not there.

    Args:
        plan: Sizes and place.
    """
    for size in plan.sizes:
        if Path(plan.path(size), "manifest.json").exists():
            continue
        positives = int(POSITIVES * size)
        log = SimulateConfig(
            output=plan.path(size),
            preset="micro-video",
            num_users=plan.users,
            num_items=plan.items,
            num_positives=positives,
            num_negatives=size - positives,
            num_unclear=0,
        )
        simulate(log)


def stream(config: TrainConfig, limit_bytes: int | None) -> tuple[Speed, dict[str, int]]:
    """Trains once on Ray, in fresh processes.

    Args:
        config: The run.
        limit_bytes: RLIMIT_DATA of the worker; None for none.

    Returns:
        Its speed, and the most memory of its worker.

    Raises:
        RuntimeError: The run failed, as it does where the limit is too low.
    """
    with WorkerMemory(limit_bytes) as memory:
        speed = run_way("stream", config)
    if memory.workers != 1:
        raise RuntimeError(f"the run took {memory.workers} workers, one after the other, and not the one")
    return speed, memory.most


def measure(plan: Plan, train: Train = stream) -> dict[str, Figure]:
    """Trains on all sizes in turns, on the largest under a limit.

    Args:
        plan: What to run; its logs are there.
        train: Trains once; a test gives its own.

    Returns:
        Ratios first, then what they are made of.
    """
    runs: Runs = {size: [] for size in plan.sizes}
    for turn in range(max(plan.repeats)):
        for size, repeats in zip(plan.sizes, plan.repeats, strict=True):
            if turn < repeats:
                smallest = max((run.memory["data"] for run in runs[plan.sizes[0]]), default=0)
                limit_bytes = smallest + MORE_BYTES if size == plan.sizes[-1] else None
                runs[size].append(_run(plan, size, limit_bytes, train))
    return _figures(plan, runs)


def _run(plan: Plan, size: int, limit_bytes: int | None, train: Train) -> Run:
    """Trains once; where that fails under the limit, again without it."""
    rounds = plan.rounds(size)
    try:
        speed, memory = _train(plan.path(size), rounds, limit_bytes, train)
    except RuntimeError as error:
        if limit_bytes is None:
            raise
        print(f"{label(size)} rows within {limit_bytes:,} bytes: {error}", file=sys.stderr)
        limit_bytes = None
        speed, memory = _train(plan.path(size), rounds, None, train)
    return Run(speed=speed, rounds=rounds, memory=memory, limit_bytes=limit_bytes)


def _train(data: str, rounds: int, limit_bytes: int | None, train: Train) -> tuple[Speed, dict[str, int]]:
    with tempfile.TemporaryDirectory() as scratch:
        run = {"dir": f"{scratch}/run", "workers": 1, "max_rounds": rounds, "patience": rounds, "max_failures": 0}
        model, method = {"backbone": "gmf", "factors": 0}, {"name": "ig"}
        config = config_from_dict({"data": {"path": data}, "run": run, "model": model, "method": method})
        return train(config, limit_bytes)


def _figures(plan: Plan, runs: Runs) -> dict[str, Figure]:
    rates = _by_size("rows_per_s", runs, lambda run: run.speed.rows_per_s)
    waits = _by_size("data_wait_share", runs, lambda run: run.speed.data_wait_share)
    waited = _by_size(
        "data_wait_s_per_round", runs, lambda run: run.speed.data_wait_share * run.speed.pass_s / run.rounds
    )
    passes = _by_size("pass_anonymous_bytes", runs, lambda run: run.speed.pass_memory_bytes["anonymous"][0])
    kinds = {
        kind: _by_size(f"run_{kind}_bytes", runs, lambda run, kind=kind: run.memory[kind])
        for kind in ("anonymous", "shared", "file", "data")
    }
    decoded = {f"decoded_bytes_{label(size)}": Figure([DECODED_BYTES * size]) for size in plan.sizes}
    largest = runs[plan.sizes[-1]]
    extremes = {
        "rows_per_s_slowest_over_fastest": Figure([1 / _spread(rates)], at_least=SLOWEST_LEAST),
        "pass_anonymous_largest_over_smallest": Figure([_spread(passes)], at_most=FLAT_MOST),
        "run_anonymous_largest_over_smallest": Figure([_spread(kinds["anonymous"])], at_most=FLAT_MOST),
        "run_anonymous_bytes_per_more_evaluated_row": Figure([_slope(plan.sizes, kinds["anonymous"])]),
        "largest_within_limit": Figure([float(run.limit_bytes is not None) for run in largest], at_least=1),
        "limit_beyond_smallest_bytes": Figure([MORE_BYTES]),
    }
    parts = [rates, waits, waited, passes, *kinds.values(), decoded]
    return extremes | {name: figure for part in parts for name, figure in part.items()}


def _by_size(name: str, runs: Runs, value: Callable[[Run], float]) -> dict[str, Figure]:
    return {f"{name}_{label(size)}": Figure([value(run) for run in of_size]) for size, of_size in runs.items()}


def _spread(figures: dict[str, Figure]) -> float:
    """Largest over smallest median."""
    medians = [figure.median for figure in figures.values()]
    return max(medians) / min(medians)


def _slope(sizes: Sequence[int], figures: dict[str, Figure]) -> float:
    """Growth from the smallest to the largest log, by row of one of the two splits that are evaluated."""
    medians = [figure.median for figure in figures.values()]
    return (medians[-1] - medians[0]) / ((sizes[-1] - sizes[0]) / 5)


def answer(plan: Plan, figures: dict[str, Figure]) -> str:
    """What the figures say.

    Args:
        plan: The sizes.
        figures: From `measure`.
    """
    first, last = label(plan.sizes[0]), label(plan.sizes[-1])
    parts: list[str] = []
    for subject, name, ratio in (
        ("Rows a second", "rows_per_s", "rows_per_s_slowest_over_fastest"),
        ("Anonymous memory in the passes", "pass_anonymous_bytes", "pass_anonymous_largest_over_smallest"),
        ("Anonymous memory of the whole run", "run_anonymous_bytes", "run_anonymous_largest_over_smallest"),
    ):
        low, high = (figures[f"{name}_{end}"].median for end in (first, last))
        verdict = "met" if figures[ratio].met else "**missed**"
        parts.append(f"{subject}: {low:,.0f} with {first} rows, {high:,.0f} with {last}; target {verdict}.")
    kept = "kept" if figures["largest_within_limit"].met else "did **not** keep"
    more, held = MORE_BYTES >> 20, figures[f"decoded_bytes_{last}"].median
    parts.append(
        f"The worker of the {last} rows, {held / 1e6:,.0f} MB if they were held, {kept} within {more} MiB beyond what "
        f"the worker of the {first} rows took."
    )
    return " ".join(parts)


def describe(plan: Plan) -> dict[str, Any]:
    """What decides the figures, without the place of the logs.

    Args:
        plan: What was run.
    """
    facts = {name: value for name, value in asdict(plan).items() if name != "data"}
    logs = {label(size): Dataset.open(plan.path(size)) for size in plan.sizes}
    facts |= {f"fingerprint_{name}": log.fingerprint[:12] for name, log in logs.items()}
    facts |= {f"file_bytes_{name}": sum(size for _, size in log.manifest.all_files()) for name, log in logs.items()}
    return facts | {"rounds": [plan.rounds(size) for size in plan.sizes], "backbone": "gmf", "method": "ig"}


def main() -> None:
    """Measures, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--data", help="directory of the logs; those that are missing are simulated there")
    arguments = parser.parse_args()
    start_as_worker()
    with ExitStack() as stack:
        data = arguments.data or stack.enter_context(tempfile.TemporaryDirectory())
        plan = Plan(data=data)
        if arguments.quick:
            sizes, repeats = (100_000, 400_000), (1, 1)
            plan = Plan(data=data, users=2_000, items=3_000, sizes=sizes, repeats=repeats, timed_rows=1)
        simulate_missing(plan)
        figures = measure(plan)
        config = describe(plan)
    Result(
        name="growth",
        question="Do speed and memory hold as the log grows?",
        answer=answer(plan, figures),
        command="python -m benchmarks.growth" + (" --quick" if arguments.quick else " --data DIR"),
        config=config,
        figures=figures,
        notes=(
            "One worker, streamed by Ray Data and trained by Ray Train; rows a second count the passes. The same users "
            "and items at every size, so that only the rows grow.",
            "data_wait_s_per_round: what of a round the steps wait for rows, nearly all of it at its start, where Ray "
            "Data starts tasks and every lane delivers its first block: the same seconds weigh more in short passes.",
            "run_…_bytes: the most that was seen of the worker from its start to its end, validation, test and "
            "checkpoints with it, fifty times a second. anonymous is its own memory (RssAnon of /proc/PID/status); "
            "shared is blocks of Ray's object store; file is libraries, the index of observed pairs, and local files "
            "of training-test and scored rows, which the system may drop and read again; data is private memory, "
            "touched or not (VmData), threads' stacks with it.",
            "pass_anonymous_bytes: the largest anonymous memory that a report within a pass has found.",
            f"largest_within_limit: 1 where the worker of the largest log did all its work under an RLIMIT_DATA of the "
            f"smallest log's run_data_bytes and {MORE_BYTES >> 20} MiB.",
            f"decoded_bytes: {DECODED_BYTES} bytes a row, what the log would take if it were held.",
            *(("--quick: other users and items, and too few rows to time.",) if arguments.quick else ()),
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
