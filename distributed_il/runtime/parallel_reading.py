"""Reads the files of a source in parallel, each in a task of Ray Data, on whatever nodes have a CPU to spare."""

from __future__ import annotations

from distributed_il.core.arrow_compute import pc

from distributed_il.runtime.session import ray_session  # isort: skip  # before Ray

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import cast

import pyarrow as pa
import ray
import ray.data

from distributed_il.core.errors import UserError
from distributed_il.core.plain_arrow import open_arrow_stream
from distributed_il.data.prepare.sources.ids import OtherIdsError
from distributed_il.data.prepare.sources.reader import RawReader
from distributed_il.runtime.ray_data import pace_execution, quiet_execution

_BLOCK_BYTES = 32 << 20
"""Bytes that a task collects before it hands them on."""
_ROW = pa.schema({"kind": pa.string(), "content": pa.large_binary()})
"""What a task delivers: rows by their split, and in the end what it has found, or why it can't go on."""
_FOUND, _REFUSED, _OTHER_IDS = "found", "refused", "other ids"


def read_in_parallel(reader: RawReader, workers: int) -> Generator[tuple[str, pa.Table]]:
    """Reads everything once.

    A task reads and labels a file, and numbers the ids within each of its pieces, so that what is left for this process
    is little for a row.

    Args:
        reader: The source; afterwards its read stats cover all files.
        workers: Files read at the same time.

    Yields:
        As `RawReader.tables`, with user and item dictionary-encoded; files take turns in an order of their own.

    Raises:
        UserError: As `RawReader.tables`; of several bad files, any may be told. Or a node does not see a file.
        OtherIdsError: As `RawReader.tables`.
        RuntimeError: Ray Data delivered more or fewer rows than were read.
    """
    reader.settle_id_types()
    files = rows = 0
    with ray_session(cpus=min(workers, reader.num_files)):
        batches = _execution(reader, workers).iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
        # Closing the generator at once, not when it is collected, ends the execution behind it.
        with closing(cast("Generator[pa.Table, None, None]", iter(batches))) as blocks:
            for block in blocks:
                for kind, content in zip(block.column("kind").to_pylist(), block.column("content"), strict=True):
                    if kind == _REFUSED:
                        raise UserError(content.as_py().decode())
                    if kind == _OTHER_IDS:
                        raise OtherIdsError(*json.loads(content.as_py()))
                    if kind == _FOUND:
                        files += 1
                        reader.stats.add_json(content.as_py().decode())
                    else:
                        with open_arrow_stream(content.as_buffer(), "what a task has read", "prepare again") as stream:
                            table = stream.read_all()
                        rows += table.num_rows
                        yield kind, table
    if (files, rows) != (reader.num_files, reader.stats.rows):
        raise RuntimeError(
            f"Ray Data delivered {rows:,} rows of {files} files, where {reader.stats.rows:,} of {reader.num_files} "
            "were due"
        )
    reader.check()


def _execution(reader: RawReader, workers: int) -> ray.data.Dataset:
    shared = ray.put(reader)

    def read(files: pa.Table) -> Iterator[pa.Table]:
        here: RawReader = ray.get(shared).afresh()
        try:
            for number in files.column("id").to_pylist():
                here.require_here(number)
                for split, table in here.file_tables(number):
                    yield _row(split, _encoded(table))
        except OtherIdsError as error:
            yield _row(_OTHER_IDS, pa.py_buffer(json.dumps(error.args).encode()))
        except UserError as error:
            yield _row(_REFUSED, pa.py_buffer(str(error).encode()))
        else:
            yield _row(_FOUND, pa.py_buffer(here.stats.to_json().encode()))

    # A block, and so a task, for each file.
    files = ray.data.range(reader.num_files, override_num_blocks=reader.num_files)
    rows = files.map_batches(
        read,
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=1,
        compute=ray.data.TaskPoolStrategy(size=min(workers, reader.num_files)),
    )
    quiet_execution(rows)
    pace_execution(rows)
    rows.context.target_max_block_size = _BLOCK_BYTES
    return rows


def _row(kind: str, content: pa.Buffer) -> pa.Table:
    """Returns all of it as one row: Ray Data joins and cuts between rows, never inside one."""
    bounds = pa.array([0, content.size], pa.int64()).buffers()[1]
    binary = pa.Array.from_buffers(pa.large_binary(), 1, [None, bounds, content])  # no copy
    return pa.table({"kind": [kind], "content": binary}, schema=_ROW)


def _encoded(table: pa.Table) -> pa.Buffer:
    """Returns the table as bytes, its ids numbered within it."""
    for entity in ("user", "item"):
        place = table.schema.get_field_index(entity)
        table = table.set_column(place, entity, pc.dictionary_encode(table.column(entity).combine_chunks()))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()
