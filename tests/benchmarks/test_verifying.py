"""The benchmark of verifying: with hashes every file is read through once a reading, without none is."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest

from benchmarks.common.training_ranks import Speed, Way
from benchmarks.verifying import Plan, measure, read_unverified, read_verified
from distributed_il.core import verified_files
from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset


def test_files_are_hashed_anew_in_each_reading_or_not_at_all(tiny_dataset: Dataset) -> None:
    files = tiny_dataset.manifest.splits["train"].files
    with mock.patch.object(verified_files, "sha256_of", wraps=verified_files.sha256_of) as hashed:
        read_verified(tiny_dataset)
        read_verified(tiny_dataset)
        assert hashed.call_count == 2 * len(files)
        read_unverified(tiny_dataset)
        assert hashed.call_count == 2 * len(files)


def test_both_readings_read_the_rows(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(lanes=1)
    (file,) = dataset.manifest.splits["train"].files
    with open(dataset.full_path(file.path), "r+b") as stream:
        stream.write(bytes(file.bytes))
    for read in (read_verified, read_unverified):
        with pytest.raises(UserError):
            read(dataset)


def test_the_share_is_of_the_median_pass(tiny_dataset: Dataset) -> None:
    seconds = iter([4.0, 2.0, 8.0])

    def run(way: Way, config: TrainConfig) -> Speed:
        assert (way, config.data.path, config.run.max_rounds) == ("torch_distributed", tiny_dataset.path, 1)
        return mock.Mock(pass_s=next(seconds))

    found = measure(Plan(data=tiny_dataset.path, repeats=3), run)
    read, unread = (found[f"read_{name}_s"].repeats for name in ("verified", "unverified"))
    assert found["verifying_share_of_pass"].repeats == [(a - b) / 4.0 for a, b in zip(read, unread, strict=True)]
