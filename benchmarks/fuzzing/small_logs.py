"""A small log in each format, and what its columns mean to a person: no code of the package is shared."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Row = tuple[str, str, int | None]
"""User, item, label, ids as text."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
NULLS = ("", "null", "NULL", "none", "None", "nan", "NaN", "NA")
"""Words of a missing value."""
BLANKS = " \t\v\f"
"""Characters that may stand around a number."""


class BadError(Exception):
    """A line is no row."""


def _number(text: str) -> float:
    text = text.strip(BLANKS)
    if not _NUMBER.fullmatch(text):
        raise BadError
    value = float(text)
    if abs(value) == float("inf"):
        raise BadError
    return value


def _flag(text: str) -> bool:
    value = _number(text)
    if value not in (0.0, 1.0):
        raise BadError
    return value == 1.0


def _amount(text: str) -> float:
    value = _number(text)
    if value < 0:
        raise BadError
    return value


def _watch(play: str, duration: str, likes: Sequence[str] = (), hate: str = "0") -> int | None:
    length = 0.0 if duration in NULLS else _amount(duration)
    watched, liked, hated = _amount(play), [_flag(like) for like in likes], _flag(hate)
    if hated:
        return 0
    if any(liked):
        return 1
    length = length or float("inf")
    if watched >= min(18_000, length):
        return 1
    return 0 if watched < min(3_000, length) else None


def _label(text: str) -> int | None:
    return None if text in NULLS else int(_flag(text))


def _rating(text: str) -> int:
    return int(_number(text) > 2)


def _random(flag: str, label: int | None) -> int | None:
    _flag(flag)
    return label


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
    """From the fields of a line; raises `BadError`."""
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
    Log(
        "csv",
        "numbers.csv",
        ",",
        "user_id,item_id,label",
        _lines(lambda u, i, n: f"{u},{i}.0,{n % 2}"),
        0,
        1,
        lambda f: _label(f[2]),
        (0, 1, 2),
        integer_ids=False,
        quoted=True,
    ),
)
