"""The exposures of a dataset that training may know of: who was shown what, clear or not, held-out pairs left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.dataset import Dataset
from distributed_il.data.exposure import Exposures, Neighbours, transpose
from distributed_il.data.exposure.exposures import int32_array, rows_of

_CHUNK = 1 << 22
"""Entries that are compared at a time."""
_HELD_OUT = ("valid", "test")


@dataclass(frozen=True, eq=False, slots=True)
class TrainingExposures:
    """Exposures from both sides, and how many there were."""

    exposures: Exposures
    """The observed and the logged ones, in an index each: a pair in both counts twice."""
    counts: dict[str, int]
    """Exposures that count, by index."""
    left_out: dict[str, int]
    """Exposures of pairs that stand in valid or test, too, by index."""


def training_exposures(dataset: Dataset, scratch: Path) -> TrainingExposures:
    """Collects the exposures that training may know of.

    The index of logged pairs holds no pair that has a label in train, but those that have one in valid or test: a model
    that knew of them would know of some pairs that they are to be evaluated.

    Args:
        dataset: Whose.
        scratch: Directory for 8 bytes a row of valid and test and 8 bytes an exposure; the files have to stay while the
            exposures are used.

    Returns:
        The exposures, memory-mapped.
    """
    held_out = _held_out_pairs(dataset, scratch)
    by_user: dict[str, Neighbours] = {}
    left_out: dict[str, int] = {}
    for name, index in (("observed", dataset.observed()), ("logged", dataset.logged())):
        if index is not None:
            pairs = Neighbours(index.indptr, index.items)
            by_user[name], left_out[name] = _without(pairs, held_out, scratch / f"{name}_kept")
    by_item = [transpose(index, dataset.num_items, scratch / f"{name}_by_item") for name, index in by_user.items()]
    return TrainingExposures(
        Exposures(tuple(by_user.values()), tuple(by_item)),
        counts={name: index.ids.size for name, index in by_user.items()},
        left_out=left_out,
    )


def _held_out_pairs(dataset: Dataset, scratch: Path) -> NDArray[np.int64]:
    """Keys of the pairs of valid and test, ascending, mapped from a file."""
    rows = sum(dataset.rows(split) for split in _HELD_OUT)
    keys = np.memmap(scratch / "held_out", dtype=np.int64, mode="w+", shape=(rows,))
    start = 0
    for block in (
        block for split in _HELD_OUT for lane in range(dataset.lanes) for block in dataset.blocks(split, lane)
    ):
        table = dataset.read_block(block, ("user_id", "item_id"))
        users, items = (table.column(name).to_numpy() for name in ("user_id", "item_id"))
        keys[start : start + block.rows] = _keys(users, items)
        start += block.rows
    keys.sort()
    return keys


def _without(index: Neighbours, held_out: NDArray[np.int64], place: Path) -> tuple[Neighbours, int]:
    """Leaves pairs out of an index; returns what is left, mapped from `place`, and how many were left out."""
    kept, degrees, written = int32_array(index.ids.size, place), index.degrees(), 0
    for start in range(0, index.ids.size, _CHUNK):
        ids = index.ids[start : start + _CHUNK]
        users = rows_of(index.offsets, start, start + ids.size)
        keys = _keys(users, ids)
        near = held_out[np.searchsorted(held_out, keys[0]) : np.searchsorted(held_out, keys[-1], side="right")]
        found = np.zeros(ids.size, dtype=np.bool_)
        if near.size:
            found = near.take(np.searchsorted(near, keys), mode="clip") == keys
            first, last = int(users[0]), int(users[-1])
            degrees[first : last + 1] -= np.bincount(users[found] - first, minlength=last + 1 - first)
        rest = ids[~found]
        kept[written : written + rest.size] = rest
        written += rest.size
    if written == index.ids.size:
        place.unlink(missing_ok=True)
        return index, 0
    offsets = np.concatenate(([0], np.cumsum(degrees)))
    return Neighbours(offsets, kept[:written]), index.ids.size - written


def _keys(users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.int64]:
    return (users.astype(np.int64) << 31) | items
