"""Records on disk come back in order; buckets keep theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from distributed_il.data.prepare.build.record_buckets import Bucket, Records, distribute, make_buckets, record_type

TYPE = record_type(preference=True)


def records(keys: NDArray[np.int64]) -> Records:
    made = np.zeros(keys.size, dtype=TYPE)
    made["key"], made["user"], made["preference"] = keys, keys % 7, keys / 2
    return made


def test_a_record_takes_the_bytes_of_its_fields() -> None:
    assert (record_type(preference=False).itemsize, TYPE.itemsize) == (18, 22)


def test_a_file_gives_back_what_was_appended(tmp_path: Path) -> None:
    file = Bucket(tmp_path / "x", TYPE)
    assert list(file.chunks()) == []
    for part in np.split(records(np.arange(100)), [10, 10, 55]):
        file.append(part[::1])
    file.append(records(np.arange(20))[::2])
    assert file.rows == 110
    expected = [*range(100), *range(0, 20, 2)]
    for rows in (1, 7, 1000):
        assert np.concatenate(list(file.chunks(rows)))["key"].tolist() == expected
    taken = file.take()
    assert (taken["key"].tolist(), taken["preference"][9], file.rows) == (expected, 4.5, 0)
    assert list(tmp_path.iterdir()) == []
    assert file.take().size == 0


@pytest.mark.parametrize("count", [1, 5])
def test_buckets_keep_the_order_within_them(count: int, tmp_path: Path) -> None:
    buckets = make_buckets(tmp_path / "buckets", count, TYPE)
    keys = np.random.default_rng(0).permutation(1000)
    for part in np.split(keys, [300, 301]):
        distribute(records(part), part % count, buckets)
    for number, bucket in enumerate(buckets):
        assert bucket.take()["key"].tolist() == keys[keys % count == number].tolist()
