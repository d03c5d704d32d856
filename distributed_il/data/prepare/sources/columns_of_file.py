"""Chooses the columns of raw files, their meaning, and the rule that makes labels of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS
from distributed_il.data.prepare.build.options import ALL, TRAIN_PART
from distributed_il.data.prepare.config import PrepareConfig, Rule
from distributed_il.data.prepare.sources.column_names import did_you_mean, shown_names
from distributed_il.data.prepare.sources.column_types import only_binary
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.known_logs import (
    ANY_LOG,
    Fields,
    KnownLog,
    known_log,
    log_of_header,
    shown_at_random,
)
from distributed_il.data.prepare.sources.pieces import RawPieces
from distributed_il.data.prepare.sources.text_options import VALUE

ROLES = ("user", "item", "label", "rating", "play", "duration", "ratio", "time", "hate", "random")
"""Meanings of columns, but for those of engagement; an option `…_column` names each."""
_VALUES = ("label", "rating", "play", "duration", "ratio")
_LISTED = 3
"""Files whose columns a message lists."""
ENGAGEMENT = "engagement-"
"""Columns of engagement are called so, with a number."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is read of a file."""

    log: KnownLog
    columns: dict[str, str]
    """Raw name by meaning: user, item, and what the rule and the split need."""


@dataclass(frozen=True, slots=True)
class _File:
    log: KnownLog
    fields: Fields
    header: list[str]
    keys: tuple[str, ...]
    """Columns that are keys of folders."""
    undecided: bool
    """Whether its values have to tell whether they are labels or ratings."""

    def raw(self, role: str) -> str | None:
        """Returns the raw name of the column with a meaning, if the file has it."""
        name = getattr(self.fields, role)
        return None if name is None else self.found(name)

    def found(self, name: str) -> str | None:
        """Returns a column as the header writes it."""
        if name in self.header or not self.log.typed_header:
            return name if name in self.header else None
        return next((column for column in self.header if column.partition(":")[0] == name), None)


def choose_columns(
    config: PrepareConfig,
    pieces: Mapping[RawFile, RawPieces],
    headers: Mapping[RawFile, list[str]],
    before: Mapping[str, str],
) -> tuple[Rule, dict[RawFile, Choice]]:
    """Chooses the rule, and what is read of each file, before any is read.

    Args:
        config: What the user wants.
        pieces: The files.
        headers: Names of the columns of each.
        before: What the log that this one goes on from called its columns, by meaning; a file that has such a column is
            read likewise where the user does not name another.

    Raises:
        UserError: A column is missing or twice there, or no rule fits the columns.
    """
    files = {file: _recognised(config, file, pieces[file], header, before) for file, header in headers.items()}
    for file, found in files.items():
        for role in ("user", "item"):
            _require(file, found, role)
    rule = _rule(config, pieces, files)
    if config.negative_below is not None and rule != "rating":
        raise UserError(
            f"negative_below is given, a threshold of ratings, and the rule of {next(iter(files)).name} is {rule}; "
            "leave it away, or set rule to rating and rating_column to the column of ratings"
        )
    # A log of nothing else is dealt like any other.
    flagged = config.unbiased == "test" and not all(
        shown_at_random(found.log, file.name) for file, found in files.items()
    )
    preference = all(config.preference_column in header for header in headers.values())
    choices: dict[RawFile, Choice] = {}
    for file, found in files.items():
        columns = {role: _require(file, found, role) for role in ("user", "item", *_needed(rule, found))}
        columns |= _optional(rule, file, found, flagged=flagged and file.split == "all")
        if config.split in ("time", "last") and file.split == "all" and not file.unbiased:
            columns["time"] = _require(file, found, "time")
        if preference:
            columns["preference"] = config.preference_column
        if config.weight_column is not None and file.split in (ALL, SPLITS[TRAIN_PART]) and not file.unbiased:
            columns["weight"] = _weights(file, found, config.weight_column)
        choices[file] = Choice(found.log, columns)
    return rule, choices


def _recognised(
    config: PrepareConfig, file: RawFile, pieces: RawPieces, header: list[str], before: Mapping[str, str]
) -> _File:
    log = known_log(file.format)
    if log is ANY_LOG and config.format == "auto":
        log = log_of_header(header) or log
    by_position = pieces.has_header is False and VALUE in header
    if by_position:
        log = replace(log, fields=replace(log.fields, label=VALUE, rating=VALUE))
    if file.format == "triples" and VALUE not in header:
        log = replace(log, fields=replace(log.fields, label="label", rating=None))
    given = {role: getattr(config, f"{role}_column") for role in ROLES}
    named = {role: name for role, name in given.items() if name}
    there = {role: name for role, name in before.items() if name in header and name not in named.values()}
    fields = replace(log.fields, **{role: name for role, name in there.items() if role in ROLES} | named)
    engagement = [name for role, name in sorted(there.items()) if role.startswith(ENGAGEMENT)]
    if engagement:
        fields = replace(fields, engagement=tuple(engagement))
    if config.engagement_columns is not None:
        fields = replace(fields, engagement=tuple(config.engagement_columns))
    return _File(log, fields, header, pieces.keys, file.format == "triples" or by_position)


def _needed(rule: Rule, file: _File) -> tuple[str, ...]:
    if rule == "kuaishou" or (rule == "watch_ratio" and not file.raw("ratio")):
        return ("play", "duration")
    if rule == "rating" and file.fields.rating is None:
        return ("label",)  # its rows are positive and negative for where they stand
    return {"watch_ratio": ("ratio",), "rating": ("rating",), "binary": ("label",), "positive": ()}[rule]


def _optional(rule: Rule, file: RawFile, found: _File, *, flagged: bool) -> dict[str, str]:
    """Columns that some logs have, or that the user has named."""
    columns: dict[str, str] = {}
    roles = ["random"] * flagged + ["hate"] * (rule == "kuaishou")
    for role in roles:
        # A known log has its columns: one with a damaged name is not to pass for one without it.
        if getattr(found.fields, role) is not None:
            columns[role] = _require(file, found, role)
    if rule == "kuaishou":
        for number, name in enumerate(found.fields.engagement):
            if found.found(name) is None:
                raise _missing(file, found, name)
            columns[f"{ENGAGEMENT}{number}"] = name
    if rule == "watch_ratio" and found.raw("play"):
        columns["play"] = _require(file, found, "play")
    return columns


def _require(file: RawFile, found: _File, role: str) -> str:
    """Returns the raw name of a column that has to be there, once."""
    name = getattr(found.fields, role)
    raw = found.raw(role)
    if raw is None or found.header.count(raw) != 1:
        raise _missing(file, found, name or role, role)
    return raw


def _weights(file: RawFile, found: _File, name: str) -> str:
    raw = found.found(name)
    if raw is None or found.header.count(raw) != 1:
        raise UserError(
            f"{file.name} has no column {name!r} of weights, or several, only {shown_names(found.header)}; set "
            "weight_column to the column of training rows' weights, or leave it away"
        )
    return raw


def _missing(file: RawFile, found: _File, name: str, role: str = "") -> UserError:
    count = found.header.count(name)
    state = f"has {count} columns called" if count else "has no column"
    there = {role for role in ("label", "rating") if found.raw(role)}
    asked = [role for role in ("user", "item", role) if role] + [one for one in ("rating", "label") if not there]
    cure = did_you_mean(((one, getattr(found.fields, one) or one) for one in dict.fromkeys(asked)), found.header)
    return UserError(
        f"{file.name} {state} {name!r}, only {shown_names(found.header)}{cure}; name the columns by the options "
        "user_column, item_column, label_column and rating_column, and for watches play_column, duration_column, "
        "ratio_column and time_column; if its first line is a row, give --no_header"
    )


def _rule(config: PrepareConfig, pieces: Mapping[RawFile, RawPieces], files: Mapping[RawFile, _File]) -> Rule:
    if config.rule != "auto":
        return config.rule
    own: set[Rule | None] = {found.log.rule for found in files.values()}
    if len(own) == 1 and (rule := own.pop()) is not None:
        return rule
    if any(file.format == "triples" for file in files) or all(found.undecided for found in files.values()):
        valued = [of_file for file, of_file in pieces.items() if files[file].found(VALUE)]
        binary = all(only_binary(piece.batch.column(0)) for of_file in valued for piece in of_file.read([VALUE]))
        return "binary" if binary else "rating"
    wanted: tuple[tuple[Rule, tuple[str, ...]], ...] = (
        ("binary", ("label",)),
        ("rating", ("rating",)),
        ("kuaishou", ("play", "duration")),
        ("watch_ratio", ("ratio",)),
    )
    for rule, roles in wanted:
        if all(found.raw(role) for found in files.values() for role in roles):
            return rule
    if _names_pairs_alone(config, files):
        return "positive"
    label, rating = config.label_column or "label", config.rating_column or "rating"
    listed = "; ".join(f"{file.name}: {shown_names(found.header)}" for file, found in list(files.items())[:_LISTED])
    cure = did_you_mean((("rating", rating), ("label", label)), next(iter(files.values())).header)
    raise UserError(
        f"neither {label!r} nor {rating!r} is a column of every file ({listed}), nor are there watch times{cure}; "
        "name the column by label_column or rating_column, or those of watches by play_column and duration_column; "
        "where each row is a positive, set rule to positive"
    )


def _names_pairs_alone(config: PrepareConfig, files: Mapping[RawFile, _File]) -> bool:
    """Returns whether no file says more of a pair than that it occurred, and when."""
    if any(getattr(config, f"{role}_column") for role in _VALUES):
        return False
    return all(
        set(found.header) - {name for role in ("user", "item", "time") if (name := found.raw(role))} <= set(found.keys)
        for found in files.values()
    )
