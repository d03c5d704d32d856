"""Raw logs with damage, and what a slow reader that shares no code with the package makes of them.

Every damaged log has to end in a clear error, or in exactly the rows that its whole lines say, the others counted as
rejects. The slow reader goes line by line and takes nothing but what a person would take for a value.
"""

from __future__ import annotations

import bz2
import gzip
import io
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distributed_il.errors import UserError
from distributed_il.prepare.prepare_config import PrepareConfig
from distributed_il.prepare.raw_files import find_files
from distributed_il.prepare.raw_reading import open_source

Row = tuple[str, str, int | None]
"""User, item, label, ids as text."""
_INTEGER = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NULLS = ("", "null", "NULL", "none", "None", "nan", "NaN", "NA")
_BLANKS = " \t\v\f"
_LINE_END = re.compile(rb"\r\n|\r|\n")


class _BadError(Exception):
    """A line is no row."""


def _number(text: str) -> float:
    text = text.strip(_BLANKS)
    if not _NUMBER.fullmatch(text):
        raise _BadError
    value = float(text)
    if abs(value) == float("inf"):
        raise _BadError
    return value


def _flag(text: str) -> bool:
    value = _number(text)
    if value not in (0.0, 1.0):
        raise _BadError
    return value == 1.0


def _amount(text: str) -> float:
    value = _number(text)
    if value < 0:
        raise _BadError
    return value


def _watch(play: str, duration: str, likes: Sequence[str] = (), hate: str = "0") -> int | None:
    length = 0.0 if duration in _NULLS else _amount(duration)
    watched, liked, hated = _amount(play), [_flag(like) for like in likes], _flag(hate)
    if hated:
        return 0
    if any(liked):
        return 1
    if not length:
        return None
    if watched >= min(18_000, length):
        return 1
    return 0 if watched < min(3_000, length) else None


def _label(text: str) -> int | None:
    return None if text in _NULLS else int(_flag(text))


def _rating(text: str) -> int:
    return int(_number(text) > 2)


@dataclass(frozen=True, slots=True)
class Log:
    """A small log in one of the formats."""

    format: str
    file: str
    delimiter: str
    header: str
    """Empty where there is none."""
    lines: tuple[str, ...]
    user: int
    """Place of the user's column."""
    item: int
    label: Callable[[list[str]], int | None]
    """From the fields of a line; raises `_BadError`."""
    used: tuple[int, ...]
    """Places of the columns that are read, which have to be UTF-8."""
    integer_ids: bool = True
    quoted: bool = False

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return ("\n".join([self.header] * bool(self.header) + list(self.lines)) + "\n").encode()


def _lines(template: Callable[[int, int, int], str]) -> tuple[str, ...]:
    return tuple(template(101 + n % 7, 2_000 + 13 * n % 31, n) for n in range(24))


LOGS = (
    Log(
        "movielens",
        "ratings.dat",
        "::",
        "",
        _lines(lambda u, i, n: f"{u}::{i}::{1 + n % 5}::97830{n}"),
        0,
        1,
        lambda f: _rating(f[2]),
        (0, 1, 2),
    ),
    Log(
        "movielens100k",
        "u.data",
        "\t",
        "",
        _lines(lambda u, i, n: f"{u}\t{i}\t{1 + n % 5}\t97830{n}"),
        0,
        1,
        lambda f: _rating(f[2]),
        (0, 1, 2),
    ),
    Log(
        "kuairec",
        "big_matrix.csv",
        ",",
        "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio",
        _lines(
            lambda u, i, n: f"{u},{i},{1_500 * n},{9_000 + n},2020-07-05 05:27:48.378,20200705,1593898068.378,0.{n}"
        ),
        0,
        1,
        lambda f: _watch(f[2], f[3]),
        (0, 1, 2, 3),
    ),
    Log(
        "kuairand",
        "log_standard_4_08_to_4_21_1k.csv",
        ",",
        "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
        "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab",
        _lines(
            lambda u, i, n: (
                f"{u},{i},20220408,1000,1649383200000,1,{n % 2},0,0,0,{int(n % 5 == 0)},0,{1_500 * n},{9_000 + n},"
                "0,0,0,0,1"
            )
        ),
        0,
        1,
        lambda f: _random(f[17], _watch(f[12], f[13], f[6:10], f[10])),
        (0, 1, 6, 7, 8, 9, 10, 12, 13, 17),
    ),
    Log(
        "kuaisar",
        "rec_inter.csv",
        ",",
        "user_id,item_id,playing_time,duration_ms,time,timestamp,click,forward,like,follow,search,search_item_related",
        _lines(
            lambda u, i, n: f"{u},{i},{1_500 * n},{9_000 + n},2023-05-22 00:00:01,1684684801000,1,0,{n % 2},0,0,{n % 3}"
        ),
        0,
        1,
        lambda f: _watch(f[2], f[3], f[7:10]),
        (0, 1, 2, 3, 7, 8, 9),
    ),
    Log(
        "tenrec",
        "QK-video.csv",
        ",",
        "user_id,item_id,click,follow,like,share,video_category,watching_times,gender,age",
        _lines(lambda u, i, n: f"{u},{i},{n % 2},0,1,0,3,{n},1,2"),
        0,
        1,
        lambda f: _label(f[2]),
        (0, 1, 2),
    ),
    Log(
        "tiktok",
        "final_track2_train.txt",
        "\t",
        "",
        _lines(lambda u, i, n: f"{u}\t-1\t{i}\t7\t-1\t0\t{n % 2}\t0\t-1\t9\t5308633{n}\t10"),
        0,
        2,
        lambda f: _label(f[6]),
        (0, 2, 6),
    ),
    Log(
        "recbole",
        "x.inter",
        "\t",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        _lines(lambda u, i, n: f"u{u}\t{i}\t{1 + n % 5}\t97830{n}"),
        0,
        1,
        lambda f: _rating(f[2]),
        (0, 1, 2),
        integer_ids=False,
    ),
    Log(
        "csv",
        "log.csv",
        ",",
        "user_id,title,item_id,label",
        _lines(lambda u, i, n: f"{u},a film,i{i},{('1', '0', '')[n % 3]}"),
        0,
        2,
        lambda f: _label(f[3]),
        (0, 2, 3),
        integer_ids=False,
        quoted=True,
    ),
)


def _random(flag: str, label: int | None) -> int | None:
    _flag(flag)
    return label


@dataclass(frozen=True, slots=True)
class Found:
    """What a reader made of a log."""

    rows: list[Row]
    rejected: int
    doubtful: int = 0
    """Lines that the slow reader does not decide about: they hold quotation marks."""


def read_slowly(log: Log, data: bytes, *, integers: tuple[bool, bool]) -> Found | None:
    """The rows that the bytes of a log say.

    Args:
        log: Its format.
        data: Its bytes, damaged or not.
        integers: Whether ids of users and of items are integers.

    Returns:
        Them; None where the header is not what it was, so that an error is due.
    """
    lines = [line for line in _LINE_END.split(data.removeprefix(b"\xef\xbb\xbf")) if line]
    header = log.header.encode()
    if log.format == "tenrec":
        # Read by position: a first line that does not name the columns is a row, and a bad one.
        if lines and lines[0][: len(b"user_id")].lower() == b"user_id":
            lines = lines[1:]
    elif header:
        if not lines or lines[0] != header:
            return None
        lines = lines[1:]
    found = Found([], 0)
    rejected = doubtful = 0
    for line in lines:
        if log.quoted and b'"' in line:
            doubtful += 1
            continue
        try:
            found.rows.append(_row(log, line, integers))
        except _BadError:
            rejected += 1
    return Found(found.rows, rejected, doubtful)


def _row(log: Log, line: bytes, integers: tuple[bool, bool]) -> Row:
    fields = line.split(log.delimiter.encode())
    width = len(log.lines[0].split(log.delimiter))
    # Where two colons separate, a single one is a slip.
    stray = log.delimiter == "::" and b":" in b"".join(fields)
    if stray or len(fields) != width:
        raise _BadError
    texts = [""] * width
    for place in log.used:
        try:
            texts[place] = fields[place].decode()
        except UnicodeDecodeError:
            raise _BadError from None
        if "\x1a" in texts[place]:  # stands for what is no text
            raise _BadError
    ids = [_id(texts[place], integer) for place, integer in zip((log.user, log.item), integers, strict=True)]
    return ids[0], ids[1], log.label(texts)


def _id(text: str, integer: bool) -> str:
    if not text:
        raise _BadError
    if not integer:
        return text
    text = text.strip(_BLANKS)
    if not _INTEGER.fullmatch(text) or not 0 <= int(text) < 2**63:
        raise _BadError
    return str(int(text))


def read_with_package(directory: Path, file: str, **options: Any) -> tuple[Found, tuple[bool, bool]]:
    """What the package makes of a file.

    Returns:
        Its rows, and whether ids of users and items are integers.

    Raises:
        UserError: It refuses it.
    """
    config = PrepareConfig(source=str(directory / file), output=str(directory / "out"), **options)
    reader = open_source(config, find_files(config))
    rows: list[Row] = []
    integers = (True, True)
    for _, table in reader.tables():
        integers = (pa.types.is_integer(table["user"].type), pa.types.is_integer(table["item"].type))
        values = (table["user"].to_pylist(), table["item"].to_pylist(), table["label"].to_pylist())
        rows += [(str(user), str(item), label) for user, item, label in zip(*values, strict=True)]
    reader.findings.rejects.table(reader.lines)
    return Found(rows, reader.findings.rejects.count), integers


@dataclass(frozen=True, slots=True)
class Case:
    """One damaged log and how it is read."""

    log: Log
    data: bytes
    """As text, or compressed, or Parquet."""
    ending: str = ""
    """Of the compression."""
    max_reject_share: float = 0.0


_UNPACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress}


def problem(case: Case, directory: Path) -> str:
    """What is wrong with how the package reads a damaged log.

    Args:
        case: The log.
        directory: Empty; the file is written there and removed.

    Returns:
        The fault; empty where there is none. Other exceptions than `UserError` come through.
    """
    path = directory / (case.log.file + case.ending)
    path.write_bytes(case.data)
    try:
        found, integers = read_with_package(directory, path.name, max_reject_share=case.max_reject_share)
    except UserError as error:
        if not str(error):
            return "an error without words"
        if case.ending:  # readers of archives differ in what they forgive
            return ""
        found, integers = None, (case.log.integer_ids, case.log.integer_ids)
    finally:
        path.unlink()
    try:
        data = _UNPACK[case.ending](case.data)
    except (OSError, EOFError, zlib.error, ValueError):
        return "" if found is None else "a damaged archive was read"
    return _fault(case, data, found, integers)


def _fault(case: Case, data: bytes, found: Found | None, integers: tuple[bool, bool]) -> str:
    expected = read_slowly(case.log, data, integers=integers)
    if found is None:
        if expected is None or expected.rejected or expected.doubtful or not expected.rows:
            return ""
        # Text whose first ids are of another kind than the later ones is told, not guessed at.
        return "" if not case.log.integer_ids else "a whole log was refused"
    if expected is None:
        return "" if _columns_still_there(case.log, data) else "a log without its header was read"
    if expected.doubtful:
        missing = [row for row in expected.rows if row not in found.rows]
        return f"rows of whole lines are missing: {missing[:3]}" if missing else ""
    # KuaiRand's rows that were shown at random come apart from the others.
    if case.log.format == "kuairand":
        found = replace(found, rows=sorted(found.rows, key=str))
        expected = replace(expected, rows=sorted(expected.rows, key=str))
    if found.rows != expected.rows:
        wrong = [(ours, slow) for ours, slow in zip(found.rows, expected.rows, strict=False) if ours != slow]
        return f"{len(found.rows)} rows for {len(expected.rows)}, differing first: {wrong[:1]}"
    if found.rejected != expected.rejected:
        return f"{found.rejected} rejects counted for {expected.rejected}"
    return "" if not found.rejected or case.max_reject_share else "bad rows were let through"


def _columns_still_there(log: Log, data: bytes) -> bool:
    """Whether a changed header still names all columns that are read."""
    first = next((line for line in _LINE_END.split(data.removeprefix(b"\xef\xbb\xbf")) if line), b"")
    # What stands behind the colon of RecBole's names, a type, is not read.
    names = [name.partition(":")[0].encode() for name in log.header.split(log.delimiter)]
    texts = [text.partition(b":")[0] for text in first.replace(b'"', b"").split(log.delimiter.encode())]
    return all(names[place] in texts for place in log.used)


INTERESTING = (
    *(b"", b"-1", b"0", b"1", b"2", b"nan", b"inf", b"-inf", b"1e400", b"9" * 25, b"0x10", b" 7", b"+5", b"null"),
    *(b"1.5", b"-0", b"1e3", b"\xff", b"\x00", b'"', b'"a', b"\r", b"\xef\xbb\xbf", "١".encode(), b"::", b"NA", b"007"),
)
"""Fields that readers trip over."""
BYTES = b"0123456789,\t:;\"\n\r \x00\xff-+.eExX'\\"
"""Bytes likewise."""


def damage(data: bytes, rng: np.random.Generator, delimiter: bytes) -> bytes:
    """Damages bytes in one to three ways.

    Args:
        data: At least a byte.
        rng: Decides how and where.
        delimiter: Of fields.
    """
    for _ in range(int(rng.integers(1, 4))):
        data = _DAMAGES[int(rng.integers(len(_DAMAGES)))](data, rng, delimiter) or b"\n"
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(len(data) + 1))


def _byte(rng: np.random.Generator) -> bytes:
    return BYTES[(n := int(rng.integers(len(BYTES)))) : n + 1] if rng.random() < 0.7 else rng.bytes(1)


def _replace(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    place = _place(data, rng)
    return data[:place] + _byte(rng) + data[place + 1 :]


def _insert(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    place = _place(data, rng)
    return data[:place] + _byte(rng) + data[place:]


def _delete(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + int(rng.integers(1, 9)) :]


def _truncate(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    return data[: _place(data, rng)]


def _repeat(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    start = _place(data, rng)
    part = data[start : start + int(rng.integers(1, 60))]
    place = _place(data, rng)
    return data[:place] + part + data[place:]


def _field(data: bytes, rng: np.random.Generator, delimiter: bytes) -> bytes:
    lines = data.split(b"\n")
    number = int(rng.integers(len(lines)))
    fields = lines[number].split(delimiter)
    fields[int(rng.integers(len(fields)))] = INTERESTING[int(rng.integers(len(INTERESTING)))]
    lines[number] = delimiter.join(fields)
    return b"\n".join(lines)


def _noise(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    place = _place(data, rng)
    return data[:place] + rng.bytes(int(rng.integers(1, 20))) + data[place:]


def _drop_line(data: bytes, rng: np.random.Generator, _: bytes) -> bytes:
    lines = data.split(b"\n")
    del lines[int(rng.integers(len(lines)))]
    return b"\n".join(lines)


_DAMAGES = (_replace, _replace, _insert, _delete, _truncate, _repeat, _field, _field, _field, _noise, _drop_line)


def parquet_bytes(rows: int = 200) -> bytes:
    """A log as Parquet, whose pages carry checksums."""
    numbers = np.arange(rows)
    table = pa.table(
        {
            "user_id": numbers % 17,
            "item_id": [f"item-{n}" for n in numbers],
            "label": pa.array([(1, 0, None)[n % 3] for n in numbers], pa.int8()),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=rows // 2, write_page_checksum=True)
    return sink.getvalue()


def parquet_problem(data: bytes, whole: Sequence[Row], directory: Path) -> str:
    """What is wrong with how the package reads a damaged Parquet file: it has its rows, or is refused.

    Args:
        data: The bytes.
        whole: The rows of the undamaged file.
        directory: Empty.
    """
    path = directory / "log.parquet"
    path.write_bytes(data)
    try:
        found, _ = read_with_package(directory, path.name)
    except UserError:
        return ""
    finally:
        path.unlink()
    return "" if found.rows == list(whole) else f"{len(found.rows)} rows, other than those of the whole file"
