"""Options of a dataset's building, and the numbers of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from distributed_il.data.dataset import SPLITS, UNCLEAR, Dataset, Reading

ALL = "all"
"""The split of rows that are still to be split."""
PARTS = (*SPLITS, UNCLEAR)
"""What rows end up in, by number."""
TRAIN_PART, TEST_PART, UNCLEAR_PART, UNASSIGNED = 0, 2, 3, 4
"""Numbers of parts; `UNASSIGNED` marks rows that have none yet."""
SplitBy = Literal["random", "time", "last"]
"""How rows are split, see `PrepareConfig.split`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policies:
    """What to do with rows that get in each other's way; see `PrepareConfig`."""

    duplicates: Literal["last", "first", "error"] = "last"
    contradictions: Literal["last", "first", "drop", "error"] = "last"
    overlap: Literal["drop", "keep", "error"] = "drop"
    unseen: Literal["keep", "drop"] = "keep"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOptions:
    """How to build a dataset."""

    name: str
    """The dataset's name."""
    rule: Mapping[str, Any]
    """How raw values became labels, for the manifest."""
    split: SplitBy = "random"
    """How rows without a split are split; with `time` and `last` the tables have a column `time`."""
    shares: tuple[float, float] = (0.6, 0.2)
    """Shares of train and valid of a split at random or by time."""
    min_user_rows: int = 1
    """Users with fewer labelled rows are set aside."""
    min_item_rows: int = 1
    """Items likewise."""
    policies: Policies = field(default_factory=Policies)
    """What to do with rows that get in each other's way."""
    preference: bool = False
    """Whether the tables have a column `preference`."""
    weighted: bool = False
    """Whether the tables of training rows have a column `weight`."""
    lanes: int = 24
    """V, lanes that rows are dealt to."""
    row_group_rows: int = 65_536
    """Rows of a Parquet row group."""
    seed: int = 0
    """Decides the random split and the order of rows."""
    reading: Reading = field(default_factory=Reading)
    """How the raw files were read, for the manifest."""
    id_rule: str = ""
    """How external ids were read, for the manifest."""
    new_ids: bool = False
    """Whether a log may go on from `parent` that shares hardly any user or item with it."""
    parent: Dataset | None = None
    """A dataset that this one goes on from: its ids stay, and its rows keep their splits."""
    bucket_rows: int = 1_000_000
    """Rows that are in memory together; the result does not depend on it."""

    @property
    def timed(self) -> bool:
        """Whether rows carry their time."""
        return self.split != "random"
