"""Opens a raw file by its format, its name, and where these leave it open, its first lines."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.fs as pafs

from distributed_il.data.prepare.sources.delimited_pieces import DelimitedPieces
from distributed_il.data.prepare.sources.files import RawFile
from distributed_il.data.prepare.sources.first_lines import first_line, look_at
from distributed_il.data.prepare.sources.impression_pieces import ImpressionPieces
from distributed_il.data.prepare.sources.json_pieces import JsonPieces
from distributed_il.data.prepare.sources.known_logs import ANY_LOG, Layout, is_parquet, known_log, text_layout
from distributed_il.data.prepare.sources.list_pieces import ListPieces
from distributed_il.data.prepare.sources.negative_pieces import NegativePieces
from distributed_il.data.prepare.sources.netflix_pieces import NetflixPieces
from distributed_il.data.prepare.sources.parquet_pieces import ParquetPieces
from distributed_il.data.prepare.sources.partitions import PartitionedPieces, keys_of
from distributed_il.data.prepare.sources.pieces import RawPieces
from distributed_il.data.prepare.sources.text_options import TextOptions

_PAIR = 2


def open_pieces(fs: pafs.FileSystem, file: RawFile, options: TextOptions) -> RawPieces:
    """Opens a file, and makes columns of the keys of the folders that it lies in.

    Raises:
        UserError: It can't be read, or it is not clear what its first line is.
    """
    pieces, keys = _by_format(fs, file, options), keys_of(file.name)
    return PartitionedPieces(pieces, keys) if keys else pieces


def _by_format(fs: pafs.FileSystem, file: RawFile, options: TextOptions) -> RawPieces:
    log, names = known_log(file.format), (options.names["user"], options.names["item"])
    if file.format == "json":
        return JsonPieces(fs, file, options.encoding)
    if file.format == "adjacency":
        return ListPieces(fs, file, options.encoding, names)
    if file.format == "parquet" or (file.format != "csv" and log.layout is None and is_parquet(file.name)):
        return ParquetPieces(fs, file)
    layout = replace(text_layout(log, file.name, options.delimiter), encoding=options.encoding)
    if file.format == "mind":
        return ImpressionPieces(fs, file, options.encoding)
    if file.format == "netflix":
        return NetflixPieces(fs, file, options.encoding)
    if file.format in ("triples", "ncf"):
        return _of_triples(fs, file, layout)
    if log is not ANY_LOG:
        return DelimitedPieces(fs, file, layout)
    look = look_at(fs, file, layout, options)
    if look.layout is None:
        pieces = ListPieces(fs, file, options.encoding, names)
    else:
        pieces = DelimitedPieces(fs, file, look.layout)
    pieces.has_header, pieces.note = look.has_header, look.note
    return pieces


def _of_triples(fs: pafs.FileSystem, file: RawFile, layout: Layout) -> RawPieces:
    """Opens a file of triples, or one of NCF; where it holds no labels, a row is a positive for standing there."""
    first = first_line(fs, file, layout.encoding)
    if first.startswith("("):
        return NegativePieces(fs, file, layout.encoding)
    width = max(first.count(layout.delimiter) + 1, _PAIR)
    if file.format == "triples" and width > _PAIR:
        return DelimitedPieces(fs, file, layout)
    layout = replace(layout, columns=(layout.columns or ())[:width])
    pieces = PartitionedPieces(DelimitedPieces(fs, file, layout), {"label": "1"})
    if file.format == "triples":
        pieces.note = f"{file.name}: users and items alone, each row is a positive"
    return pieces
