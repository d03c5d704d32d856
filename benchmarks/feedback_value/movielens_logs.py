"""MovieLens-1M as logs of which a share is clear: labels kept at random, or by grade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distributed_il.core.counter_rng import SPLIT, hash_u64
from distributed_il.core.errors import UserError

SPLITS = ("train", "valid", "test")
UNCLEAR = -1
TRAIN_SHARE, VALID_SHARE = 0.7, 0.1
"""Of the rated rows of a graded log; the rest is for the test."""
_DEAL, _KEEP = 1, 2

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Pairs:
    """Labelled pairs, as arrays of one length."""

    users: Ints
    items: Ints
    labels: Ints
    """1, 0, or `UNCLEAR`."""

    def take(self, rows: NDArray[Any]) -> Pairs:
        """Some of them."""
        return Pairs(self.users[rows], self.items[rows], self.labels[rows])


@dataclass(frozen=True, eq=False, slots=True)
class Log:
    """What a dataset is made of, and what it is asked beside its test split."""

    splits: Mapping[str, Pairs]
    """Train, with unclear pairs, valid and test."""
    probes: Mapping[str, Pairs] = field(default_factory=dict[str, Pairs])
    """Further pairs whose labels the model has not seen, by name."""

    def write(self, place: Path) -> None:
        """Writes train.parquet, valid.parquet and test.parquet into a directory; an unclear label is null."""
        place.mkdir(parents=True, exist_ok=True)
        for split, pairs in self.splits.items():
            labels = pa.array(pairs.labels.astype(np.int8), mask=pairs.labels == UNCLEAR)
            pq.write_table(
                pa.table({"user_id": pairs.users, "item_id": pairs.items, "label": labels}), place / f"{split}.parquet"
            )


def random_log(source: str, share: float, seed: int) -> Log:
    """The published split; of the training labels a random share is kept, the others are unclear.

    Args:
        source: Directory of train.parquet, valid.parquet and test.parquet: user_id, item_id, label.
        share: Of the labels, above 0; 1 keeps all.
        seed: Of the choice.
    """
    splits = {split: _read(source, split, "label") for split in SPLITS}
    train = splits["train"]
    kept = _places(train.labels.size, seed, _KEEP) < round(share * train.labels.size)
    known = Pairs(train.users, train.items, np.where(kept, train.labels, UNCLEAR))
    return Log({**splits, "train": known}, {} if kept.all() else {"hidden": train.take(~kept)})


def graded_log(source: str, share: float, seed: int) -> Log:
    """The rated rows of valid and test dealt anew: 5 stars are positive, 1 and 2 negative, 3 and 4 unclear.

    Of the clear pairs of training a share is kept, the others join the unclear ones. A test row is positive from 4
    stars up; the probe `clear` is the clear ones among them. Valid holds clear pairs alone, as a log would.

    Args:
        source: Directory of valid.parquet and test.parquet: user_id, item_id, rating.
        share: Of the clear pairs of training, above 0; 1 keeps all.
        seed: Of the deal and of the choice.
    """
    parts = [_read(source, split, "rating") for split in SPLITS[1:]]
    users, items, ratings = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("users", "items", "labels")
    )
    place, size = _places(ratings.size, seed, _DEAL), ratings.size
    ends = round(TRAIN_SHARE * size), round((TRAIN_SHARE + VALID_SHARE) * size)
    in_train, in_valid, in_test = place < ends[0], (place >= ends[0]) & (place < ends[1]), place >= ends[1]
    by_grade = Pairs(users, items, np.where(ratings == 5, 1, np.where(ratings <= 2, 0, UNCLEAR)))
    clear = by_grade.labels != UNCLEAR
    candidates = np.flatnonzero(in_train & clear)
    hidden = candidates[_places(candidates.size, seed, _KEEP) >= round(share * candidates.size)]
    known = by_grade.labels.copy()
    known[hidden] = UNCLEAR
    splits = {
        "train": Pairs(users, items, known).take(in_train),
        "valid": by_grade.take(in_valid & clear),
        "test": Pairs(users, items, (ratings >= 4).astype(np.int64)).take(in_test),
    }
    probes = {"clear": by_grade.take(in_test & clear)}
    return Log(splits, probes | ({"hidden": by_grade.take(hidden)} if hidden.size else {}))


def _read(source: str, split: str, column: str) -> Pairs:
    path = f"{source}/{split}.parquet"
    try:
        table = pq.read_table(path, columns=["user_id", "item_id", column])
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(
            f"{path} can't be read ({error}); --source is a directory with MovieLens-1M as train.parquet, "
            "valid.parquet and test.parquet: user_id, item_id, label, in valid and test also rating"
        ) from error
    return Pairs(*(table.column(name).to_numpy().astype(np.int64) for name in ("user_id", "item_id", column)))


def _places(rows: int, seed: int, stream: int) -> Ints:
    """A random permutation: the place of each row in the order of the rows' hashes."""
    places = np.empty(rows, dtype=np.int64)
    places[np.argsort(hash_u64(seed, SPLIT, stream, np.arange(rows)), kind="stable")] = np.arange(rows)
    return places
