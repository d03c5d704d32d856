"""Finds the raw files of a source, and tells their formats and splits by their names."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow.fs as pafs

from distributed_il.dataset import SPLITS, SourceFile, filesystem
from distributed_il.dataset.files import sha256_of
from distributed_il.errors import UserError
from distributed_il.prepare.build_options import ALL
from distributed_il.prepare.prepare_config import Format, PrepareConfig

FileFormat = Literal["triples", "movielens", "csv", "parquet"]
_SUFFIXES: dict[str, FileFormat] = {
    ".rating": "triples",
    ".negative": "triples",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".inter": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_TRIPLES = {"train": ".train.rating", "valid": ".valid.rating", "test": ".test.negative"}
_MOVIELENS = "ratings.dat"


@dataclass(frozen=True, slots=True)
class RawFile:
    """One raw file."""

    split: str
    """`train`, `valid`, `test`, or `all` where the rows are still to be dealt."""
    name: str
    """Relative to the source."""
    path: str
    """On the source's filesystem."""
    format: FileFormat


@dataclass(frozen=True, slots=True)
class RawSource:
    """The raw files that a dataset is made from."""

    filesystem: pafs.FileSystem
    name: str
    """The source's own name."""
    files: tuple[RawFile, ...]
    """Those of train first, then valid, then test; in order of name within a split."""

    def fingerprints(self) -> Iterator[SourceFile]:
        """Size and SHA-256 of each file, read anew."""
        for file in self.files:
            size = self.filesystem.get_file_info(file.path).size
            yield SourceFile(path=file.name, bytes=size, sha256=sha256_of(self.filesystem, file.path))


def find_files(config: PrepareConfig) -> RawSource:
    """Finds the files to read.

    Args:
        config: Source, format, and names of the splits' files where given.

    Returns:
        The files.

    Raises:
        UserError: The source is not there, or it does not tell what to read.
    """
    fs, root = filesystem(config.source)
    info = fs.get_file_info(root)
    if info.type == pafs.FileType.NotFound:
        raise UserError(f"{config.source} does not exist; give the file or directory of the raw feedback as source")
    name = posixpath.basename(root)
    if info.type == pafs.FileType.File:
        if config.train:
            raise UserError(f"{config.source} is a file; with train, valid and test, give their directory as source")
        return RawSource(fs, name, (RawFile(ALL, name, root, _format_of(name, config.format)),))
    listing = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    present = sorted(posixpath.relpath(i.path, root) for i in listing if i.type == pafs.FileType.File)
    by_split = _given(config, present) if config.train else _guessed(config, present)
    files = tuple(
        RawFile(split, name, posixpath.join(root, name), _format_of(name, config.format))
        for split, names in by_split.items()
        for name in names
    )
    return RawSource(fs, name, files)


def _format_of(name: str, wanted: Format) -> FileFormat:
    if wanted != "auto":
        return wanted
    if posixpath.basename(name) == _MOVIELENS:
        return "movielens"
    plain = name.removesuffix(".gz")
    for suffix, found in _SUFFIXES.items():
        if plain.endswith(suffix):
            return found
    raise UserError(f"{name}: the name does not tell the format; give format: triples, movielens, csv or parquet")


def _given(config: PrepareConfig, present: list[str]) -> dict[str, list[str]]:
    by_split: dict[str, list[str]] = {}
    for split in SPLITS:
        pattern = posixpath.normpath(str(getattr(config, split)))
        by_split[split] = [name for name in present if name == pattern or fnmatch.fnmatchcase(name, pattern)]
        if not by_split[split]:
            raise UserError(f"{config.source} holds no file {pattern} (option {split}); {_shown(present)}")
    names = [name for found in by_split.values() for name in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{twice[0]} is in two splits; give train, valid and test different files")
    return by_split


def _guessed(config: PrepareConfig, present: list[str]) -> dict[str, list[str]]:
    top = [name for name in present if "/" not in name]
    if config.format in ("auto", "triples"):
        found = {split: [name for name in top if name.endswith(end)] for split, end in _TRIPLES.items()}
        if all(len(names) == 1 for names in found.values()):
            return found
        if config.format == "triples" or found["train"]:
            raise UserError(
                f"{config.source} must hold exactly one X.train.rating, one X.valid.rating and one X.test.negative, "
                f"or name the files by the options train, valid and test; {_shown(present)}"
            )
    if config.format in ("auto", "movielens") and _MOVIELENS in top:
        return {ALL: [_MOVIELENS]}
    readable = [name for name in top if _readable(name, config.format)]
    named = {split: [name for name in readable if name.split(".")[0] == split] for split in SPLITS}
    if all(len(names) == 1 for names in named.values()):
        return named
    if not readable or any(named.values()) or len({_format_of(name, config.format) for name in readable}) > 1:
        raise UserError(
            f"{config.source}: it is not clear which files to read; name one file as source, or name the splits' files "
            f"by the options train, valid and test; {_shown(present)}"
        )
    return {ALL: readable}


def _readable(name: str, wanted: Format) -> bool:
    plain = name.removesuffix(".gz")
    if name.startswith((".", "_")):
        return False
    return any(plain.endswith(suffix) and wanted in ("auto", kind) for suffix, kind in _SUFFIXES.items())


def _shown(present: list[str]) -> str:
    if not present:
        return "it holds no files"
    return f"it holds {', '.join(present[:8])}{', …' if len(present) > 8 else ''}"
