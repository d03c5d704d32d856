"""Settings of the commands that use a trained model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from distributed_il.core.errors import UserError

Seen = Literal["leave_out", "keep"]
"""What becomes of items of a user's training rows and unclear watches where items are recommended."""
Cold = Literal["leave_out", "last", "prior"]
"""What becomes of items that the model does not know where items are ranked: they are left out, or come behind all
others, or stand where the mean over all training rows would."""

RESULT_COLUMNS = ("user_id", "rank", "item_id", "score", "answered_by")
"""Columns of recommendations, beside those of an item file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """Which trained model to use."""

    run_dir: str
    """Directory (or pyarrow URI) of the run."""
    data: str | None = None
    """Prepared dataset; by default the one that the run names. It must be the one that the run was trained on."""
    checkpoint: Literal["best", "last"] = "best"
    """Which model: that of the best round by `run.select_by`, or the last one."""
    allow_code: bool = False
    """Import the backbone that the checkpoint names as `module:Class`. It may do anything: for runs that you trust."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig(CheckpointConfig):
    """Which model to measure on which rows."""

    split: Literal["valid", "test"] = "test"
    """Which rows."""
    per_user: str | None = None
    """A Parquet file to write (path or pyarrow URI), with a row for each user of the split: `user_id`, `rows`,
    `positives`, recall@k and the other metrics of rankings, and those of labelled rows as `labelled_auc` and so on;
    null where one is not defined or the user is not ranked. The run's metrics are the means of these columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportConfig(CheckpointConfig):
    """Which model to export, and where to."""

    output: str
    """Local directory of the export; it must not exist, or be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultConfig(CheckpointConfig):
    """Where a result in parts goes, and how many of them are written at once."""

    output: str
    """Directory (or pyarrow URI) of the result, Parquet in parts; the same command resumes where it was stopped."""
    workers: int | None = None
    """Parts written at the same time, each on one CPU; null: as many as there are CPUs."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UserError(f"workers is {self.workers}; it must be at least 1, or null")


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsConfig(ResultConfig):
    """Which pairs to use the model on."""

    pairs: str | None = None
    """Pairs of external ids: Parquet or delimited text, as a file, a directory or a pattern; where the first line of a
    text is a row, its columns are user and item, in that order. Without pairs `annotate` takes the dataset's unclear
    ones, and `score` needs a split."""
    user_column: str | None = None
    """Column of user ids in the files of pairs; null: `user_id`, or where they have none, what the log called it that
    the dataset was prepared from."""
    item_column: str | None = None
    """Column of item ids; null: `item_id`, or likewise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotateConfig(PairsConfig):
    """Which pairs to annotate by which model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig(PairsConfig):
    """Which pairs to score by which model."""

    split: Literal["train", "valid", "test", "unclear"] | None = None
    """Rows of the dataset, instead of pairs."""

    def __post_init__(self) -> None:
        ResultConfig.__post_init__(self)
        if (self.pairs is None) == (self.split is None):
            raise UserError("give either pairs, files of external ids, or split, rows of the dataset")


@dataclass(frozen=True, kw_only=True, slots=True)
class SimilarConfig(ResultConfig):
    """Which items or users are most like which others by which model."""

    entity: Literal["items", "users"] = "items"
    """What is compared with its likes."""
    ids: str | None = None
    """External ids of those for which the most similar ones are wanted: Parquet or delimited text, as a file, a
    directory or a pattern; by default all of the dataset."""
    column: str | None = None
    """Column of ids in these files; null: item_id or user_id, or where they have none, what the log called it that the
    dataset was prepared from."""
    top: int = 20
    """K, the most similar ones of each."""

    def __post_init__(self) -> None:
        ResultConfig.__post_init__(self)
        if self.top < 1:
            raise UserError(f"top is {self.top}; it must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecommendConfig(ResultConfig):
    """For whom to find the best items by which model."""

    users: str | None = None
    """External user ids: Parquet or delimited text, as a file, a directory or a pattern; by default all users of the
    dataset."""
    histories: str | None = None
    """What users have watched, instead of `users`: files with columns of users and items, and of labels if they have
    them, 1, 0 or empty. Each user is folded in from these rows alone, without training."""
    user_column: str | None = None
    """Column of user ids in these files and in those of `exclude`; null: `user_id`, or where they have none, what the
    log called it that the dataset was prepared from."""
    item_column: str | None = None
    """Column of item ids in these files and those below; null: `item_id`, or likewise."""
    label_column: str | None = None
    """Column of labels in `histories`; null: `label`, or likewise, if they have one."""
    candidates: str | None = None
    """Items that may be recommended, files as of `users`; by default all."""
    exclude: str | None = None
    """Items that may not be, files as of `users`; those with a column of user ids say to whom."""
    item_file: str | None = None
    """What is known of items, such as titles: files as of `users`, a row for each item."""
    item_fields: list[str] = field(default_factory=list)
    """Columns of `item_file` that the result takes over."""
    top: int = 50
    """K, the items for each user."""
    min_score: float = 0.0
    """Least ŷ of what is recommended."""
    seen: Seen = "leave_out"
    """Whether items of the user's training rows and unclear watches are recommended again."""
    cold: Cold = "last"
    """Where items go that the model does not know, without labelled training rows or exposures: not at all, behind all
    others, or by the mean over all training rows, which may be above what the model knows."""

    def __post_init__(self) -> None:
        ResultConfig.__post_init__(self)
        if self.top < 1:
            raise UserError(f"top is {self.top}; it must be at least 1")
        if self.users and self.histories:
            raise UserError("give either users, ids of the dataset, or histories, of users who are folded in")
        if self.label_column and not self.histories:
            raise UserError(f"label_column is {self.label_column}; give histories, the files that it is of, too")
        if not 0 <= self.min_score <= 1:
            raise UserError(f"min_score is {self.min_score}; it is a probability, from 0 to 1")
        if bool(self.item_file) != bool(self.item_fields):
            raise UserError("give item_file and item_fields together: the file, and which of its columns")
        taken = [*RESULT_COLUMNS, *([self.item_column] if self.item_column else [])]
        for name in self.item_fields:
            if name in taken:
                raise UserError(
                    f"item_fields names {name}, which the result has already; leave it away, or rename that column of "
                    f"{self.item_file}"
                )
            taken.append(name)
