"""Do speed and memory hold as the log grows?

Simulates logs of the same users and items and of ever more labelled rows, and trains GMF by inverse gradient on each,
streamed from disk by Ray Data and Ray Train with one worker. Speed is that of the passes. Memory is told by kind, in
the passes and over the whole run: what is mapped from files may be dropped by the system, what is anonymous may not.

    python -m benchmarks.growth --data DIR
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.command import command_line, start_as_worker
from benchmarks.result import Figure, Result
from benchmarks.training_ranks import Speed, run_way
from distributed_il.config import TrainConfig
from distributed_il.config_file import config_from_dict
from distributed_il.dataset import Dataset
from distributed_il.prepare.simulator import SimulateConfig, simulate

SLOWEST_LEAST = 0.85
"""Slowest over fastest size."""
FLAT_MOST = 1.1
"""Largest over smallest memory of a size."""
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
    repeats: tuple[int, ...] = (3, 2, 1)
    """Runs of each size."""
    timed_rows: int = 6_000_000
    """Rows that the passes of a run go over at least, in as many rounds as it takes: short passes tell little."""

    def rounds(self, size: int) -> int:
        """Rounds of a timed run."""
        return math.ceil(self.timed_rows / (size * 3 // 5))

    def path(self, size: int) -> str:
        """Directory of a log."""
        return f"{self.data}/growth_{label(size)}"


Run = Callable[[TrainConfig], Speed]
Runs = dict[int, list[Speed]]


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


def stream(config: TrainConfig) -> Speed:
    """Trains once on Ray, in fresh processes."""
    return run_way("stream", config)


def measure(plan: Plan, run: Run = stream) -> dict[str, Figure]:
    """Trains on all sizes in turns.

    Speed comes from runs of several rounds where the log is short, memory from runs of one round, because what a
    validation took from the system may stay with the process.

    Args:
        plan: What to run; its logs are there.
        run: Trains once; a test gives its own.

    Returns:
        Ratios first, then what they are made of.
    """
    timed: Runs = {size: [] for size in plan.sizes}
    weighed: Runs = {size: [] for size in plan.sizes}
    for turn in range(max(plan.repeats)):
        for size, repeats in zip(plan.sizes, plan.repeats, strict=True):
            if turn >= repeats:
                continue
            rounds = plan.rounds(size)
            timed[size].append(_train(plan.path(size), rounds, run))
            weighed[size].append(timed[size][-1] if rounds == 1 else _train(plan.path(size), 1, run))
    return _figures(plan, timed, weighed)


def _train(data: str, rounds: int, run: Run) -> Speed:
    with tempfile.TemporaryDirectory() as scratch:
        settings = {"dir": f"{scratch}/run", "workers": 1, "max_rounds": rounds, "patience": rounds}
        model, method = {"backbone": "gmf"}, {"name": "ig"}
        return run(config_from_dict({"data": {"path": data}, "run": settings, "model": model, "method": method}))


def _figures(plan: Plan, timed: Runs, weighed: Runs) -> dict[str, Figure]:
    rates = _by_size("rows_per_s", timed, lambda speed: speed.rows_per_s)
    waits = _by_size("data_wait_share", timed, lambda speed: speed.data_wait_share)
    private = _by_size("pass_anonymous_bytes", weighed, lambda speed: speed.pass_memory_bytes["anonymous"][0])
    shared = _by_size("pass_shared_bytes", weighed, lambda speed: speed.pass_memory_bytes["shared"][0])
    mapped = _by_size("pass_file_bytes", weighed, lambda speed: speed.pass_memory_bytes["file"][0])
    beyond = _by_size("run_anonymous_bytes", weighed, lambda speed: speed.run_memory_bytes["anonymous"][0])
    peak = _by_size("run_peak_bytes", weighed, lambda speed: speed.peak_memory_bytes[0])
    decoded = {f"decoded_bytes_{label(size)}": Figure([DECODED_BYTES * size]) for size in plan.sizes}
    extremes = {
        "rows_per_s_slowest_over_fastest": Figure([1 / _spread(rates)], at_least=SLOWEST_LEAST),
        "pass_anonymous_largest_over_smallest": Figure([_spread(private)], at_most=FLAT_MOST),
        "run_anonymous_largest_over_smallest": Figure([_spread(beyond)], at_most=FLAT_MOST),
        "run_anonymous_bytes_per_more_evaluated_row": Figure([_slope(plan.sizes, beyond)]),
    }
    return extremes | rates | waits | private | shared | mapped | beyond | peak | decoded


def _by_size(name: str, runs: Runs, value: Callable[[Speed], float]) -> dict[str, Figure]:
    return {f"{name}_{label(size)}": Figure([value(speed) for speed in speeds]) for size, speeds in runs.items()}


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
        ("Anonymous memory over the whole run", "run_anonymous_bytes", "run_anonymous_largest_over_smallest"),
    ):
        low, high = (figures[f"{name}_{end}"].median for end in (first, last))
        verdict = "met" if figures[ratio].met else "**missed**"
        parts.append(f"{subject}: {low:,.0f} with {first} rows, {high:,.0f} with {last}; target {verdict}.")
    return " ".join(parts)


def describe(plan: Plan) -> dict[str, Any]:
    """What decides the figures, without the place of the logs.

    Args:
        plan: What was run.
    """
    facts = {name: value for name, value in asdict(plan).items() if name != "data"}
    facts |= {f"fingerprint_{label(size)}": Dataset.open(plan.path(size)).fingerprint[:12] for size in plan.sizes}
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
            "pass_anonymous_bytes: the worker's own memory (RssAnon of /proc/self/status), the largest that a report "
            "within a pass has found, some twenty to a pass. pass_shared_bytes: blocks of Ray's object store. "
            "pass_file_bytes: libraries, the index of observed pairs and the training-test rows, which the system may "
            "drop and read again.",
            "run_anonymous_bytes: the same at the end of the run, with validation, test and checkpoints behind it. "
            "What was let go of stays with the process under this allocator, so it is about the peak. run_peak_bytes: "
            "ru_maxrss, which counts files too, also those that evaluations keep scored rows in.",
            "Memory comes from runs of one round, speed from as many rounds as make up timed_rows.",
            f"decoded_bytes: {DECODED_BYTES} bytes a row, what the log would take if it were held.",
            *(("--quick: other users and items, and too few rows to time.",) if arguments.quick else ()),
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
