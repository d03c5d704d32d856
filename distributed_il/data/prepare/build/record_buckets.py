"""Buckets of fixed-width records on disk, which hold the rows while a dataset is prepared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.radix_sort import sort_into_groups

Records = NDArray[np.void]
"""Structured array of `record_type`."""
CHUNK_ROWS = 1 << 20
"""Rows handled at a time where they need not be together."""


def record_type(preference: bool, timed: bool = False, weighted: bool = False) -> np.dtype[np.void]:
    """Returns the type of a row's record.

    It has user, item, label (−1 where unclear), split (its number), `key` (first the row's number in its split, for
    messages; later the hash that the order follows from), and perhaps the true preference, the key of its time and its
    weight, which only rows of train are asked for.
    """
    fields: list[tuple[str, str]] = [("user", "<i4"), ("item", "<i4"), ("label", "i1"), ("split", "i1"), ("key", "<u8")]
    fields += [("preference", "<f4")] * preference + [("time", "<u8")] * timed + [("weight", "<f4")] * weighted
    return np.dtype(fields)


class Bucket:
    """Records in a file, appended and read back in the same order; it is open only while it is used."""

    def __init__(self, path: Path, dtype: np.dtype[np.void]) -> None:
        """Starts empty; the file appears with the first record."""
        self._path, self._dtype = path, dtype
        self.rows = 0

    def append(self, records: Records) -> None:
        """Adds records at the end."""
        if records.size:
            # Not tofile: it hides why a write failed.
            with self._path.open("ab") as file:
                file.write(np.ascontiguousarray(records).view(np.uint8).data)
            self.rows += records.size

    def chunks(self, rows: int = CHUNK_ROWS) -> Iterator[Records]:
        """Yields the records, `rows` at a time."""
        if self.rows:
            with self._path.open("rb") as file:
                while (records := np.fromfile(file, dtype=self._dtype, count=rows)).size:
                    yield records

    def pieces(self, sizes: Sequence[int], order: Iterable[int]) -> Iterator[Records]:
        """Yields the pieces of those numbers in `order`; `sizes` are the records of each, in the order of the file."""
        ends = np.cumsum(sizes, dtype=np.int64)
        if self.rows:
            with self._path.open("rb") as file:
                for piece in order:
                    file.seek(int(ends[piece] - sizes[piece]) * self._dtype.itemsize)
                    yield np.fromfile(file, dtype=self._dtype, count=sizes[piece])

    def take(self) -> Records:
        """Returns all records and removes the file."""
        records = next(self.chunks(self.rows), np.zeros(0, dtype=self._dtype))
        self._path.unlink(missing_ok=True)
        self.rows = 0
        return records

    def remove(self) -> None:
        """Removes the file."""
        self._path.unlink(missing_ok=True)


def make_buckets(directory: Path, count: int, dtype: np.dtype[np.void]) -> list[Bucket]:
    """Makes `count` empty buckets in a new directory."""
    directory.mkdir()
    return [Bucket(directory / f"{number:05d}", dtype) for number in range(count)]


def distribute(records: Records, numbers: NDArray[Any], buckets: Sequence[Bucket]) -> None:
    """Appends each record [n] to the bucket of its number, one of up to 2**16; in a bucket records keep their order."""
    if len(buckets) == 1:
        buckets[0].append(records)
        return
    order, borders = sort_into_groups(numbers, len(buckets))
    records = records.take(order)  # several times faster than records[order]
    for bucket, start, end in zip(buckets, borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        bucket.append(records[start:end])
