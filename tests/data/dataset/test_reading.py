"""Blocks arrive in order, as arrays, one ahead; errors and early ends leave no thread behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Block, BlockReader, Dataset, LocalBlockReader

MakeDataset = Callable[..., Dataset]


def blocks_of(dataset: Dataset) -> list[Block]:
    return [block for lane in range(dataset.lanes) for block in dataset.blocks("train", lane)]


def no_reader_is_left() -> bool:
    return not any(thread.name.startswith("block-reader") for thread in threading.enumerate())


def test_blocks_arrive_in_the_order_asked_for(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(lanes=4, row_group_rows=32)
    reader: BlockReader = LocalBlockReader(dataset)
    blocks = blocks_of(dataset)[::-1]
    arrived = list(reader.read(blocks, ["item_id", "label"]))
    assert len(arrived) == len(blocks)
    for block, arrays in zip(blocks, arrived, strict=True):
        assert list(arrays) == ["item_id", "label"]
        assert (arrays["item_id"].dtype, arrays["label"].dtype) == (np.int32, np.int8)
        expected = dataset.read_block(block, ["item_id", "label"])
        assert all(np.array_equal(arrays[name], expected.column(name).to_numpy()) for name in arrays)
    assert no_reader_is_left()


def test_no_blocks_give_nothing(tiny_dataset: Dataset) -> None:
    assert list(LocalBlockReader(tiny_dataset).read([], ["label"])) == []


def test_one_block_is_read_ahead_and_no_more(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(lanes=4)
    blocks = blocks_of(dataset)
    asked: list[Block] = []
    read_block = dataset.read_block

    def remember(block: Block, columns: list[str]) -> object:
        asked.append(block)
        return read_block(block, columns)

    monkeypatch.setattr(dataset, "read_block", remember)
    reading = LocalBlockReader(dataset).read(blocks, ["label"])
    next(reading)
    # Closing waits for the thread, so whatever was asked for has been noted.
    reading.close()  # type: ignore[attr-defined]
    assert asked in (blocks[:1], blocks[:2])
    assert no_reader_is_left()


def test_an_error_of_the_thread_arrives(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(lanes=4)
    blocks = blocks_of(dataset)
    path = Path(dataset.full_path(blocks[2].path))
    path.write_bytes(b"\0" * path.stat().st_size)
    reading = LocalBlockReader(dataset).read(blocks, ["label"])
    assert len(next(reading)["label"]) == 150
    assert len(next(reading)["label"]) == 150
    with pytest.raises(UserError, match="is not what was written"):
        next(reading)
    assert no_reader_is_left()
