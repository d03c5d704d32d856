"""Results over a trained model as jobs of Ray Data: each makes the parts that are not there yet, in bounded memory."""

from __future__ import annotations

from distributed_il.runtime.session import ray_session  # isort: skip  # before Ray

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
import ray.data

from distributed_il.core.errors import UserError
from distributed_il.inference.result_parts import ResultParts
from distributed_il.inference.work import Work
from distributed_il.runtime.ray_data_context import silence

OnProgress = Callable[[str, int, int], None]
"""Told what is being made, rows done, and rows in all, 0 where nobody knows."""
_COUNTS, _REFUSED = "counts", "refused"


def run_work(work: Work, output: str, *, workers: int | None, on_progress: OnProgress) -> dict[str, int]:
    """Makes a result.

    The model is handed to Ray once: the processes of a machine share one copy of it in memory. Beside it, each holds
    the rows that it works on. A part that is there already is not made again.

    Args:
        work: What to make.
        output: Directory of the parts, a local path or a pyarrow URI, that all nodes see.
        workers: Parts made side by side, each on one CPU; None for as many as Ray has CPUs.
        on_progress: Told how far it is.

    Returns:
        Rows in all, and by who answered for them.

    Raises:
        UserError: The output is taken or not on shared storage, or a part's input can't be read.
    """
    parts, number = ResultParts.open(output, work.made_from), len(work.rows)
    finished = parts.finished(number)
    counts = sum(finished.values(), Counter[str]())
    total = sum(work.rows) if all(work.rows) else 0
    todo = [part for part in range(number) if part not in finished]
    if todo:
        with ray_session(cpus=workers or 1, shared_bytes=work.nbytes):
            on_progress(work.made_from["result"], counts["rows"], total)
            for made in _made(work, parts, todo, workers):
                counts.update(made)
                on_progress(work.made_from["result"], counts["rows"], total)
        missing = number - len(parts.finished(number))
        if missing:
            raise UserError(
                f"{output}: {missing} of {number} parts are not there: nodes have written to storage of their own; "
                "give an output on storage that all nodes share"
            )
    parts.finish(number, counts)
    return dict(counts)


def _made(work: Work, parts: ResultParts, todo: Sequence[int], workers: int | None) -> Iterator[dict[str, int]]:
    """Counts of the parts, as they are done."""
    shared = ray.put(work)

    def make(row: dict[str, Any]) -> dict[str, Any]:
        here: Work = ray.get(shared)
        part = todo[row["id"]]
        try:
            return {_COUNTS: json.dumps(parts.write(part, here.schema, here.tables(part))), _REFUSED: ""}
        except UserError as error:
            return {_COUNTS: "{}", _REFUSED: str(error)}

    at_once = ray.data.TaskPoolStrategy(size=min(workers, len(todo)) if workers else None)
    # A block, and so a task, for each part.
    rows = ray.data.range(len(todo), override_num_blocks=len(todo)).map(make, num_cpus=1, compute=at_once)
    silence(rows)
    for row in rows.iter_rows():
        if row[_REFUSED]:
            raise UserError(row[_REFUSED])
        yield json.loads(row[_COUNTS])
