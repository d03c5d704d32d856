"""Describes public logs: the names and layouts of their files, and what their columns mean."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace

from distributed_il.data.prepare.config import FileFormat, Rule

COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4")
"""Endings of compressed files, which are read as they are."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a delimited file looks like."""

    delimiter: str
    columns: tuple[str, ...] | None = None
    """Names of the columns where the file has no header."""
    may_have_header: bool = False
    """Whether a file read by position may begin with a line that names its columns."""
    quoted: bool = False
    """Whether a field may stand in quotation marks."""
    encoding: str | None = None
    """Of the characters; None for UTF-8."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """Names of the columns that matter; None or empty where a log has none such."""

    user: str = "user_id"
    item: str = "item_id"
    label: str | None = None
    rating: str | None = None
    play: str | None = None
    duration: str | None = None
    ratio: str | None = None
    time: str | None = None
    engagement: tuple[str, ...] = ()
    """Likes, follows, comments, forwards."""
    hate: str | None = None
    random: str | None = None
    """Whether an item was shown at random."""

    def named(self) -> tuple[str, ...]:
        """Lists all of them."""
        single = (getattr(self, name) for name in self.__slots__ if name != "engagement")
        return tuple(name for name in single if name) + self.engagement


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownLog:
    """A data set's log."""

    format: FileFormat
    """Its name as an option."""
    files: tuple[str, ...]
    """Patterns that its files' names fit, compression left out."""
    fields: Fields
    rule: Rule | None = None
    """How its values become labels unless told otherwise; None where the columns decide."""
    layout: Layout | None = None
    """Of files without a header; None for CSV with a header, or Parquet."""
    random_files: str | None = None
    """Pattern of files that hold nothing but items shown at random, or to everybody: an unbiased test set."""
    apart: bool = False
    """Whether its files are logs of their own, so that one has to be chosen."""
    integer_ids: bool = True
    """Whether ids are integers, so that another value is a mistake."""
    typed_header: bool = False
    """Whether the header names types after a colon."""
    first_line: str = ""
    """Pattern that the first line fits, where others may have files of such a name, too."""


TRIPLES = Layout("\t", ("user", "item", "value"))
_TENREC = "user_id item_id click follow like share video_category watching_times gender age"
_TIKTOK = "uid user_city item_id author_id item_city channel finish like music_id did creat_time video_duration"

KNOWN_LOGS = (
    KnownLog(
        format="movielens",
        files=("ratings.dat",),
        fields=Fields(user="user", item="item", rating="rating", time="timestamp"),
        rule="rating",
        layout=Layout("::", ("user", "item", "rating", "timestamp")),
    ),
    KnownLog(
        format="movielens100k",
        files=("u.data",),
        fields=Fields(user="user", item="item", rating="rating", time="timestamp"),
        rule="rating",
        layout=Layout("\t", ("user", "item", "rating", "timestamp")),
    ),
    KnownLog(
        format="kuairec",
        files=("big_matrix.*", "small_matrix.*"),
        fields=Fields(
            item="video_id", play="play_duration", duration="video_duration", ratio="watch_ratio", time="timestamp"
        ),
        rule="kuaishou",
        random_files="small_matrix.*",
    ),
    KnownLog(
        format="kuairand",
        files=("log_standard_*", "log_random_*"),
        fields=Fields(
            item="video_id",
            play="play_time_ms",
            duration="duration_ms",
            time="time_ms",
            engagement=("is_like", "is_follow", "is_comment", "is_forward"),
            hate="is_hate",
            random="is_rand",
        ),
        rule="kuaishou",
        random_files="log_random_*",
    ),
    KnownLog(
        format="kuaisar",
        files=("rec_inter.*",),
        fields=Fields(
            play="playing_time", duration="duration_ms", time="timestamp", engagement=("like", "follow", "forward")
        ),
        rule="kuaishou",
    ),
    KnownLog(
        format="tenrec",
        files=("QK-video.*", "QB-video.*"),
        fields=Fields(label="click"),
        rule="binary",
        layout=Layout(",", tuple(_TENREC.split()), may_have_header=True),
        apart=True,
    ),
    KnownLog(
        format="tiktok",
        files=("final_track2_train.*",),
        fields=Fields(user="uid", label="finish", time="creat_time"),
        rule="binary",
        layout=Layout("\t", tuple(_TIKTOK.split()), may_have_header=True),
    ),
    KnownLog(
        format="recbole",
        files=("*.inter",),
        fields=Fields(label="label", rating="rating", time="timestamp"),
        integer_ids=False,
        typed_header=True,
    ),
    KnownLog(
        format="mind",
        files=("behaviors.tsv",),
        fields=Fields(label="label", time="time"),
        rule="binary",
        layout=Layout("\t", ("impression_id", "user_id", "time", "history", "impressions")),
        integer_ids=False,
        first_line=r"[^\t]+\t[^\t]+\t\d+/\d+/\d+ [\d:]+ [AP]M\t",
    ),
    KnownLog(
        format="netflix",
        files=("combined_data_*.txt", "mv_*.txt"),
        fields=Fields(item="movie_id", rating="rating", time="date"),
        rule="rating",
        layout=Layout(",", ("user_id", "rating", "date")),
        first_line=r"\d+:\s",
    ),
)
"""In the order in which they are looked for."""
_BY_FORMAT = {log.format: log for log in KNOWN_LOGS}
_TRIPLES_LOG = KnownLog(
    format="triples",
    files=(),
    fields=Fields(user="user", item="item", label="value", rating="value"),
    layout=TRIPLES,
    integer_ids=False,
)
_NCF_LOG = KnownLog(
    format="ncf",
    files=(),
    fields=Fields(user="user", item="item", label="label", time="timestamp"),
    rule="binary",
    layout=Layout("\t", ("user", "item", "rating", "timestamp")),
    integer_ids=False,
)
"""NCF's: what is in a `.rating` is a positive, whatever its rating."""
ANY_LOG = KnownLog(
    format="csv",
    files=(),
    fields=Fields(
        label="label",
        rating="rating",
        play="play_time_ms",
        duration="duration_ms",
        ratio="watch_ratio",
        time="timestamp",
    ),
    integer_ids=False,
)
"""A log of the user's own, where no column is named otherwise."""
_HEADERS = tuple(
    replace(ANY_LOG, fields=replace(ANY_LOG.fields, user=user, item=item))
    for user, item in (("userId", "movieId"), ("user_id", "parent_asin"))
)
"""MovieLens since 2015 and Amazon 2023, which are read like anybody's but for what they call users and items."""
LOG_BESIDE = {"ratings.csv": "movies.csv"}
"""Files that are the only log of their folder where another lies beside them: MovieLens 20M, 25M, 32M and latest."""


def compression_of(name: str) -> str | None:
    """Returns what pyarrow calls the compression that a file's name tells; pyarrow minds upper and lower case."""
    codecs = dict(zip(COMPRESSIONS, ("gzip", "bz2", "zstd", "lz4"), strict=True))
    return next((codec for ending, codec in codecs.items() if name.lower().endswith(ending)), None)


def known_log(format: str) -> KnownLog:
    """Returns the log of a format; `ANY_LOG` for CSV and the like."""
    own = {"triples": _TRIPLES_LOG, "ncf": _NCF_LOG}
    return own.get(format) or _BY_FORMAT.get(format, ANY_LOG)


def plain_name(name: str) -> str:
    """Returns a file's own name in lower case, without the ending of a compression."""
    name = posixpath.basename(name).lower()
    return next((name.removesuffix(ending) for ending in COMPRESSIONS if name.endswith(ending)), name)


def log_of_name(name: str) -> KnownLog | None:
    """Returns the log whose files have such a name."""
    plain = plain_name(name)
    return next(
        (log for log in KNOWN_LOGS if any(fnmatch.fnmatchcase(plain, pattern.lower()) for pattern in log.files)), None
    )


def log_of_header(columns: Sequence[str]) -> KnownLog | None:
    """Returns the log whose columns are among these: of those with watch times all, of ratings users and items."""
    logs = (log for log in KNOWN_LOGS if log.layout is None and log.rule is not None)
    whole = next((log for log in logs if set(log.fields.named()) <= set(columns)), None)
    usual = {ANY_LOG.fields.user, ANY_LOG.fields.item}.intersection(columns)
    by_names = {frozenset((log.fields.user, log.fields.item)): log for log in _HEADERS}
    return whole or next((log for names, log in by_names.items() if usual < names <= set(columns)), None)


def shown_at_random(log: KnownLog, name: str) -> bool:
    """Returns whether a file of this log holds nothing but items shown at random."""
    return log.random_files is not None and fnmatch.fnmatchcase(plain_name(name), log.random_files.lower())


def is_parquet(name: str) -> bool:
    """Returns whether a file has a name of Parquet."""
    return name.lower().endswith((".parquet", ".pq"))


def text_layout(log: KnownLog, name: str, delimiter: str | None) -> Layout:
    """Returns the layout of a delimited file; below a header, a `delimiter` of None goes by the name of the file."""
    if log.layout is not None:
        return log.layout
    plain = plain_name(name)
    tab = log.typed_header or plain.endswith((".tsv", ".inter", ".txt"))
    # The public logs have no quotation marks; one that stands there is a mistake, not the begin of a quotation.
    return Layout(delimiter or ("\t" if tab else ","), quoted=log is ANY_LOG)
