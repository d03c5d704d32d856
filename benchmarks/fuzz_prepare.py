"""Tests robustness, not speed: does any damage to a log get past `prepare`?

Damages small logs of every format, as they are, compressed, and as Parquet, reads them by the package and line by line
by a slow reader of its own, and compares: a clear error or counted rejects are due, and no row but those that whole
lines say. Folders of part files are read by patterns, their times in every way of writing them: those files have to be
read that Python's own `glob` finds, in the order of their moments, or refused where times are of two kinds. Any other
exception counts as a fault, and so does a process that dies.

    python -m benchmarks.fuzz_prepare --inputs 20000
"""

from __future__ import annotations

import bz2
import gzip
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from benchmarks.fuzzing.damage import damage
from benchmarks.fuzzing.damaged_logs import Case, parquet_bytes, parquet_problem, problem, read_with_package
from benchmarks.fuzzing.part_folders import folder_problem
from benchmarks.fuzzing.small_logs import LOGS

_BATCH = 500
_PACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much to try."""

    inputs: int = 20_000
    """Damaged logs."""
    archives: float = 0.1
    """Share of them whose archive is damaged, not their text."""
    parquet: float = 0.1
    """Share of them that are Parquet."""
    folders: float = 0.2
    """Share that are folders of part files instead, with times and a pattern."""
    seed: int = 0
    """Decides all damage."""


def try_batch(plan: Plan, first: int, count: int) -> tuple[Counter[str], list[str]]:
    """Reads some damaged logs.

    Args:
        plan: What to try.
        first: Number of the first input.
        count: How many.

    Returns:
        Inputs by kind, and the faults.
    """
    kinds: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        whole = parquet_bytes()
        (directory / "log.parquet").write_bytes(whole)
        rows = read_with_package(directory, "log.parquet")[0].rows
        for number in range(first, first + count):
            rng = np.random.default_rng([plan.seed, number])
            draw = rng.random()
            try:
                if draw >= 1 - plan.folders:
                    kind = "folder"
                    with tempfile.TemporaryDirectory() as folder:
                        fault = folder_problem(rng, Path(folder))
                elif draw < plan.parquet:
                    kind = "parquet"
                    fault = parquet_problem(damage(whole, rng, b","), rows, directory)
                else:
                    case = _case(rng, archive=draw < plan.parquet + plan.archives)
                    kind = case.log.format + case.ending
                    fault = problem(case, directory)
            except Exception as error:  # any other exception is what this looks for
                kind, fault = "exception", f"{type(error).__name__}: {error}"
            kinds[kind] += 1
            if fault:
                faults.append(f"input {number}: {fault}")
    return kinds, faults


def _case(rng: np.random.Generator, *, archive: bool) -> Case:
    log = LOGS[int(rng.integers(len(LOGS)))]
    share = float(rng.choice([0.0, 0.999]))
    if not archive:
        return Case(log, damage(log.data, rng, log.delimiter.encode()), max_reject_share=share)
    ending = str(rng.choice([".gz", ".bz2"]))
    return Case(log, damage(_PACK[ending](log.data), rng, b","), ending=ending, max_reject_share=share)


def measure(plan: Plan) -> tuple[Counter[str], list[str]]:
    """Tries all of the plan, each batch in a process that may die.

    Args:
        plan: What to try.

    Returns:
        Inputs by kind, and the faults.
    """
    kinds: Counter[str] = Counter()
    faults: list[str] = []
    for first in range(0, plan.inputs, _BATCH):
        count = min(_BATCH, plan.inputs - first)
        with ProcessPoolExecutor(1) as pool:
            try:
                found, wrong = pool.submit(try_batch, plan, first, count).result()
            except BrokenProcessPool:
                found, wrong = Counter({"died": count}), [f"inputs {first} to {first + count - 1}: the process died"]
        kinds += found
        faults += wrong
    return kinds, faults


def main() -> None:
    """Tries, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--inputs", type=int, help="damaged logs to try")
    arguments = parser.parse_args()
    start_as_worker()
    plan = Plan(inputs=arguments.inputs or (500 if arguments.quick else 20_000))
    kinds, faults = measure(plan)
    figures = {"faults": Figure([len(faults)], at_most=0), "inputs": Figure([sum(kinds.values())])}
    Result(
        name="fuzz_prepare",
        question="Does any damage to a log get past prepare?",
        answer=f"{len(faults)} faults in {sum(kinds.values()):,} damaged logs.",
        command=f"python -m benchmarks.fuzz_prepare --inputs {plan.inputs}",
        config=asdict(plan),
        figures=figures | {f"inputs_{kind}": Figure([count]) for kind, count in sorted(kinds.items())},
        notes=(
            "A fault: another exception than UserError, a row that no whole line says, one that is missing, or rejects "
            "that are counted wrong. Lines that hold a quotation mark in files that may quote are not judged, and nor "
            "is a Parquet file that still has its own rows.",
            *faults[:20],
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
