"""Blocks of a dataset, streamed by Ray Data to the process that trains on them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, cast

import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.streaming_executor import StreamingExecutor
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from distributed_il.core.errors import UserError
from distributed_il.core.files import is_local
from distributed_il.data.dataset import Block, Dataset

PAUSE_S = 0.02
"""Sleep of Ray Data's scheduling loop between two turns."""
MOST_PAUSES = 10
"""Sleeps between two turns while rows lie ready: a turn takes 2 ms of the interpreter from the step."""


def quiet_execution(rows: ray.data.Dataset) -> None:
    """Keeps progress bars, plans and errors of an execution off the console: its reader gets every error raised."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    rows.context.enable_progress_bars = False
    rows.context.print_on_execution_start = False


def pace_execution(rows: ray.data.Dataset) -> None:
    """Makes the scheduling loop sleep between two turns; it is a thread of the process that works on the rows.

    Once the allowed bytes lie ready, the loop is told at once that there is more to read, leaves it, and spins: holding
    the interpreter lock, it slows a training step by ten times. While rows lie ready, the loop only has to keep them
    coming, and sleeps longer; it wakes soon after the last of them is taken, as the reader then waits for what the next
    turn starts.
    """
    context = rows.context
    context.custom_execution_callback_classes = [*context.custom_execution_callback_classes, _Pacer]


class _Pacer(ExecutionCallback):
    def on_execution_step(self, executor: StreamingExecutor) -> None:
        for _ in range(MOST_PAUSES):
            time.sleep(PAUSE_S)
            if executor._consumer_idling():  # pyright: ignore[reportPrivateUsage]
                return


ROWS_PER_TASK = 262_144
"""Rows that one read task delivers: enough to make what a task costs Ray small beside the reading."""
READ_AHEAD_BYTES = 32 << 20
"""Bytes that a read may hold ready in the object store."""
_REMOTE_TASKS = 4
_NUMBER = "block"

NumberedBlock = tuple[int, Block]
Arrays = dict[str, NDArray[Any]]


class RayBlockReader:
    """Reads blocks in tasks of Ray Data, ahead of the one in use; a `BlockReader`.

    Every call of `read` is an execution of its own on the reader's own node, bounded in tasks and in bytes, so that
    the workers of a run read in parallel. The tasks ask for no CPU: the workers of a run may hold all of them.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        tasks_at_once: int | None = None,
        rows_per_task: int = ROWS_PER_TASK,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
    ) -> None:
        """Takes the dataset to read; Ray must be initialised.

        Args:
            dataset: The dataset.
            tasks_at_once: Read tasks that run at the same time; by default one for local files, which outruns any
                step, and four elsewhere, where each of them mostly waits.
            rows_per_task: Rows that a task delivers at least, the last one of a read aside.
            read_ahead_bytes: Bytes that may lie ready in the object store.
        """
        self._dataset = ray.put(dataset)
        self._tasks_at_once = tasks_at_once or (1 if is_local(dataset.filesystem) else _REMOTE_TASKS)
        self._rows_per_task = rows_per_task
        self._read_ahead_bytes = read_ahead_bytes

    def read(self, blocks: Sequence[Block], columns: Sequence[str]) -> Iterator[Arrays]:
        """Reads blocks in the order given; see `BlockReader.read`. Closing the iterator ends the reading.

        Raises:
            UserError: A file is damaged or lacks a column.
            RuntimeError: Ray Data delivered other blocks than were asked for, or in another order.
        """
        if not blocks:
            return
        batches = self._execution(blocks, columns).iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=1
        )
        expected = iter(enumerate(blocks))
        try:
            # Closing the generator at once, not when it is collected, ends the execution behind it.
            with closing(cast("Generator[pa.Table, None, None]", iter(batches))) as tables:
                for table in tables:
                    for row in range(table.num_rows):
                        yield _take_row(table, row, next(expected, None), columns)
        except Exception as error:
            raise _unwrapped(error) from error
        if (missing := next(expected, None)) is not None:
            raise RuntimeError(f"Ray Data ended before {missing[1]}, number {missing[0]} of {len(blocks)}")

    def _execution(self, blocks: Sequence[Block], columns: Sequence[str]) -> ray.data.Dataset:
        source = _BlockSource(self._dataset, _assign_tasks(blocks, self._rows_per_task), tuple(columns))
        rows = ray.data.read_datasource(
            source,
            num_cpus=0,
            concurrency=self._tasks_at_once,
            override_num_blocks=len(source.parts),
            # Read where the rows are needed: default placement would send the tasks over all nodes. A node that is
            # about to leave takes no tasks; then anywhere, or the run would not come to its last checkpoint there.
            label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()},
            fallback_strategy=[{"label_selector": {}}],
        )
        quiet_execution(rows)
        pace_execution(rows)
        options = rows.context.execution_options
        options.preserve_order = True
        options.resource_limits = options.resource_limits.copy(object_store_memory=self._read_ahead_bytes)
        return rows


class _BlockSource(Datasource):
    """Read tasks for blocks that are already assigned to tasks."""

    def __init__(
        self, dataset: ray.ObjectRef[Dataset], parts: Sequence[Sequence[NumberedBlock]], columns: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.parts = parts
        self._dataset = dataset
        self._columns = columns

    def estimate_inmemory_data_size(self) -> None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        return [
            ReadTask(_read_task(self._dataset, part, self._columns), BlockMetadata(len(part), None, None, None))
            for part in self.parts
        ]


def _assign_tasks(blocks: Sequence[Block], rows_per_task: int) -> list[list[NumberedBlock]]:
    """Assigns consecutive blocks to tasks; the first task has one block alone, so that the reader can begin."""
    parts: list[list[NumberedBlock]] = [[(0, blocks[0])]]
    rows = rows_per_task
    for numbered in enumerate(blocks[1:], start=1):
        if rows >= rows_per_task:
            parts.append([])
            rows = 0
        parts[-1].append(numbered)
        rows += numbered[1].rows
    return parts


def _read_task(
    dataset: ray.ObjectRef[Dataset], part: Sequence[NumberedBlock], columns: tuple[str, ...]
) -> Callable[[], Iterator[pa.Table]]:
    def read() -> Iterator[pa.Table]:
        opened = ray.get(dataset)
        for number, block in part:
            try:
                table = opened.read_block(block, columns)
            except UserError as error:
                raise _ReadRefusedError(str(error)) from error
            yield _as_row(number, table)

    return read


def _as_row(number: int, table: pa.Table) -> pa.Table:
    """Returns a block as one row of lists, without a copy: Ray Data joins and cuts between rows, never inside one."""
    bounds = pa.array([0, table.num_rows], pa.int64())
    lists = {name: pa.LargeListArray.from_arrays(bounds, table.column(name).chunk(0)) for name in table.column_names}
    return pa.table({_NUMBER: pa.array([number], pa.int64()), **lists})


def _take_row(table: pa.Table, row: int, expected: NumberedBlock | None, columns: Sequence[str]) -> Arrays:
    """Returns the arrays of a block, without a copy, if it is the one that is due."""
    number = table.column(_NUMBER)[row].as_py()
    if expected is None or number != expected[0]:
        raise RuntimeError(f"Ray Data delivered block number {number} where {expected} was due")
    arrays: Arrays = {name: table.column(name)[row].values.to_numpy(zero_copy_only=True) for name in columns}
    for name, array in arrays.items():
        if len(array) != expected[1].rows:
            raise RuntimeError(f"Ray Data delivered {len(array)} rows of {name} where {expected[1]} was due")
    return arrays


class _ReadRefusedError(Exception):
    """Carries a message for people out of a read task; Ray Data adds lines of its own to `args`, not to it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def _unwrapped(error: Exception) -> Exception:
    """Returns the error for people that Ray has wrapped, or else the error itself."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, _ReadRefusedError):
            return UserError(inner.message)
        inner = getattr(inner, "cause", None) or inner.__cause__
    return error
