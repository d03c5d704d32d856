"""What `distributed-il prepare` is told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from distributed_il.errors import UserError

Format = Literal["auto", "triples", "movielens", "csv", "parquet"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareConfig:
    """Raw feedback in, dataset out."""

    source: str
    """File or directory (or pyarrow URI) of the raw feedback."""
    output: str
    """Directory (or pyarrow URI) of the dataset; it must not exist, or be empty."""
    name: str | None = None
    """The dataset's name; the source's own name by default."""
    format: Format = "auto"
    """`triples` (X.train.rating, X.valid.rating, X.test.negative: user, item, value; tab, no header), `movielens`
    (ratings.dat), `csv` (with a header), `parquet`; `auto` goes by the names of the files."""

    train: str | None = None
    """Training file, relative to the source, or a pattern such as `train/*.parquet`; give all three splits or none.
    Without them the rows are dealt at random, unless the source holds files named train, valid and test."""
    valid: str | None = None
    """Validation file or pattern."""
    test: str | None = None
    """Test file or pattern."""
    train_share: float = 0.6
    """Share of the labelled rows that a random split gives to train."""
    valid_share: float = 0.2
    """Share that it gives to valid; test gets the rest."""

    user_column: str = "user_id"
    """Column of user ids, integers from 0 up or strings."""
    item_column: str = "item_id"
    """Column of item ids, likewise."""
    label_column: str = "label"
    """Column of labels: 1, 0, or null where the feedback is unclear."""
    rating_column: str = "rating"
    """Column of ratings."""
    preference_column: str = "preference"
    """Column of true preferences, kept beside the rows where every file has it, and never read by training."""
    delimiter: str | None = None
    """What separates the fields of a CSV file; by default a tab in .tsv, .inter and .txt files, else a comma."""
    id_type: Literal["auto", "integer", "string"] = "auto"
    """How ids are read; `auto`: as integers where they are."""

    rule: Literal["auto", "rating", "binary"] = "auto"
    """`binary`: labels as they stand; `rating`: 1 above the threshold, else 0. `auto`: `binary` where there are labels
    (in triples: where no value but 0 and 1 occurs), else `rating`."""
    positive_above: float = 2.0
    """Threshold of `rating`: a rating above it is positive."""

    duplicates: Literal["last", "first", "error"] = "last"
    """Which of several equal rows of a pair in one split is kept."""
    contradictions: Literal["last", "first", "drop", "error"] = "last"
    """Which row of a pair is kept where its labels in one split differ."""
    overlap: Literal["drop", "keep", "error"] = "drop"
    """A pair of several splits: `drop` keeps it in the first of train, valid, test alone."""
    unseen: Literal["keep", "drop"] = "keep"
    """Rows of valid and test whose user or item has no training row."""

    lanes: int = 24
    """Lanes that rows are dealt to; every number of workers that trains on the dataset has to divide it."""
    row_group_rows: int = 65_536
    """Rows of a Parquet row group."""
    seed: int = 0
    """Decides the random split and the order of rows."""

    def __post_init__(self) -> None:
        if not (0 < self.train_share < 1 and self.valid_share > 0 and self.train_share + self.valid_share < 1):
            raise UserError(
                f"train_share {self.train_share} and valid_share {self.valid_share} must be above 0 and leave some "
                "rows for test: their sum must be below 1"
            )
        if not math.isfinite(self.positive_above):
            raise UserError(f"positive_above is {self.positive_above}; it must be a finite number")
        given = [name for name in ("train", "valid", "test") if getattr(self, name)]
        if given and len(given) < 3:
            raise UserError(f"only {' and '.join(given)} is given; give train, valid and test, or none of them")
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise UserError(f"delimiter is {self.delimiter!r}; it must be one character")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; it must be 0 or above")
        columns = [self.user_column, self.item_column, self.label_column, self.rating_column]
        if len(set(columns)) < len(columns):
            raise UserError(f"user, item, label and rating column must be four names, not {', '.join(columns)}")
