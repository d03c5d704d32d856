"""Reads the blocks of a dataset: a protocol, and a reader that needs no Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from numpy.typing import NDArray

from distributed_il.data.dataset.reader import Block, Dataset


class BlockReader(Protocol):
    """Delivers blocks of a dataset as arrays."""

    def read(self, blocks: Sequence[Block], columns: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """Reads blocks in the order given.

        Yields:
            For each block its columns by name, arrays [block.rows] of the dataset's dtypes, which may be read-only.
        """
        ...


class LocalBlockReader:
    """Reads blocks in this process, one ahead of the one in use."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def read(self, blocks: Sequence[Block], columns: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """Reads blocks in the order given; see `BlockReader.read`.

        Raises:
            UserError: A file is damaged or lacks a column.
        """
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="block-reader") as pool:
            ahead: Future[dict[str, NDArray[Any]]] | None = None
            for block in blocks:
                following = pool.submit(self._read_block, block, columns)
                if ahead is not None:
                    yield ahead.result()
                ahead = following
            if ahead is not None:
                yield ahead.result()

    def _read_block(self, block: Block, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
        table = self._dataset.read_block(block, columns)
        return {name: table.column(name).chunk(0).to_numpy(zero_copy_only=True) for name in columns}
