"""The configuration of `distributed-il prepare`."""

from __future__ import annotations

import codecs
import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from distributed_il.core.errors import UserError, require, require_not_negative, require_seed

_OF_FEATURE_FILE = ("id", "delimiter", "separator", "encoding", "header")
"""Options of a file of side features; `user_features_` or `item_features_` stands before them."""
MAX_FACTORS = 512
"""More columns would cost a training step more than they are worth."""

FileFormat = Literal[
    "triples",
    "ncf",
    "movielens",
    "movielens100k",
    "kuairec",
    "kuairand",
    "kuaisar",
    "tenrec",
    "tiktok",
    "recbole",
    "mind",
    "netflix",
    "csv",
    "adjacency",
    "json",
    "parquet",
]
"""Formats of raw files."""
Format = Literal["auto", FileFormat]
"""The same, or `auto`."""
Rule = Literal["kuaishou", "watch_ratio", "rating", "binary", "positive"]
"""How values become labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareConfig:
    """Raw feedback in, dataset out."""

    source: str = ""
    """File, directory or pattern such as `logs/2024-*.csv.gz` (or pyarrow URI) of the raw feedback; .gz, .bz2, .zst and
    .lz4 are read as they are."""
    output: str
    """Directory (or pyarrow URI) of the dataset; it must not exist, or be empty."""
    append_to: str | None = None
    """A prepared dataset (directory or URI) that the new one goes on from: users and items keep their ids, new ones
    come after them; all its rows are in the new one, in the same splits, and new rows are split among themselves. A new
    labelled row of a pair that it has a label for is set aside. Columns, rule and split are those of its log where they
    are not given."""
    new_ids: bool = False
    """Go on from `append_to` though the log shares hardly any user, or hardly any item, with it."""
    name: str | None = None
    """The dataset's name; the source's own name by default."""
    format: Format = "auto"
    """`triples` (X.train.rating, X.valid.rating, X.test.negative: user, item, value, or user, item, where each row is a
    positive; tab, no header), `ncf` (X.train.rating, X.test.negative, where each rating is a positive), `movielens`
    (ratings.dat), `movielens100k` (u.data), `kuairec`, `kuairand`, `kuaisar`, `tenrec`, `tiktok` (ICME 2019), `recbole`
    (X.inter), `mind` (behaviors.tsv), `netflix` (combined_data_*.txt, mv_*.txt), `csv`, `adjacency` (a user and their
    items in a line), `json` (an object in a line), `parquet`; `auto` goes by the names of the files, and by their first
    lines."""

    train: str | None = None
    """Training file, relative to the source, or a pattern such as `train/*.parquet`; give all three splits, or train
    and test, so that valid gets its share of train, or none. Without them the rows are split at random, unless the
    source holds files named train, valid and test."""
    valid: str | None = None
    """Validation file or pattern."""
    test: str | None = None
    """Test file or pattern."""
    split: Literal["auto", "random", "time", "last"] = "auto"
    """How rows without a split are split. `auto`: as those of `append_to` were, else at random. `random`: by shares;
    `time`: the earliest share to train, the next to valid, the latest to test; `last`: of each user the latest row to
    test, the one before to valid (users of fewer than three rows stay in train)."""
    train_share: float = 0.6
    """Share of the labelled rows that a split at random or by time gives to train."""
    valid_share: float = 0.2
    """Share that it gives to valid; test gets the rest."""

    user_column: str | None = None
    """Column of user ids, integers from 0 up or strings; by default the format's own, else `user_id`."""
    item_column: str | None = None
    """Column of item ids, likewise; else `item_id`."""
    label_column: str | None = None
    """Column of labels: 1, 0, or null where the feedback is unclear; else `label`."""
    rating_column: str | None = None
    """Column of ratings; else `rating`."""
    play_column: str | None = None
    """Column of how long a user watched; else `play_time_ms`."""
    duration_column: str | None = None
    """Column of how long the item is, in the same unit; else `duration_ms`."""
    ratio_column: str | None = None
    """Column of watch time over duration; else `watch_ratio`."""
    watch_time_unit: Literal["ms", "s"] = "ms"
    """Unit of watch times and durations."""
    time_column: str | None = None
    """Column of when it happened, a number or a date; read where the split goes by time; else `timestamp`."""
    engagement_columns: list[str] | None = None
    """Columns of 0 and 1 that tell of likes, follows, comments and forwards."""
    hate_column: str | None = None
    """Column of 0 and 1 that tells of dislikes."""
    random_column: str | None = None
    """Column of 0 and 1: whether the item was shown at random."""
    weight_column: str | None = None
    """Column of weights of training rows, finite numbers above 0: the loss is then a weighted mean, and metrics are as
    ever. Of rows of one pair the one that is kept keeps its own weight; rows of `append_to` without weights weigh 1."""
    preference_column: str = "preference"
    """Column of true preferences, kept beside the rows where every file has it, and never read by training."""
    delimiter: str | None = None
    """What separates the fields of a CSV file, one character or several (`::`), or `\\t`; by default a tab in .tsv,
    .inter and .txt files, else a comma, or where that does not occur, what the first lines tell."""
    no_header: bool | None = None
    """Whether a CSV file has no line that names its columns; by default its first line tells. Without `columns` they
    are told by position: user, item, rating or label (label where there is nothing but 0 and 1), timestamp."""
    columns: list[str] | None = None
    """Names of the columns of a CSV file without a header, in their order; user, item and time are those that the
    options name, as they do the others."""
    encoding: str | None = None
    """How CSV files are encoded, such as latin-1; UTF-8 by default."""
    id_type: Literal["auto", "integer", "string"] = "auto"
    """How ids are read. `auto`: text is integers only where each one of the column is written as that integer (or each
    as 7.0), and a text column of Parquet is text; words like NA and NULL are missing ids. `integer`: by value, so that
    007 is 7. `string`: as they stand."""

    user_features: str | None = None
    """CSV (with a header, compressed or not) or Parquet file of side features, a row for each user; a user without a
    row, or with an empty field, has an unknown value."""
    user_feature_columns: list[str] | None = None
    """Its categorical columns to take: text or whole numbers."""
    user_features_id: str | None = None
    """Its column of user ids; by default it is called as in the log, or else `user_id`."""
    user_features_delimiter: str | None = None
    """What separates its fields; by default what separates those of the log, if its header then has these columns, else
    what its name and its first lines tell."""
    user_features_separator: str | None = None
    """What separates the values of a field that holds several, such as `|` in `Comedy|Drama` or a blank in RecBole's
    columns of the types token_seq and float_seq; lists of Parquet and JSON hold several without it. A model takes the
    mean of their embeddings. Without it a field is one value."""
    user_features_encoding: str | None = None
    """How it is encoded; by default as the log."""
    user_features_header: list[str] | None = None
    """Names of its columns, in their order, where it has no header. `u.user`, `u.item`, `users.dat`, `movies.dat`,
    `news.tsv` and RecBole's `.user` and `.item` are known."""
    item_features: str | None = None
    """The same for items."""
    item_feature_columns: list[str] | None = None
    """Its categorical columns to take."""
    item_features_id: str | None = None
    """Its column of item ids; by default it is called as in the log, or else `item_id`."""
    item_features_delimiter: str | None = None
    """As of users, for items."""
    item_features_separator: str | None = None
    """Likewise."""
    item_features_encoding: str | None = None
    """Likewise."""
    item_features_header: list[str] | None = None
    """Likewise."""

    rule: Literal["auto", Rule] = "auto"
    """`kuaishou`: 0 where the user hated it; else 1 where they liked, followed, commented, forwarded, or watched it to
    its end or for `long_view_s`; else 0 where they left within `short_play_s`; else unclear. `watch_ratio`: 1 from
    `high_ratio` up, 0 up to `low_ratio`, else unclear. `rating`: 1 above `positive_above`, else 0, or where
    `negative_below` is given, 0 below that, else unclear. `binary`: labels as they stand. `positive`: each row is a
    positive. `auto`: that of the format; else `binary` where there are labels (in triples: where no value but 0 and 1
    occurs), `rating` where there are ratings, `kuaishou` where there are watch times, `positive` where there is nothing
    but users, items and times."""
    short_play_s: float = 3.0
    """Threshold of `kuaishou`: a shorter play that is no complete one is negative."""
    long_view_s: float = 18.0
    """Threshold of `kuaishou`: a play of this length or of the whole item is positive."""
    high_ratio: float = 1.0
    """Threshold of `watch_ratio`; 2.0 and 0.7 are in use, too."""
    low_ratio: float = 0.2
    """Threshold of `watch_ratio`."""
    positive_above: float = 2.0
    """Threshold of `rating`: a rating above it is positive."""
    negative_below: float | None = None
    """Threshold of `rating`: a rating below it is negative, and what lies between the two, both of them included, is
    unclear; null: what is not positive is negative."""
    unbiased: Literal["test", "mix"] = "test"
    """Rows whose item was shown at random or to everybody (KuaiRand's `is_rand`, KuaiRec's small matrix): `test`: they
    alone make the test split, and the others are split into train and valid; `mix`: as all others."""
    max_reject_share: float = 0.0
    """Share of rows that may be bad; they are then set aside in the dataset's rejects.csv. By default the first is an
    error."""

    duplicates: Literal["last", "first", "error"] = "last"
    """Which of several equal rows of a pair in one split is kept: the last in the source, or where the split goes by
    time, the latest."""
    contradictions: Literal["last", "first", "drop", "error"] = "last"
    """Which row of a pair is kept where its labels in one split differ."""
    overlap: Literal["drop", "keep", "error"] = "drop"
    """A pair of several splits: `drop` keeps it in the first of train, valid, test alone."""
    unseen: Literal["keep", "drop"] = "keep"
    """Rows of valid and test whose user or item has no training row."""

    min_user_rows: int = 1
    """Users with fewer labelled rows are set aside, and items likewise, until all that are left have enough."""
    min_item_rows: int = 1
    """Items with fewer labelled rows are set aside."""

    factors: int | None = None
    """Exposure factors of each user and item, computed from who watched what in training, labels aside, and kept beside
    the dataset; 0: none. By default 16 below 100,000 labelled training rows and 32 from there on, or none where the log
    is too small for them. With append_to the basis of that dataset stays, and new ids are folded in."""
    factors_tau: float | None = None
    """How strongly the factors of users and items of few watches are shrunken, as a multiple of the mean number of
    watches; by default 0.3 where labelled rows are at least half of the watches, else 1."""
    factors_only: bool = False
    """Compute the factors of the dataset that `output` is already; nothing else about it changes. Factors computed
    before stay on disk for the runs that were trained with them. On a dataset that has grown by append_to the new ones
    are aligned to those that were folded in, so that a model of before can be trained on; with another number of
    factors they can't be, and such a model is refused."""

    lanes: int = 24
    """Lanes that rows are dealt to; every number of workers that trains on the dataset has to divide it."""
    row_group_rows: int = 65_536
    """Rows of a Parquet row group."""
    seed: int = 0
    """Decides the random split and the order of rows."""
    workers: int = 1
    """Files that are read side by side, each on one CPU of the cluster or of this machine, by Ray Data; 1: one after
    another in this process, without Ray. The dataset is the same."""

    def __post_init__(self) -> None:
        self._check_factors()
        if not (0 < self.train_share < 1 and self.valid_share > 0 and self.train_share + self.valid_share < 1):
            raise UserError(
                f"train_share {self.train_share} and valid_share {self.valid_share} must be above 0 and leave some "
                "rows for test: their sum must be below 1"
            )
        given = [name for name in ("train", "valid", "test") if getattr(self, name)]
        if given and not {"train", "test"} <= set(given):
            raise UserError(f"only {' and '.join(given)} is given; give train and test, perhaps valid, or none of them")
        self._check_append()
        for name in ("min_user_rows", "min_item_rows", "workers"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least 1")
        self._check_text()
        require_seed("seed", self.seed)
        columns = [self.user_column or "user_id", self.item_column or "item_id"]
        columns += [self.label_column or "label", self.rating_column or "rating"]
        if len(set(columns)) < len(columns):
            raise UserError(f"user, item, label and rating column must be four names, not {', '.join(columns)}")
        named = ("user", "item", "label", "rating", "play", "duration", "ratio", "time", "hate", "random")
        columns = [name for name in (getattr(self, f"{role}_column") for role in named) if name]
        columns += self.engagement_columns or []
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise UserError(f"the column {twice[0]!r} is named for two things; give each column one")
        self._check_features("user")
        self._check_features("item")
        self._check_thresholds()

    def _check_factors(self) -> None:
        if self.factors is not None and not 0 <= self.factors <= MAX_FACTORS:
            raise UserError(f"factors is {self.factors}; it must lie between 1 and {MAX_FACTORS}, or be 0 for none")
        if self.factors_tau is not None:
            require_not_negative("factors_tau", self.factors_tau)
        if self.factors == 0 and (self.factors_tau is not None or self.factors_only):
            also = "factors_only" if self.factors_only else "factors_tau"
            raise UserError(f"factors is 0, which is none, and {also} is given; give one of them alone")
        if not self.factors_only:
            require(self.source != "", "source is missing; give it as --source=…")
            return
        needed = {"output", "factors", "factors_tau", "factors_only"}
        for field in dataclasses.fields(self):
            if field.name not in needed and getattr(self, field.name) != field.default:
                raise UserError(
                    f"factors_only computes the factors of a dataset that is there; leave {field.name} away, or leave "
                    "factors_only away to prepare a new one"
                )

    def _check_text(self) -> None:
        if self.delimiter is not None and (not self.delimiter or set(self.delimiter) & set('\r\n"')):
            raise UserError(f"delimiter is {self.delimiter!r}; it must be one or several characters within a line")
        if self.columns is not None and self.no_header is False:
            raise UserError("columns names those of files without a header, and no_header is false; give one of them")
        twice = sorted({name for name in self.columns or () if (self.columns or []).count(name) > 1})
        if twice:
            raise UserError(f"columns names {twice[0]!r} twice; give each column a name of its own")
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError as error:
            raise UserError(f"encoding is {self.encoding!r}; it must be one such as latin-1 or utf-16") from error

    def _check_append(self) -> None:
        if self.append_to is not None and max(self.min_user_rows, self.min_item_rows) > 1:
            raise UserError("min_user_rows and min_item_rows must be 1 with append_to: its users and items stay")
        if self.append_to is not None and self.overlap == "keep":
            raise UserError("overlap must not be keep with append_to: rows of pairs that it has are set aside")
        if self.append_to is None and self.new_ids:
            raise UserError("new_ids is given; give append_to, the dataset to which its ids are new, too")

    def _check_features(self, kind: str) -> None:
        file, columns = getattr(self, f"{kind}_features"), getattr(self, f"{kind}_feature_columns")
        if file is not None and not columns and self.append_to is None:
            raise UserError(f"{kind}_features is given; give {kind}_feature_columns, such as '[age, gender]', too")
        of_file = ("feature_columns", *(f"features_{name}" for name in _OF_FEATURE_FILE))
        also = next((f"{kind}_{name}" for name in of_file if getattr(self, f"{kind}_{name}") is not None), None)
        require(getattr(self, f"{kind}_features_separator") != "", f"{kind}_features_separator is empty; leave it away")
        if file is None and also:
            raise UserError(f"{also} is given; give {kind}_features, the file that it is of, too")
        if columns and len(set(columns)) < len(columns):
            raise UserError(f"{kind}_feature_columns names a column twice: {', '.join(columns)}; name each once")

    def _check_thresholds(self) -> None:
        self._check_ratings()
        if not 0 < self.short_play_s <= self.long_view_s < math.inf:
            raise UserError(
                f"short_play_s {self.short_play_s} must be above 0 and at most long_view_s {self.long_view_s}"
            )
        if not 0 <= self.low_ratio < self.high_ratio < math.inf:
            raise UserError(f"low_ratio {self.low_ratio} must be at least 0 and below high_ratio {self.high_ratio}")
        if not 0 <= self.max_reject_share < 1:
            raise UserError(f"max_reject_share is {self.max_reject_share}; it must be at least 0 and below 1")

    def _check_ratings(self) -> None:
        above, below = self.positive_above, self.negative_below
        for name, value in (("positive_above", above), ("negative_below", below)):
            if value is not None and not math.isfinite(value):
                raise UserError(f"{name} is {value}; it must be a finite number")
        if below is None:
            return
        if self.rule not in ("auto", "rating"):
            raise UserError(f"negative_below is given, and rule is {self.rule}; it is a threshold of rule rating alone")
        if below > above:
            raise UserError(
                f"negative_below {below:g} is greater than positive_above {above:g}, so that a rating between them "
                "would be negative and positive; set positive_above to it or higher, or leave it away: then all that "
                "is not positive is negative"
            )
