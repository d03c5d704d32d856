"""What the commands that use a trained model are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distributed_il.core.errors import UserError

SplitName = Literal["train", "valid", "test", "unclear"]


def _require_workers(workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; it must be at least 1, or null")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig:
    """Which pairs to score by which model."""

    run_dir: str
    """Directory (or pyarrow URI) of the run."""
    output: str
    """Directory (or pyarrow URI) of the result, Parquet in parts; the same command goes on where it was stopped."""
    pairs: str | None = None
    """Pairs of external ids: a Parquet or CSV file, or a directory of such; give these or a split."""
    split: SplitName | None = None
    """Rows of the dataset."""
    user_column: str = "user_id"
    """Column of user ids in the files of pairs."""
    item_column: str = "item_id"
    """Column of item ids."""
    data: str | None = None
    """Prepared dataset; by default the one that the run names. It must be the one that the run was trained on."""
    checkpoint: Literal["best", "last"] = "best"
    """Which model: that of the best round by validation loss, or the last one."""
    workers: int | None = None
    """Parts made side by side, each on one CPU; null: as many as there are CPUs."""

    def __post_init__(self) -> None:
        _require_workers(self.workers)
        if (self.pairs is None) == (self.split is None):
            raise UserError("give either pairs, a file of external ids, or split, rows of the dataset")


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotateConfig:
    """Which pairs to annotate by which model."""

    run_dir: str
    """Directory (or pyarrow URI) of the run."""
    output: str
    """Directory (or pyarrow URI) of the result, Parquet in parts; the same command goes on where it was stopped."""
    pairs: str | None = None
    """Pairs of external ids: a Parquet or CSV file, or a directory of such; by default the dataset's unclear ones."""
    user_column: str = "user_id"
    """Column of user ids in the files of pairs."""
    item_column: str = "item_id"
    """Column of item ids."""
    data: str | None = None
    """Prepared dataset; by default the one that the run names. It must be the one that the run was trained on."""
    checkpoint: Literal["best", "last"] = "best"
    """Which model: that of the best round by validation loss, or the last one."""
    workers: int | None = None
    """Parts made side by side, each on one CPU; null: as many as there are CPUs."""

    def __post_init__(self) -> None:
        _require_workers(self.workers)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecommendConfig:
    """For whom to find the best items by which model."""

    run_dir: str
    """Directory (or pyarrow URI) of the run."""
    output: str
    """Directory (or pyarrow URI) of the result, Parquet in parts; the same command goes on where it was stopped."""
    users: str | None = None
    """External user ids: a Parquet or CSV file, or a directory of such; by default all users of the dataset."""
    user_column: str = "user_id"
    """Column of user ids in these files."""
    top: int = 50
    """K, the items for each user."""
    seen: Literal["leave_out", "keep"] = "leave_out"
    """Whether items of the user's training rows and unclear watches are recommended again."""
    data: str | None = None
    """Prepared dataset; by default the one that the run names. It must be the one that the run was trained on."""
    checkpoint: Literal["best", "last"] = "best"
    """Which model: that of the best round by validation loss, or the last one."""
    workers: int | None = None
    """Parts made side by side, each on one CPU; null: as many as there are CPUs."""

    def __post_init__(self) -> None:
        _require_workers(self.workers)
        if self.top < 1:
            raise UserError(f"top is {self.top}; it must be at least 1")
