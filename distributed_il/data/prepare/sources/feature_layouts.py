"""Opens files of side features: public ones by their names, others by what the user says and what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pyarrow.fs as pafs

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.config import PrepareConfig
from distributed_il.data.prepare.sources.delimited_pieces import DelimitedPieces
from distributed_il.data.prepare.sources.file_names import plain_format_of
from distributed_il.data.prepare.sources.file_pieces import open_pieces
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.known_logs import Layout, plain_name
from distributed_il.data.prepare.sources.pieces import RawPieces
from distributed_il.data.prepare.sources.text_lines import open_text
from distributed_il.data.prepare.sources.text_options import TextOptions

_GENRES = (
    "unknown Action Adventure Animation Children Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical "
    "Mystery Romance Sci-Fi Thriller War Western"
)
_FIRST_BYTES = 1 << 16
_LATIN = "latin-1"
_LAYOUTS = {
    "u.user": Layout("|", ("user_id", "age", "gender", "occupation", "zip_code"), encoding=_LATIN),
    "u.item": Layout(
        "|",
        ("item_id", "title", "release_date", "video_release_date", "imdb_url", *_GENRES.split()),
        encoding=_LATIN,
    ),
    "users.dat": Layout("::", ("user_id", "gender", "age", "occupation", "zip_code"), encoding=_LATIN),
    "movies.dat": Layout("::", ("item_id", "title", "genres"), encoding=_LATIN),
    "news.tsv": Layout(
        "\t",
        ("item_id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities"),
    ),
}
"""MovieLens-100K and -1M, and MIND: files without a header."""
_TYPED = (".user", ".item")
"""Endings of RecBole's, whose header names types after a colon."""


def open_features(
    config: PrepareConfig, kind: Literal["user", "item"], fs: pafs.FileSystem, path: str, wanted: Sequence[str]
) -> tuple[RawPieces, dict[str, str]]:
    """Opens a file of side features.

    Where the user names no delimiter, it is the log's if the file then has the columns that are `wanted`, else the one
    that its name and its first lines tell.

    Returns:
        The file, and its columns as it writes them by their names; of several of a name the last.

    Raises:
        UserError: It can't be read.
    """
    given: str = getattr(config, f"{kind}_features")
    own = _options(config, kind)
    typed = plain_name(given).endswith(_TYPED)
    raw = RawFile("all", given, path, plain_format_of(given))
    layout = _LAYOUTS.get(plain_name(given))
    if layout is not None and own == TextOptions(no_header=False) and _fits(fs, raw, layout, wanted):
        return DelimitedPieces(fs, raw, layout), {name: name for name in layout.columns or ()}
    log = TextOptions.of(config)
    found: list[tuple[RawPieces, list[str]]] = []
    usual = ["\t"] * typed + [log.delimiter, None]
    for delimiter in dict.fromkeys([own.delimiter] if own.delimiter else usual):
        pieces = open_pieces(fs, raw, replace(own, delimiter=delimiter, encoding=own.encoding or log.encoding))
        found.append((pieces, pieces.columns()))
        if set(wanted) <= {*_by_name(found[-1][1], typed=typed)}:
            break
    pieces, header = found[-1]
    return pieces, _by_name(header, typed=typed)


def _fits(fs: pafs.FileSystem, file: RawFile, layout: Layout, wanted: Sequence[str]) -> bool:
    """Returns whether the first line has the fields of a layout and does not name the columns itself."""
    try:
        with open_text(fs, file.path, layout.encoding) as stream:
            line = stream.read(_FIRST_BYTES).decode(errors="replace").partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise UserError(f"{file.name} can't be read ({error}); copy it anew") from error
    fields = line.split(layout.delimiter)
    return len(fields) == len(layout.columns or ()) and not set(wanted) <= {*fields}


def _options(config: PrepareConfig, kind: str) -> TextOptions:
    delimiter, encoding, header = (
        getattr(config, f"{kind}_features_{name}") for name in ("delimiter", "encoding", "header")
    )
    return TextOptions(
        delimiter="\t" if delimiter == "\\t" else delimiter,
        no_header=None if header else False,
        columns=tuple(header) if header else None,
        encoding=encoding,
    )


def _by_name(header: Sequence[str], *, typed: bool) -> dict[str, str]:
    return {name: name for name in header} | ({name.partition(":")[0]: name for name in header} if typed else {})
