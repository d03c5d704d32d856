"""What the user says of text files: what parts their fields, what their columns are called, how they are encoded."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field

from distributed_il.data.prepare.config import PrepareConfig

VALUE = "value"
"""Column of labels or of ratings, of which its values have the say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextOptions:
    """Options of text files."""

    delimiter: str | None = None
    """None goes by the name of the file, and by its first lines."""
    no_header: bool | None = None
    """None goes by the first lines."""
    columns: tuple[str, ...] | None = None
    """Names of the columns of files without a header; None goes by their number."""
    encoding: str | None = None
    """None is UTF-8."""
    names: dict[str, str] = field(default_factory=lambda: {"user": "user_id", "item": "item_id", "time": "timestamp"})
    """What columns are called that are known by their position; `value` is that of labels or ratings, if it is known
    which of the two it is."""
    named: frozenset[str] = frozenset()
    """Columns that the user has named."""
    alone: str | None = None
    """What the only column of a file is called; None where rows have more of them."""
    can_be_told: bool = True
    """Whether the user can say what a first line is, by the options `no_header` and `columns`."""

    @classmethod
    def of(cls, config: PrepareConfig) -> TextOptions:
        """Takes those of `prepare`."""
        names = {"user": config.user_column or "user_id", "item": config.item_column or "item_id"}
        names["time"] = config.time_column or "timestamp"
        if config.label_column or config.rule == "binary":
            names[VALUE] = config.label_column or "label"
        elif config.rating_column or config.rule == "rating":
            names[VALUE] = config.rating_column or "rating"
        roles = ("user", "item", "label", "rating", "time", "play", "duration", "ratio", "hate", "random")
        given = [getattr(config, f"{role}_column") for role in roles] + (config.engagement_columns or [])
        columns = None if config.columns is None else tuple(names.get(name, name) for name in config.columns)
        return cls(
            # A shell hands on a backslash and a t where a tab is meant.
            delimiter="\t" if config.delimiter == "\\t" else config.delimiter,
            no_header=config.no_header,
            columns=columns,
            encoding=None if config.encoding is None or _is_utf8(config.encoding) else config.encoding,
            names=names,
            named=frozenset(name for name in given if name),
        )


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "ascii", "utf-8-sig")
