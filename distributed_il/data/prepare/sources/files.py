"""Finds the raw files of a source, and derives their formats and splits from their names."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow.fs as pafs

from distributed_il.core.errors import UserError
from distributed_il.core.files import sha256_of
from distributed_il.data.dataset import SourceFile, filesystem
from distributed_il.data.prepare.build.options import ALL
from distributed_il.data.prepare.config import FileFormat, PrepareConfig
from distributed_il.data.prepare.sources.file_names import format_of, format_of_name
from distributed_il.data.prepare.sources.known_logs import compression_of, known_log, shown_at_random
from distributed_il.data.prepare.sources.splits_by_name import choose_files

_FIRST_BYTES = 4096
_NCF_TABS = 3
"""In a line of NCF's: user, item, rating, timestamp."""


@dataclass(frozen=True, slots=True)
class RawFile:
    """One raw file."""

    split: str
    """`train`, `valid`, `test`, or `all` where the rows are still to be split."""
    name: str
    """Relative to the source."""
    path: str
    """On the source's filesystem."""
    format: FileFormat
    unbiased: bool = False
    """Whether it makes the test set, because its items were shown at random, or it is given as such without a valid."""


@dataclass(frozen=True, slots=True)
class RawSource:
    """The raw files that a dataset is made from."""

    filesystem: pafs.FileSystem
    name: str
    """The source's own name."""
    files: tuple[RawFile, ...]
    """Those of train first, then valid, then test; in order of name within a split."""
    note: str = ""
    """What the user is to know of their splits."""

    def fingerprints(self) -> Iterator[SourceFile]:
        """Fingerprints each file; see `fingerprint`."""
        return (fingerprint(self.filesystem, file.path, file.name) for file in self.files)


def fingerprint(fs: pafs.FileSystem, path: str, name: str) -> SourceFile:
    """Reads a file for its size and SHA-256, under the name that the manifest is to have."""
    return SourceFile(path=name, bytes=fs.get_file_info(path).size, sha256=sha256_of(fs, path))


def find_files(config: PrepareConfig) -> RawSource:
    """Finds the files to read.

    Raises:
        UserError: The source is not there, or it does not tell what to read.
    """
    fs, root, pattern = find_place(config.source)
    info = fs.get_file_info(root)
    if info.type == pafs.FileType.NotFound:
        raise UserError(f"{config.source} does not exist; give the file or directory of the raw feedback as source")
    name = posixpath.basename(root)
    require_file_or_directory(info, config.source)
    if info.type == pafs.FileType.File:
        if config.train:
            raise UserError(f"{config.source} is a file; with train, valid and test, give their directory as source")
        file = RawFile(ALL, name, root, format_of(name, config.format))
        return RawSource(fs, name, (_as_it_begins(fs, file, config),))
    listing = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    present = sorted(posixpath.relpath(i.path, root) for i in listing if i.type == pafs.FileType.File)
    by_split, note = choose_files(config, present, pattern)
    files = tuple(
        _as_it_begins(fs, RawFile(split, name, posixpath.join(root, name), format_of(name, config.format)), config)
        for split, names in by_split.items()
        for name in names
    )
    if set(by_split) == {"train", "test"}:
        files = tuple(replace(file, split=ALL, unbiased=file.split == "test") for file in _of_ncf(fs, files))
        share = config.valid_share / (config.train_share + config.valid_share)
        dealt = (
            f"{', '.join(by_split['train'])}: there is no valid beside it, which gets {share:.0%} of its labelled rows"
        )
        note = "; ".join([dealt] + [note] * bool(note))
    return RawSource(fs, name, _with_unbiased(config, files), note)


def find_place(source: str) -> tuple[pafs.FileSystem, str, str]:
    """Returns filesystem and path of a source, and the pattern below it, empty where it has none."""
    fs, root = filesystem(source)
    parts = root.split("/")
    wild = next((number for number, part in enumerate(parts) if any(sign in part for sign in "*?[")), None)
    if wild is None or fs.get_file_info(root).type != pafs.FileType.NotFound:
        return fs, root, ""
    return fs, "/".join(parts[:wild]) or "/", "/".join(parts[wild:])


def is_alone(file: RawFile, files: Sequence[RawFile]) -> bool:
    """Returns whether a file is the only one of its split, so that without rows of its own the split has none."""
    return sum(other.split == file.split for other in files) == 1


def require_file_or_directory(info: pafs.FileInfo, source: str) -> None:
    """Raises `UserError` if a source is a pipe, a socket or a device, which can't be read twice."""
    if info.type == pafs.FileType.Unknown:
        raise UserError(f"{source} is no file and no directory; write what comes out of it to a file, and give that")


def _with_unbiased(config: PrepareConfig, files: tuple[RawFile, ...]) -> tuple[RawFile, ...]:
    """Marks the files of items shown at random, where there are others to train on."""
    random = [file.split == ALL and shown_at_random(known_log(file.format), file.name) for file in files]
    if config.unbiased == "mix" or all(random):
        return files
    return tuple(replace(file, unbiased=file.unbiased or of_file) for file, of_file in zip(files, random, strict=True))


def _as_it_begins(fs: pafs.FileSystem, file: RawFile, config: PrepareConfig) -> RawFile:
    """Returns the file, with the format that its ending tells if it is no more than the namesake of a public log's."""
    log = known_log(file.format)
    if config.format != "auto" or not log.first_line:
        return file
    return (
        file if re.match(log.first_line, _begin(fs, file)) else replace(file, format=format_of_name(file.name) or "csv")
    )


def _begin(fs: pafs.FileSystem, file: RawFile) -> str:
    try:
        with fs.open_input_stream(file.path, compression=compression_of(file.name)) as stream:
            return stream.read(_FIRST_BYTES).decode(errors="replace").removeprefix("\ufeff")
    except OSError as error:
        raise UserError(f"{file.path} can't be read ({error}); copy it anew") from error


def _of_ncf(fs: pafs.FileSystem, files: tuple[RawFile, ...]) -> tuple[RawFile, ...]:
    """Returns triples without a valid as NCF's where they are: with lists of negatives, or with times."""
    if all(file.format == "triples" for file in files):
        begins = [_begin(fs, file).partition("\n")[0] for file in files]
        if any(begin.startswith("(") or begin.count("\t") == _NCF_TABS for begin in begins):
            return tuple(replace(file, format="ncf") for file in files)
    return files
