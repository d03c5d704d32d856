"""Ray Data delivers exactly the blocks asked for, in order, and ends when it is told to."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Block, BlockReader, Dataset, LocalBlockReader
from distributed_il.runtime import ray_data
from distributed_il.runtime.ray_data import RayBlockReader

if TYPE_CHECKING:
    from ray.data._internal.execution.streaming_executor import StreamingExecutor

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]

COLUMNS = ("user_id", "item_id", "label")


def interleaved(dataset: Dataset) -> list[Block]:
    """Blocks of several lanes in turn, in no order that a reader could guess."""
    blocks = [block for lane in range(dataset.lanes) for block in dataset.blocks("train", lane)]
    return [blocks[place] for place in np.random.default_rng(1).permutation(len(blocks))]


def assert_delivers(reader: BlockReader, dataset: Dataset, blocks: list[Block]) -> None:
    expected = list(LocalBlockReader(dataset).read(blocks, COLUMNS))
    found = list(reader.read(blocks, COLUMNS))
    assert len(found) == len(expected)
    for mine, right in zip(found, expected, strict=True):
        assert list(mine) == list(COLUMNS)
        for name in COLUMNS:
            assert mine[name].dtype == right[name].dtype
            np.testing.assert_array_equal(mine[name], right[name])


def executions() -> list[str]:
    """Threads of Ray Data executions that are still running in this process."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("StreamingExecutor")]


@pytest.mark.parametrize(("tasks_at_once", "rows_per_task"), [(1, 1), (3, 2_500), (2, 1_000_000)])
def test_blocks_come_in_the_order_asked_for_pass_after_pass(
    dataset: Dataset, tasks_at_once: int, rows_per_task: int
) -> None:
    reader = RayBlockReader(dataset, tasks_at_once=tasks_at_once, rows_per_task=rows_per_task)
    blocks = interleaved(dataset)
    assert_delivers(reader, dataset, blocks)
    assert_delivers(reader, dataset, blocks[::-1])


def test_a_read_ahead_of_less_than_a_block_still_delivers_all(dataset: Dataset) -> None:
    assert_delivers(RayBlockReader(dataset, read_ahead_bytes=1), dataset, interleaved(dataset))


def test_only_the_columns_asked_for_come(dataset: Dataset) -> None:
    block = dataset.blocks("train", 0)[0]
    (arrays,) = RayBlockReader(dataset).read([block], ["label"])
    assert list(arrays) == ["label"]


def test_no_blocks_are_no_work(dataset: Dataset) -> None:
    assert list(RayBlockReader(dataset).read([], COLUMNS)) == []


def test_a_pass_left_early_ends_its_execution_and_the_next_one_is_whole(dataset: Dataset) -> None:
    reader = RayBlockReader(dataset, rows_per_task=1)
    blocks = interleaved(dataset)
    left = reader.read(blocks, COLUMNS)
    first = next(left)
    assert executions()
    left.close()
    assert not executions()
    np.testing.assert_array_equal(first["item_id"], next(LocalBlockReader(dataset).read(blocks, COLUMNS))["item_id"])
    assert_delivers(reader, dataset, blocks)


def test_two_reads_at_once_do_not_mix(dataset: Dataset) -> None:
    blocks = interleaved(dataset)
    one, other = (RayBlockReader(dataset).read(part, COLUMNS) for part in (blocks, blocks[::-1]))
    expected = list(LocalBlockReader(dataset).read(blocks, COLUMNS))
    for place, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        np.testing.assert_array_equal(mine["item_id"], expected[place]["item_id"])
        np.testing.assert_array_equal(theirs["item_id"], expected[-1 - place]["item_id"])


def test_a_damaged_file_is_named_in_plain_words(dataset: Dataset, tmp_path: Path) -> None:
    block = dataset.blocks("train", 0)[0]
    file = Path(dataset.full_path(block.path))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    try:
        with pytest.raises(UserError) as caught:
            list(RayBlockReader(dataset).read([dataset.blocks("train", 1)[0], block], COLUMNS))
    finally:
        file.write_bytes(whole)
    assert str(file) in str(caught.value)
    assert "attempt" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named(dataset: Dataset) -> None:
    with pytest.raises(UserError, match="no column nope"):
        list(RayBlockReader(dataset).read([dataset.blocks("train", 0)[0]], ["nope"]))


@pytest.mark.parametrize(("ready", "pauses"), [([0], 1), ([3, 2, 1, 0, 0], 4), ([1] * 99, ray_data.MOST_PAUSES)])
def test_the_scheduling_loop_rests_until_all_that_lies_ready_is_taken(
    ready: list[int], pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    monkeypatch.setattr(ray_data, "time", SimpleNamespace(sleep=rests.append))
    # The executor has ready[n] blocks after n + 1 rests.
    executor = cast("StreamingExecutor", SimpleNamespace(_consumer_idling=lambda: ready[len(rests) - 1] == 0))
    ray_data._Pacer().on_execution_step(executor)
    assert rests == [ray_data.PAUSE_S] * pauses


def test_the_scheduling_loop_rests_long_once_a_real_reading_is_ahead(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rested_long = threading.Event()
    on_execution_step = ray_data._Pacer.on_execution_step
    rests: list[float] = []

    def turn(pause: ray_data._Pacer, executor: StreamingExecutor) -> None:
        rests.clear()
        on_execution_step(pause, executor)
        if len(rests) == ray_data.MOST_PAUSES:
            rested_long.set()

    monkeypatch.setattr(ray_data, "time", SimpleNamespace(sleep=rests.append))
    monkeypatch.setattr(ray_data._Pacer, "on_execution_step", turn)
    with closing(RayBlockReader(dataset, rows_per_task=1).read(interleaved(dataset)[:8], COLUMNS)) as blocks:
        next(blocks)
        assert rested_long.wait(60)


def test_the_scheduling_loop_rests_in_every_reading(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(ray_data, "time", SimpleNamespace(sleep=rests.append))
    reader, blocks = RayBlockReader(dataset), interleaved(dataset)[:4]
    for _ in range(2):
        rests.clear()
        assert_delivers(reader, dataset, blocks)
        assert set(rests) == {ray_data.PAUSE_S}
        # What one reading sets up is not handed on to the next.
        callbacks = reader._execution(blocks, COLUMNS).context.custom_execution_callback_classes
        assert callbacks.count(ray_data._Pacer) == 1
