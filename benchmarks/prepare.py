"""How fast is a watch log prepared, and in how much memory?

Writes a log in KuaiRand's layout as CSV and the same as Parquet, each in several files, and prepares both by the
`kuaishou` rule in a process of its own, with one worker and, by Ray Data, with several. Memory is the sum of that
process and its children, looked at ten times a second, without pages that are mapped from files: those the system may
drop.

    python -m benchmarks.prepare --rows 100000000 --scratch DIR
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from distributed_il.data.dataset import Dataset

MEMORY_MOST = 4 * 2**30
"""Bytes that preparing may take."""
_FILE_ROWS = 5_000_000
_CHUNK_ROWS = 500_000
_LOOK_EVERY_S = 0.1
_PREPARE = """
import sys
from distributed_il.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
_COLUMNS = (
    "user_id video_id date hourmin time_ms is_click is_like is_follow is_comment is_forward is_hate long_view "
    "play_time_ms duration_ms profile_stay_time comment_stay_time is_profile_enter is_rand tab"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The log."""

    rows: int = 100_000_000
    """Watches."""
    users: int = 100_000
    """Users, drawn in proportion to 1 / √n."""
    items: int = 2_000_000
    """Videos, likewise."""
    text_ids: bool = False
    """Whether ids are text, as `u00012345`; else integers."""
    seed: int = 0
    """Of the log."""
    workers: tuple[int, ...] = (1, 2)
    """Numbers of workers that it is prepared with, one after the other; the first is what the others are held
    against."""


def write_log(plan: Plan, directory: Path, kind: str) -> int:
    """Writes the log.

    Args:
        plan: Its size.
        directory: Where to; it is made.
        kind: `csv` or `parquet`.

    Returns:
        Bytes of all files.
    """
    directory.mkdir(parents=True)
    for first in range(0, plan.rows, _FILE_ROWS):
        path = directory / f"watches_{first // _FILE_ROWS:04d}.{kind}"
        writer: Any = None
        end = min(first + _FILE_ROWS, plan.rows)
        for start in range(first, end, _CHUNK_ROWS):
            table = _chunk(plan, start, min(_CHUNK_ROWS, end - start))
            if writer is None:
                writer = (pacsv.CSVWriter if kind == "csv" else pq.ParquetWriter)(path, table.schema)
            writer.write_table(table)
        writer.close()
    return sum(path.stat().st_size for path in directory.iterdir())


def _chunk(plan: Plan, start: int, rows: int) -> pa.Table:
    rng = np.random.default_rng([plan.seed, start])
    zeros = np.zeros(rows, dtype=np.int8)
    # u² of a uniform u has a density in proportion to 1 / √x.
    users = (plan.users * rng.random(rows) ** 2).astype(np.int64)
    items = (plan.items * rng.random(rows) ** 2).astype(np.int64)
    duration = rng.integers(4_000, 120_000, rows)
    likes = rng.random((2, rows)) < 0.01
    columns: dict[str, Any] = dict.fromkeys(_COLUMNS.split(), zeros)
    columns |= {
        "user_id": _ids("u", users) if plan.text_ids else users,
        "video_id": _ids("v", items) if plan.text_ids else items,
        "date": np.full(rows, 20220408),
        "hourmin": np.full(rows, 1000),
        "time_ms": 1_649_383_200_000 + start + np.arange(rows),
        "is_like": likes[0].astype(np.int8),
        "is_hate": likes[1].astype(np.int8),
        "play_time_ms": (duration * rng.exponential(0.4, rows)).astype(np.int64),
        "duration_ms": duration,
    }
    return pa.table(columns)


def _ids(letter: str, numbers: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array([f"{letter}{number:09d}" for number in numbers.tolist()])


@dataclass(frozen=True, slots=True)
class Prepared:
    """What one preparation took."""

    seconds: float
    cpu_s: float
    """Of all its threads; not of Ray's processes."""
    peak_bytes: int


def prepare_once(source: Path, output: Path, text_ids: bool, workers: int) -> Prepared:
    """Prepares a log in a process of its own.

    Args:
        source: Directory of the log.
        output: Directory of the dataset.
        text_ids: Whether ids are text.
        workers: Files read side by side.

    Returns:
        Its time and memory.
    """
    options = ["prepare", f"--source={source}", f"--output={output}", "--id_type", "string" if text_ids else "integer"]
    # Factors are a question of their own.
    options += [f"--workers={workers}", "--factors=0"]
    begin, before = time.perf_counter(), _children_s()
    process = subprocess.Popen([sys.executable, "-c", _PREPARE, *options], stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _tree_bytes(process.pid))
        time.sleep(_LOOK_EVERY_S)
    if process.returncode:
        raise RuntimeError(f"prepare ended with {process.returncode}")
    return Prepared(time.perf_counter() - begin, _children_s() - before, peak)


def _children_s() -> float:
    """CPU time of child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree_bytes(pid: int) -> int:
    """Memory of a process and all below it, but for pages of files."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (found := _field(int(entry), "PPid")) is not None:
            children.setdefault(found, []).append(int(entry))
    total, tree = 0, [pid]
    while tree:
        one = tree.pop()
        total += 1024 * ((_field(one, "RssAnon") or 0) + (_field(one, "RssShmem") or 0))
        tree += children.get(one, [])
    return total


def _field(pid: int, name: str) -> int | None:
    try:
        found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:  # it has ended meanwhile
        return None
    return None if found is None else int(found[1])


def measure(
    plan: Plan, scratch: Path, once: Callable[[Path, Path, bool, int], Prepared] = prepare_once
) -> dict[str, Figure]:
    """Prepares the log from CSV and from Parquet.

    Args:
        plan: The log.
        scratch: Local directory with room for a log and five times its dataset.
        once: Prepares once; a test gives its own.

    Returns:
        Rows a second, memory, and sizes, by kind; with the number of workers in the name where it is not 1.

    Raises:
        RuntimeError: Not all rows were read, or another number of workers has made another dataset.
    """
    figures: dict[str, Figure] = {}
    for kind in ("csv", "parquet"):
        source = scratch / f"log-{kind}"
        figures[f"{kind}_source_bytes"] = Figure([write_log(plan, source, kind)])
        seconds: list[float] = []
        made: set[str] = set()
        for workers in plan.workers:
            output = scratch / f"dataset-{kind}-{workers}"
            prepared = once(source, output, plan.text_ids, workers)
            manifest = Dataset.open(str(output)).manifest
            if manifest.counts["rows_read"] != plan.rows:
                raise RuntimeError(f"{manifest.counts['rows_read']} rows read of {plan.rows}")
            name = kind if workers == 1 else f"{kind}_{workers}_workers"
            seconds.append(prepared.seconds)
            made.add(manifest.fingerprint)
            figures |= {
                f"{name}_rows_per_s": Figure([plan.rows / prepared.seconds]),
                f"{name}_s": Figure([prepared.seconds]),
                f"{name}_cpu_s": Figure([prepared.cpu_s]),
                f"{name}_rows_per_cpu_s": Figure([plan.rows / prepared.cpu_s]),
                f"{name}_peak_bytes": Figure([prepared.peak_bytes], at_most=MEMORY_MOST),
                f"{name}_rows_kept": Figure([sum(split.rows for split in manifest.splits.values())]),
            }
            if len(seconds) > 1:
                figures[f"{name}_times_as_fast"] = Figure([seconds[0] / seconds[-1]])
            shutil.rmtree(output)
        if len(made) > 1:
            raise RuntimeError(f"{kind}: the dataset depends on the workers: {', '.join(sorted(made))}")
        shutil.rmtree(source)
    return figures


def main() -> None:
    """Measures, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--rows", type=int, help="watches of the log")
    parser.add_argument("--users", type=int, default=100_000, help="users of the log")
    parser.add_argument("--items", type=int, default=2_000_000, help="videos of the log")
    parser.add_argument("--text-ids", action="store_true", help="ids are text")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers")
    parser.add_argument("--scratch", help="directory for log and dataset; a temporary one by default")
    arguments = parser.parse_args()
    start_as_worker()
    plan = Plan(
        rows=arguments.rows or (500_000 if arguments.quick else 100_000_000),
        users=arguments.users,
        items=arguments.items,
        text_ids=arguments.text_ids,
        workers=(1,) if arguments.quick else tuple(arguments.workers),
    )
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.scratch)))
        figures = measure(plan, scratch)
    missed = [name for name, figure in figures.items() if figure.met is False]
    speeds = ", ".join(
        f"{name.removesuffix('_rows_per_s').replace('_', ' ')} {figure.median:,.0f}"
        for name, figure in figures.items()
        if name.endswith("_rows_per_s")
    )
    Result(
        name="prepare",
        question="How fast is a watch log prepared, and in how much memory?",
        answer=f"{plan.rows:,} rows, rows/s: {speeds}; "
        f"4 GiB {'are missed by ' + ', '.join(missed) if missed else 'suffice'}.",
        command=f"python -m benchmarks.prepare --rows {plan.rows}",
        config=asdict(plan),
        figures=figures,
        notes=(
            "KuaiRand's 19 columns, of which 10 are read; the whole of `distributed-il prepare`, with start, checksums "
            "of source and dataset, and summary.",
            "rows_per_cpu_s: by CPU time of all threads, which other work on the machine hardly touches; rows_per_s: "
            "by the clock, which it does. With several workers it is the time of this process, without Ray's.",
            "peak_bytes: anonymous and shared memory of the process and its children, with several workers those of "
            "Ray among them; pages of files are not in it.",
            "times_as_fast: seconds of the first number of workers over those of this one, which include the start of "
            "Ray; the datasets are the same, as their fingerprints say.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
