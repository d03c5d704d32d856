"""Turns the blocks of a dataset into the batches of a pass: shuffles lanes, deals rows to steps, adds pairs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.data.dataset import WEIGHT, Block, BlockReader, Dataset
from distributed_il.data.lanes import Schedule, TestSlots, block_order, lanes_of_rank, row_order
from distributed_il.data.loading.batch import Batch, Phase, Subset
from distributed_il.data.loading.held_out_rows import HeldOutRows, LabelledRows
from distributed_il.data.loading.windows import BatchMaker, FactorLookup, WindowRows
from distributed_il.data.logged_pairs import LoggedPairSampler
from distributed_il.data.sampling import UnlabelledPairs, UnlabelledSampler

Int64 = NDArray[np.int64]
WINDOW_ROWS = 65_536
MOST_WINDOW_STEPS = 64
"""Rows, and batches, of a rank that are made at one go. Every call of numpy takes the interpreter from the step for a
moment, so they are to be few; what is ready ahead is to stay small."""
COLUMNS = ("user_id", "item_id", "label")


def window_steps(batch_size: int) -> int:
    """Returns the number of steps of a window, given a rank's labelled rows per step."""
    return min(max(WINDOW_ROWS // batch_size, 1), MOST_WINDOW_STEPS)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLayout:
    """How the training rows are laid out over steps and ranks."""

    seed: int  # of the run
    test_share: float  # of the rows in training-test; 0 for none
    global_batch: int  # G, labelled rows of a step over all ranks
    rank: int
    world_size: int


class TrainingRows:
    """A rank's share of the training rows, pass after pass."""

    def __init__(
        self,
        dataset: Dataset,
        reader: BlockReader,
        sampler: UnlabelledSampler | LoggedPairSampler | None,
        layout: BatchLayout,
        *,
        dtype: torch.dtype,
        device: torch.device,
        factors: tuple[FactorLookup, FactorLookup] | None = None,
    ) -> None:
        """Lays out the passes; nothing is read yet.

        Args:
            dataset: The prepared dataset.
            reader: How its blocks are read.
            sampler: Draws unlabelled pairs; None where no phase uses them.
            layout: Which rows a step takes, and which of them this rank.
            dtype: Of labels and pair weights.
            device: Where batches go.
            factors: Exposure factors of user and item rows, to be gathered ahead; None for none.
        """
        self._dataset, self._reader, self._sampler = dataset, reader, sampler
        self._layout, self._seed = layout, layout.seed
        self._lanes = lanes_of_rank(dataset.lanes, layout.rank, layout.world_size)
        self._slots = TestSlots(layout.seed, layout.test_share) if layout.test_share else None
        self._maker = BatchMaker(dataset.num_users, dataset.num_items, dtype=dtype, device=device, factors=factors)
        self._held_out: HeldOutRows | None = None
        self._columns = (*COLUMNS, WEIGHT) if dataset.weighted else COLUMNS
        nothing = np.empty(0, dtype=np.int64)
        weights = nothing.astype(np.float32) if dataset.weighted else None
        self._nothing = LabelledRows(nothing, nothing, nothing, nothing, weights)

    def schedule(self, subset: Subset) -> Schedule:
        """Returns the schedule of global batches of a pass over a subset, the same on every rank."""
        total = self._dataset.rows("train")
        test = self._slots.rows(total, self._dataset.lanes) if self._slots else 0
        rows = {"all": total, "train": total - test, "test": test}[subset]
        return Schedule(rows, self._layout.global_batch, self._dataset.lanes, self._layout.world_size)

    def batches(self, phase: Phase, *, round: int, start_step: int = 0) -> Iterator[list[Batch]]:
        """Reads one pass, in windows of consecutive batches.

        Args:
            phase: Which rows, and whether pairs are drawn for them.
            round: The round, from 0; it decides order and pairs.
            start_step: Steps of the pass to leave out, because they were taken before.
        """
        schedule = self.schedule(phase.subset)
        skip = {lane: schedule.lane_rows_before(start_step, lane) for lane in self._lanes}
        if phase.subset == "test":
            source = self._test_pass(round, skip)
        else:
            source = self._stream(phase.subset, round, skip)
        queues = _LaneQueues(source, self._lanes, self._nothing)
        length = window_steps(self._layout.global_batch // self._layout.world_size)
        for first in range(start_step, schedule.steps, length):
            steps = range(first, min(first + length, schedule.steps))
            yield self._window(queues, schedule, steps, phase, round)

    def _window(self, queues: _LaneQueues, schedule: Schedule, steps: range, phase: Phase, round: int) -> list[Batch]:
        parts: list[LabelledRows] = []
        step_of: list[Int64] = []
        for lane in self._lanes:
            start, stop = (schedule.lane_rows_before(step, lane) for step in (steps.start, steps.stop))
            parts.append(queues.take(lane, stop - start))
            step_of.append((np.arange(start, stop) * schedule.num_lanes + lane) // schedule.global_batch)
        steps_of_rows = np.concatenate(step_of)
        order = np.argsort(steps_of_rows, kind="stable")
        rows = LabelledRows.join(parts).take(order)
        user_ids = rows.user_ids.astype(np.int64)
        window = WindowRows(
            rows.numbers,
            user_ids,
            rows.item_ids.astype(np.int64),
            rows.labels,
            np.searchsorted(steps_of_rows[order], np.arange(steps.start, steps.stop + 1)).tolist(),
            self._draw(user_ids, rows.numbers, round) if phase.unlabelled else None,
            self._sampler.rate if self._sampler else 0,
            rows.weights,
        )
        return self._maker.batches(window, steps, schedule, phase)

    def _draw(self, user_ids: Int64, numbers: Int64, round: int) -> UnlabelledPairs:
        if self._sampler is None:
            raise ValueError("the phase draws unlabelled pairs, but no sampler was given")
        return self._sampler.draw(user_ids, numbers, round)

    def _stream(self, subset: Subset, round: int, skip: dict[int, int]) -> Iterator[tuple[int, LabelledRows]]:
        """Yields shuffled blocks of this rank's lanes, all lanes' first blocks before their second ones."""
        lanes = {lane: self._dataset.blocks("train", lane) for lane in self._lanes}
        order = block_order(max((len(blocks) for blocks in lanes.values()), default=0), seed=self._seed, round=round)
        wanted: list[Block] = []
        dropped: list[int] = []
        for turn in order:
            for lane, blocks in lanes.items():
                if turn >= len(blocks):
                    continue
                available = self._num_rows(blocks[turn], subset)
                if skip[lane] >= available:
                    skip[lane] -= available
                    continue
                wanted.append(blocks[turn])
                dropped.append(skip[lane])
                skip[lane] = 0
        for block, columns, drop in zip(wanted, self._reader.read(wanted, self._columns), dropped, strict=True):
            rows = self._rows_of(block, columns)
            if subset == "train":
                rows = self._without_test_rows(block, rows)
            yield block.lane, rows.take(row_order(rows.numbers, seed=self._seed, round=round)[drop:])

    def _test_pass(self, round: int, skip: dict[int, int]) -> Iterator[tuple[int, LabelledRows]]:
        """Yields training-test rows; reads only blocks that no training-train pass of this process has read."""
        held_out = self._held_out_rows()
        missing = held_out.missing
        for block, columns in zip(missing, self._reader.read(missing, self._columns), strict=True):
            self._without_test_rows(block, self._rows_of(block, columns))
        yield from held_out.shuffled(seed=self._seed, round=round, skip=skip)

    def _held_out_rows(self) -> HeldOutRows:
        if self._held_out is None:
            blocks = {lane: self._dataset.blocks("train", lane) for lane in self._lanes}
            weighted = self._dataset.weighted
            self._held_out = HeldOutRows(blocks, lambda block: self._num_rows(block, "test"), weighted=weighted)
        return self._held_out

    def _num_rows(self, block: Block, subset: Subset) -> int:
        if subset == "all" or self._slots is None:
            return block.rows
        before, after = (self._slots.count_before(position) for position in (block.start, block.start + block.rows))
        return after - before if subset == "test" else block.rows - (after - before)

    def _rows_of(self, block: Block, columns: dict[str, NDArray[Any]]) -> LabelledRows:
        positions = np.arange(block.start, block.start + block.rows, dtype=np.int64)
        numbers = positions * self._dataset.lanes + block.lane
        return LabelledRows(numbers, *(columns[name] for name in self._columns))

    def _without_test_rows(self, block: Block, rows: LabelledRows) -> LabelledRows:
        """Returns the training-train rows of a block; holds its training-test rows out the first time."""
        if self._slots is None:
            return rows
        test, held_out = self._slots.mask(block.start, block.start + block.rows), self._held_out_rows()
        if held_out.lacks(block):
            held_out.add(block, rows.take(test))
        return rows.take(~test)


class _LaneQueues:
    """Rows that were read but not yet dealt to a step, by lane."""

    def __init__(self, source: Iterator[tuple[int, LabelledRows]], lanes: range, nothing: LabelledRows) -> None:
        self._source, self._nothing = source, nothing
        self._queues: dict[int, deque[LabelledRows]] = {lane: deque() for lane in lanes}

    def take(self, lane: int, count: int) -> LabelledRows:
        """Takes the next `count` rows of a lane, reading on until they are there."""
        queue = self._queues[lane]
        parts: list[LabelledRows] = []
        while count:
            while not queue:
                found, rows = next(self._source)
                self._queues[found].append(rows)
            rows = queue.popleft()
            if len(rows) > count:
                queue.appendleft(rows.take(slice(count, None)))
                rows = rows.take(slice(count))
            parts.append(rows)
            count -= len(rows)
        return LabelledRows.join(parts) if parts else self._nothing
