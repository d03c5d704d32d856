"""Sums over fixed blocks of rows: each block is computed alike and the blocks are added in their order.

So the same bits come out, however many threads share the blocks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from distributed_il.data.exposure.exposures import Neighbours

BLOCK_ROWS = 4096
"""Rows of a block. Sums over ids depend on it in their last bits, so it never follows the machine."""
_GATHER = 1 << 20
"""Entries that are gathered at a time; sums don't depend on it."""

_Result = TypeVar("_Result")


@contextmanager
def single_threaded() -> Generator[None]:
    """Every operation of torch takes one thread: the bits of a matrix product depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def mapped(shape: tuple[int, ...], dtype: np.dtype[Any], scratch: Path | None) -> NDArray[Any]:
    """An array to fill: mapped from a file in `scratch` that vanishes with it, in memory where that is None."""
    if scratch is None or 0 in shape:
        return np.empty(shape, dtype=dtype)
    with tempfile.TemporaryFile(dir=scratch) as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


def map_blocks(function: Callable[[int, int], _Result], rows: int, threads: int) -> Iterator[_Result]:
    """Calls a function for each block of rows; within `single_threaded`, so that its bits are always the same.

    Args:
        function: Takes the first row of a block and one past the last.
        rows: Rows in all.
        threads: Number of threads that share the blocks.

    Yields:
        The results in the order of the blocks.
    """
    starts = range(0, rows, BLOCK_ROWS)
    stops = [min(start + BLOCK_ROWS, rows) for start in starts]
    if threads == 1:
        yield from map(function, starts, stops)
        return
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(function, starts, stops)


def each_block(function: Callable[[int, int], None], rows: int, threads: int) -> None:
    """Calls a function for each block of rows; see `map_blocks`."""
    for _ in map_blocks(function, rows, threads):
        pass


def sum_blocks(function: Callable[[int, int], Tensor], rows: int, threads: int) -> Tensor:
    """Adds what a function returns for each block of rows, block after block.

    Args:
        function: As for `map_blocks`; its results are all of one shape.
        rows: Rows in all, at least 1.
        threads: Number of threads that share the blocks.

    Returns:
        The sum.
    """
    results = map_blocks(function, rows, threads)
    total = next(results)
    for result in results:
        total = total + result
    return total


def gather_sums(side: Sequence[Neighbours], start: int, stop: int, table: Tensor) -> Tensor:
    """Σ table[j] over the neighbours j of each row, index after index and in each in its order.

    Args:
        side: One or several indexes of the same rows.
        start: First row.
        stop: One past the last.
        table: float32 or float64 [ids, columns], contiguous.

    Returns:
        Of the table's dtype [stop - start, columns]; exactly 0 for rows without neighbours.
    """
    sums = torch.zeros((stop - start, table.shape[1]), dtype=table.dtype)
    for index in side:
        first = start
        while first < stop:
            # As many rows as have few entries enough, but at least one.
            limit = int(index.offsets[first]) + _GATHER
            last = min(max(int(np.searchsorted(index.offsets, limit, side="right")) - 1, first + 1), stop)
            offsets = index.offsets[first : last + 1]
            if offsets[-1] > offsets[0]:
                # A copy, because torch complains of arrays that can't be written.
                ids = torch.from_numpy(np.array(index.ids[offsets[0] : offsets[-1]]))
                places = torch.from_numpy((offsets - offsets[0]).astype(np.int32))
                with torch.no_grad():
                    sums[first - start : last - start] += F.embedding_bag(
                        ids, table, places, mode="sum", include_last_offset=True
                    )
            first = last
    return sums


def weighted_sum(weights: NDArray[np.int64], table: Tensor, threads: int) -> Tensor:
    """Σ weights_r · table[r] over all rows, float64 [columns].

    Args:
        weights: int64 [rows].
        table: float32 or float64 [rows, columns].
        threads: Number of threads that share the blocks.
    """

    def block(start: int, stop: int) -> Tensor:
        return torch.from_numpy(weights[start:stop].astype(np.float64)) @ table[start:stop].double()

    return sum_blocks(block, weights.size, threads)


def orthonormalise(table: Tensor, threads: int) -> Tensor:
    """Replaces a tall matrix by the factor Q of its QR decomposition, in place.

    The blocks are decomposed on their own, then their triangles one below another: Q is the product. (Demmel, Grigori,
    Hoemmen, Langou: Communication-optimal parallel and sequential QR and LU factorizations. SIAM J. Sci. Comput. 34,
    2012: TSQR.)

    Args:
        table: float32 or float64 [rows, columns], with at least as many rows as columns.
        threads: Number of threads that share the blocks.

    Returns:
        R [columns, columns], an upper triangle: the table was Q R.
    """

    def decompose(start: int, stop: int) -> Tensor:
        q, r = torch.linalg.qr(table[start:stop])
        table[start:stop, : q.shape[1]] = q
        return r

    triangles = list(map_blocks(decompose, table.shape[0], threads))
    ends = np.cumsum([upper.shape[0] for upper in triangles]).tolist()
    joint, triangle = torch.linalg.qr(torch.cat(triangles))

    def multiply(start: int, stop: int) -> None:
        number = start // BLOCK_ROWS
        columns = triangles[number].shape[0]
        part = joint[ends[number] - columns : ends[number]]
        table[start:stop] = table[start:stop, :columns].contiguous() @ part

    each_block(multiply, table.shape[0], threads)
    return triangle


def solve_right(table: Tensor, triangle: Tensor, threads: int) -> None:
    """Multiplies a tall matrix by the inverse of an upper triangle from the right, in place.

    Args:
        table: [rows, columns].
        triangle: [columns, columns].
        threads: Number of threads that share the blocks.
    """

    def solve(start: int, stop: int) -> None:
        table[start:stop] = torch.linalg.solve_triangular(triangle, table[start:stop], upper=True, left=False)

    each_block(solve, table.shape[0], threads)
