"""What does it cost to verify a dataset's files?

Reads all blocks of the training rows, as a process does in its first pass, with files held against their hashes and
without, in turns, and trains passes by the fastest of the methods, `none` with GMF, reading in the process that trains.
Verifying is to cost little of such a pass.

    distributed-il simulate --preset micro-video --output DIR
    python -m benchmarks.verifying --data DIR
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from unittest import mock

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.measuring import interleaved_seconds
from benchmarks.common.result import Figure, Result
from benchmarks.common.run_journal import Run
from benchmarks.common.training_ranks import run_way
from distributed_il.core.config import config_from_dict
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.data.loading.loader import COLUMNS

SHARE_MOST = 0.03
"""Of a pass."""
_FOUND_WHOLE = "distributed_il.core.verified_files._verified"
_CHECK = "distributed_il.data.dataset.reader.require_whole"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is read and how often."""

    data: str
    """Prepared dataset."""
    repeats: int = 7
    """Readings of each kind."""
    passes: int = 3
    """Passes that are trained."""


def read_verified(dataset: Dataset) -> None:
    """Reads the training rows as a process that has verified nothing yet."""
    blocks = [block for lane in range(dataset.lanes) for block in dataset.blocks("train", lane)]
    with mock.patch.dict(_FOUND_WHOLE, clear=True):
        for _ in LocalBlockReader(dataset).read(blocks, COLUMNS):
            pass


def read_unverified(dataset: Dataset) -> None:
    """Reads them without a look at the hashes."""
    with mock.patch(_CHECK):
        read_verified(dataset)


def measure(plan: Plan, run: Run = run_way) -> dict[str, Figure]:
    """Reads in turns and trains.

    Args:
        plan: What and how often.
        run: Trains a pass; a test gives its own.

    Returns:
        What verifying takes of a pass first, then what that is made of.
    """
    dataset = Dataset.open(plan.data)
    calls: dict[str, Callable[[], None]] = {
        "verified": lambda: read_verified(dataset),
        "unverified": lambda: read_unverified(dataset),
    }
    seconds = interleaved_seconds(calls, repeats=plan.repeats)
    passes = Figure([_pass_s(plan.data, run) for _ in range(plan.passes)])
    more = [with_ - without for with_, without in zip(seconds["verified"], seconds["unverified"], strict=True)]
    return {
        "verifying_share_of_pass": Figure([one / passes.median for one in more], at_most=SHARE_MOST),
        "read_verified_s": Figure(seconds["verified"]),
        "read_unverified_s": Figure(seconds["unverified"]),
        "pass_s": passes,
    }


def _pass_s(data: str, run: Run) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        settings = {"dir": f"{scratch}/run", "workers": 1, "max_rounds": 1, "patience": 1}
        model, method = {"backbone": "gmf", "factors": 0}, {"name": "none"}
        config = {"data": {"path": data}, "run": settings, "model": model, "method": method}
        return run("torch_distributed", config_from_dict(config)).pass_s


def main() -> None:
    """Measures, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--data", required=True, help="prepared dataset")
    arguments = parser.parse_args()
    start_as_worker()
    plan = Plan(data=arguments.data)
    if arguments.quick:
        plan = replace(plan, repeats=3, passes=1)
    dataset, figures = Dataset.open(plan.data), measure(plan)
    share = figures["verifying_share_of_pass"]
    Result(
        name="verifying",
        question="What does it cost to verify a dataset's files?",
        answer=f"{share.median:.2%} of a pass of {dataset.rows('train'):,} rows, once in a process.",
        command="python -m benchmarks.verifying --data DIR" + (" --quick" if arguments.quick else ""),
        config=asdict(plan) | {"training_rows": dataset.rows("train"), "fingerprint": dataset.fingerprint[:12]},
        figures=figures,
        notes=(
            "Both readings find the files in the page cache and have one block read ahead by a thread; the share is of "
            "their difference, over the median pass.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
