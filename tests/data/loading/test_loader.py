"""Passes over a prepared dataset: which rows form a batch, whatever the number of workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from small_datasets import make_small_dataset, random_rows, write_dataset

from distributed_il.data.dataset import Block, Dataset, LocalBlockReader
from distributed_il.data.lanes import TestSlots as Slots  # pytest collects names that begin with Test
from distributed_il.data.loading.batch import Batch, Phase
from distributed_il.data.loading.loader import BatchLayout, TrainingRows
from distributed_il.data.sampling import UnlabelledSampler

TRAIN = 1003  # lanes of 42 and 41 rows: blocks of 8 rows, 6 of them, the last one short
BATCH = 50
ALL, TRAINING_TRAIN = Phase("all", "all", unlabelled=False), Phase("train", "train", unlabelled=False)
TRAINING_TEST = Phase("test", "test", unlabelled=True)
PHASES = {phase.name: phase for phase in (ALL, TRAINING_TRAIN, TRAINING_TEST)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_small_dataset(tmp_path_factory.mktemp("batches") / "dataset", train=TRAIN, row_group_rows=8)


def training_rows(
    dataset: Dataset,
    rank: int = 0,
    world_size: int = 1,
    *,
    seed: int = 1,
    test_share: float = 0.1,
    global_batch: int = BATCH,
    rate: int = 2,
    sampler: bool = True,
) -> TrainingRows:
    return TrainingRows(
        dataset,
        LocalBlockReader(dataset),
        UnlabelledSampler(dataset.observed(), dataset.num_items, seed=seed, rate=rate) if sampler else None,
        BatchLayout(seed=seed, test_share=test_share, global_batch=global_batch, rank=rank, world_size=world_size),
        dtype=torch.float64,
        device=torch.device("cpu"),
    )


def flat(rows: TrainingRows, phase: Phase, round: int = 0, start_step: int = 0) -> list[Batch]:
    return [batch for window in rows.batches(phase, round=round, start_step=start_step) for batch in window]


def numbers(batches: list[Batch]) -> list[list[int]]:
    """The row numbers of each batch, in the order of the batch."""
    return [batch.row_numbers.tolist() for batch in batches]


def joined(dataset: Dataset, world_size: int, phase: Phase, round: int = 0) -> list[list[Batch]]:
    """The parts of every rank, by step."""
    ranks = [flat(training_rows(dataset, rank, world_size), phase, round) for rank in range(world_size)]
    return [list(parts) for parts in zip(*ranks, strict=True)]


def train_columns(dataset: Dataset) -> dict[str, np.ndarray]:
    """Columns of the training split by global row number."""
    columns = {name: np.full(TRAIN, -1) for name in ("user_id", "item_id", "label")}
    for lane in range(dataset.lanes):
        for block in dataset.blocks("train", lane):
            table = dataset.read_block(block, list(columns))
            places = (block.start + np.arange(block.rows)) * dataset.lanes + lane
            for name, values in columns.items():
                values[places] = table.column(name).to_numpy()
    return columns


def test_the_dataset_has_several_blocks_in_a_lane_and_lanes_of_two_lengths(dataset: Dataset) -> None:
    rows = [[block.rows for block in dataset.blocks("train", lane)] for lane in range(24)]
    assert rows[0] == [8, 8, 8, 8, 8, 2]
    assert rows[23] == [8, 8, 8, 8, 8, 1]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("world_size", [2, 3, 4, 8])
def test_a_global_batch_holds_the_same_rows_for_any_number_of_workers(
    dataset: Dataset, world_size: int, phase: str
) -> None:
    for round in (0, 3):
        alone = flat(training_rows(dataset), PHASES[phase], round)
        for whole, parts in zip(alone, joined(dataset, world_size, PHASES[phase], round), strict=True):
            together = torch.cat([part.row_numbers for part in parts])
            assert sorted(together.tolist()) == sorted(whole.row_numbers.tolist())
            assert whole.global_count == whole.row_numbers.numel() == whole.capacity
            for rank, part in enumerate(parts):
                assert part.global_count == whole.global_count
                assert part.row_numbers.numel() <= part.capacity
                assert (part.row_numbers % world_size == rank).all()
            assert part.capacity == max(part.row_numbers.numel() for part in parts)


@pytest.mark.parametrize("phase", PHASES)
def test_a_pass_has_every_row_of_its_subset_once_with_its_own_values(dataset: Dataset, phase: str) -> None:
    rows = training_rows(dataset)
    batches = flat(rows, PHASES[phase], round=1)
    found = torch.cat([batch.row_numbers for batch in batches])
    in_test = Slots(1, 0.1).mask(0, TRAIN // 24 + 1)[np.arange(TRAIN) // 24]
    expected = np.flatnonzero({"all": in_test | True, "train": ~in_test, "test": in_test}[phase])
    assert sorted(found.tolist()) == expected.tolist()
    columns = train_columns(dataset)
    for name, field in (("user_id", "user_ids"), ("item_id", "item_ids"), ("label", "labels")):
        values = torch.cat([getattr(batch, field) for batch in batches])
        assert values.tolist() == columns[name][found.numpy()].tolist()
    schedule = rows.schedule(PHASES[phase].subset)
    assert schedule.total == expected.size
    assert [batch.row_numbers.numel() for batch in batches] == [BATCH] * (expected.size // BATCH) + (
        [expected.size % BATCH] if expected.size % BATCH else []
    )
    assert len(batches) == schedule.steps


def test_training_train_and_training_test_make_up_the_whole(dataset: Dataset) -> None:
    rows = training_rows(dataset)
    parts = {name: {n for batch in numbers(flat(rows, phase)) for n in batch} for name, phase in PHASES.items()}
    assert parts["train"] | parts["test"] == parts["all"] == set(range(TRAIN))
    assert not parts["train"] & parts["test"]
    assert {n for batch in numbers(flat(rows, TRAINING_TEST, round=5)) for n in batch} == parts["test"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("world_size", [1, 2])
def test_a_pass_that_starts_late_has_exactly_the_remaining_batches(
    dataset: Dataset, phase: str, world_size: int
) -> None:
    rank = world_size - 1
    whole = flat(training_rows(dataset, rank, world_size), PHASES[phase], round=2)
    for start in sorted({*range(3), *range(0, len(whole), 5), len(whole) - 1, len(whole)}):
        late = flat(training_rows(dataset, rank, world_size), PHASES[phase], round=2, start_step=start)
        assert numbers(late) == numbers(whole)[start:]
        for ours, theirs in zip(late, whole[start:], strict=True):
            assert torch.equal(ours.user_ids, theirs.user_ids)
            assert torch.equal(ours.labels, theirs.labels)
            if ours.unlabelled is not None:
                assert theirs.unlabelled is not None
                assert torch.equal(ours.unlabelled.item_ids, theirs.unlabelled.item_ids)


def test_a_late_start_with_another_number_of_workers_has_the_remaining_rows(dataset: Dataset) -> None:
    whole = numbers(flat(training_rows(dataset), TRAINING_TRAIN, round=1))
    late = [flat(training_rows(dataset, rank, 3), TRAINING_TRAIN, round=1, start_step=7) for rank in range(3)]
    for expected, parts in zip(whole[7:], zip(*late, strict=True), strict=True):
        assert sorted(n for part in parts for n in part.row_numbers.tolist()) == sorted(expected)


class CountingReader(LocalBlockReader):
    """Notes how many blocks each read asks for."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.asked: list[int] = []

    def read(self, blocks: Sequence[Block], columns: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        self.asked.append(len(blocks))
        return super().read(blocks, columns)


def test_blocks_of_steps_already_taken_are_not_read(dataset: Dataset) -> None:
    rows = training_rows(dataset)
    rows._reader = reader = CountingReader(dataset)
    flat(rows, ALL)
    flat(rows, ALL, start_step=10)
    # 500 of 1003 rows were taken, 20 or 21 of a lane: two blocks of 8 (or one of 2 and two of 8) need no reading.
    assert reader.asked[0] == 24 * 6
    assert 24 * 3 <= reader.asked[1] <= 24 * 4


def test_training_test_rows_are_read_with_the_first_training_train_pass_and_never_again(dataset: Dataset) -> None:
    rows = training_rows(dataset)
    rows._reader = reader = CountingReader(dataset)
    for round in (0, 1):
        flat(rows, TRAINING_TRAIN, round)
        assert numbers(flat(rows, TRAINING_TEST, round)) == numbers(flat(training_rows(dataset), TRAINING_TEST, round))
    # The whole dataset in each training-train pass; the test passes ask for nothing.
    assert reader.asked == [24 * 6, 0, 24 * 6, 0]


def test_a_training_test_pass_reads_the_blocks_that_a_late_training_train_pass_left_out(dataset: Dataset) -> None:
    rows = training_rows(dataset)
    rows._reader = reader = CountingReader(dataset)
    flat(rows, TRAINING_TRAIN, start_step=10)
    assert numbers(flat(rows, TRAINING_TEST)) == numbers(flat(training_rows(dataset), TRAINING_TEST))
    assert reader.asked[0] + reader.asked[1] == 24 * 6
    assert reader.asked[1] > 0


def test_each_round_has_an_order_of_its_own_and_a_seed_repeats_it(dataset: Dataset) -> None:
    passes = [numbers(flat(training_rows(dataset), ALL, round)) for round in range(3)]
    assert numbers(flat(training_rows(dataset), ALL, 0)) == passes[0]
    sets = [[frozenset(batch) for batch in batches] for batches in passes]
    assert not set(sets[0]) & set(sets[1])
    assert not set(sets[1]) & set(sets[2])
    other = numbers(flat(training_rows(dataset, seed=2), ALL, 0))
    assert not {frozenset(batch) for batch in other} & set(sets[0])


@pytest.mark.parametrize("world_size", [2, 8])
def test_the_pairs_of_a_row_do_not_depend_on_the_number_of_workers(dataset: Dataset, world_size: int) -> None:
    def pairs_by_row(batches: Iterable[Batch]) -> dict[int, list[tuple[int, int, float]]]:
        found = {}
        for batch in batches:
            pairs = batch.unlabelled
            assert pairs is not None
            assert pairs.rate == 2
            assert pairs.user_ids.numel() == 2 * batch.user_ids.numel()
            assert torch.equal(pairs.user_ids, batch.user_ids.repeat_interleave(2))
            columns = (pairs.user_ids, pairs.item_ids, pairs.weight)
            for k, row in enumerate(batch.row_numbers.tolist()):
                found[row] = list(zip(*(column[2 * k : 2 * k + 2].tolist() for column in columns), strict=True))
        return found

    for round in (0, 1):
        alone = pairs_by_row(flat(training_rows(dataset), TRAINING_TEST, round))
        parts = joined(dataset, world_size, TRAINING_TEST, round)
        assert pairs_by_row(part for step in parts for part in step) == alone
        observed = {(u, i) for u, i in zip(*(train_columns(dataset)[c] for c in ("user_id", "item_id")), strict=True)}
        assert not {(u, i) for pairs in alone.values() for u, i, weight in pairs if weight} & observed


def test_windows_are_of_so_many_rows_and_do_not_show_in_the_batches(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = training_rows(dataset)
    whole = numbers(flat(rows, ALL))
    for window_rows, lengths in ((BATCH * 8 + 1, [8, 8, 5]), (1, [1] * 21)):
        monkeypatch.setattr("distributed_il.data.loading.loader.WINDOW_ROWS", window_rows)
        windows = list(rows.batches(ALL, round=0))
        assert [len(window) for window in windows] == lengths
        assert numbers([batch for window in windows for batch in window]) == whole


@pytest.mark.parametrize("train", [25, 7, 1])
def test_fewer_rows_than_lanes_or_than_workers(tmp_path_factory: pytest.TempPathFactory, train: int) -> None:
    dataset = make_small_dataset(tmp_path_factory.mktemp("few") / "dataset", train=train, num_users=10)
    for world_size in (1, 4):
        for phase in (ALL, TRAINING_TRAIN, TRAINING_TEST):
            parts = partial(training_rows, dataset, world_size=world_size, test_share=0.5, global_batch=6)
            ranks = [flat(parts(rank), phase) for rank in range(world_size)]
            alone = flat(parts(0, world_size=1), phase)
            for whole, step in zip(alone, zip(*ranks, strict=True), strict=True):
                together = [n for part in step for n in part.row_numbers.tolist()]
                assert sorted(together) == sorted(whole.row_numbers.tolist())


def test_tensors_have_the_types_that_batches_promise(dataset: Dataset) -> None:
    batch = flat(training_rows(dataset, rate=3), TRAINING_TEST)[0]
    pairs = batch.unlabelled
    assert pairs is not None
    for ids in (batch.user_ids, batch.item_ids, batch.row_numbers, pairs.user_ids, pairs.item_ids):
        assert ids.dtype == torch.int64
    assert batch.labels.dtype == pairs.weight.dtype == torch.float64
    assert flat(training_rows(dataset), TRAINING_TRAIN)[0].unlabelled is None


def test_a_phase_of_pairs_needs_a_sampler(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="no sampler was given"):
        flat(training_rows(dataset, sampler=False), TRAINING_TEST)


def test_fallback_pairs_and_undrawable_ones_are_counted_by_batch(tmp_path_factory: pytest.TempPathFactory) -> None:
    """28 of the 32 pairs of 4 users and 8 items are in training and one is logged, so some users have nothing left."""
    dataset = make_small_dataset(
        tmp_path_factory.mktemp("full") / "dataset", num_users=4, num_items=8, train=28, valid=2, test=1, unclear=1
    )
    rows = training_rows(dataset, test_share=0, rate=1, global_batch=10)
    rows._sampler = UnlabelledSampler(
        dataset.observed(), dataset.num_items, seed=1, source="logged", logged=dataset.logged()
    )
    batches = flat(rows, Phase("all", "all", unlabelled=True))
    fallback_pairs = undrawable = 0
    for batch in batches:
        pairs = batch.unlabelled
        assert pairs is not None
        assert pairs.undrawable == int((pairs.weight == 0).sum())
        fallback_pairs, undrawable = fallback_pairs + pairs.fallback_pairs, undrawable + pairs.undrawable
    observed = dataset.observed()
    logged = dataset.logged()
    assert logged is not None
    users = torch.cat([batch.user_ids for batch in batches]).numpy()
    none_logged, none_missing = logged.degrees(users) == 0, observed.degrees(users) == 8
    assert undrawable == int((none_logged & none_missing).sum())
    assert fallback_pairs == int((none_logged & ~none_missing).sum()) > 0


def test_weights_follow_their_rows_and_pairs_weigh_as_their_rows(tmp_path: Path) -> None:
    """On two ranks, of training-test rows too, which a file holds."""
    rng = np.random.default_rng(0)
    rows = random_rows(rng, 30, 40, {"train": 400, "valid": 50, "test": 50})
    size = rows["train"]["label"].size
    weights = rng.uniform(0.1, 9.0, size).astype(np.float32)
    rows["train"]["weight"] = weights
    dataset = write_dataset(tmp_path / "weighted", rows, num_users=30, num_items=40, row_group_rows=8)
    for phase in PHASES.values():
        seen: list[int] = []
        for rank in range(2):
            for batch in flat(training_rows(dataset, rank, 2), phase):
                assert batch.weights is not None
                numbers = batch.row_numbers.numpy()
                assert batch.weights.tolist() == weights[numbers].tolist()
                seen += numbers.tolist()
                if batch.unlabelled is not None:
                    of_pairs = np.where(batch.unlabelled.weight > 0, weights[numbers].repeat(2), 0)
                    assert batch.unlabelled.weight.tolist() == of_pairs.tolist()
        assert len(seen) == len(set(seen)) > 0
