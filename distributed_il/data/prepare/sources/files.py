"""Finds the raw files of a source, and derives their formats and splits from their names."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow.fs as pafs

from distributed_il.core.errors import UserError
from distributed_il.core.files import sha256_of
from distributed_il.data.dataset import SPLITS, SourceFile, filesystem
from distributed_il.data.prepare.build.options import ALL
from distributed_il.data.prepare.config import FileFormat, Format, PrepareConfig
from distributed_il.data.prepare.sources.known_logs import (
    LOG_BESIDE,
    compression_of,
    known_log,
    log_of_name,
    plain_name,
    shown_at_random,
)

_SUFFIXES: dict[str, FileFormat] = {
    ".rating": "triples",
    ".negative": "triples",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".inter": "recbole",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_FIRST_BYTES = 4096
_NCF_TABS = 3
"""In a line of NCF's: user, item, rating, timestamp."""
_ALSO_CALLED = {"valid": ("val", "validation", "dev")}
_TRIPLES = {"train": ".train.rating", "valid": ".valid.rating", "test": ".test.negative"}


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
        file = RawFile(ALL, name, root, _format_of(name, config.format))
        return RawSource(fs, name, (_as_it_begins(fs, file, config),))
    listing = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    present = sorted(posixpath.relpath(i.path, root) for i in listing if i.type == pafs.FileType.File)
    if pattern:
        by_split = {ALL: _matching(config.source, present, pattern)}
    else:
        by_split = _given(config, present) if config.train else _guessed(config, present)
    files = tuple(
        _as_it_begins(fs, RawFile(split, name, posixpath.join(root, name), _format_of(name, config.format)), config)
        for split, names in by_split.items()
        for name in names
    )
    note = ""
    if set(by_split) == {"train", "test"}:
        files = tuple(replace(file, split=ALL, unbiased=file.split == "test") for file in _of_ncf(fs, files))
        share = config.valid_share / (config.train_share + config.valid_share)
        note = (
            f"{', '.join(by_split['train'])}: there is no valid beside it, which gets {share:.0%} of its labelled rows"
        )
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


def fits(name: str, pattern: str) -> bool:
    """Returns whether a path fits a pattern by the rules of shells.

    `*` stays within a folder and `**` crosses folders; hidden names fit only where the pattern has their dot.
    """
    return _fits(name.split("/"), pattern.split("/"))


def _fits(parts: list[str], patterns: list[str]) -> bool:
    if not patterns or not parts:
        return not parts and all(pattern == "**" for pattern in patterns)
    hidden = parts[0].startswith(".")
    if patterns[0] == "**":
        return _fits(parts, patterns[1:]) or (not hidden and _fits(parts[1:], patterns))
    seen = not hidden or patterns[0].startswith(".")
    return seen and fnmatch.fnmatchcase(parts[0], patterns[0]) and _fits(parts[1:], patterns[1:])


def _matching(source: str, present: list[str], pattern: str) -> list[str]:
    names = [name for name in present if fits(name, pattern)]
    if not names:
        raise UserError(f"no file fits the source {source}; {_shown(present)}")
    return names


def _with_unbiased(config: PrepareConfig, files: tuple[RawFile, ...]) -> tuple[RawFile, ...]:
    """Marks the files of items shown at random, where there are others to train on."""
    random = [file.split == ALL and shown_at_random(known_log(file.format), file.name) for file in files]
    if config.unbiased == "mix" or all(random):
        return files
    return tuple(replace(file, unbiased=file.unbiased or of_file) for file, of_file in zip(files, random, strict=True))


def _format_of(name: str, wanted: Format) -> FileFormat:
    if wanted != "auto":
        return wanted
    log = log_of_name(name)
    if log is not None:
        return log.format
    found = format_of_name(name)
    if found is None:
        raise UserError(f"{name}: the name does not tell the format; give format, such as csv or parquet")
    return found


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


def format_of_name(name: str) -> FileFormat | None:
    """Returns the format that a file's ending tells, whatever its compression; None where it tells none."""
    return next((kind for suffix, kind in _SUFFIXES.items() if plain_name(name).endswith(suffix)), None)


def plain_format_of(name: str) -> FileFormat:
    """Returns the format of a file that is no log of its own: `parquet`, `json`, or else `csv`."""
    kind = format_of_name(name)
    return kind if kind in ("parquet", "json") else "csv"


def _given(config: PrepareConfig, present: list[str]) -> dict[str, list[str]]:
    by_split: dict[str, list[str]] = {}
    for split in [split for split in SPLITS if getattr(config, split)]:
        pattern = posixpath.normpath(str(getattr(config, split)))
        by_split[split] = [name for name in present if name == pattern or fits(name, pattern)]
        if not by_split[split]:
            raise UserError(f"{config.source} holds no file {pattern} (option {split}); {_shown(present)}")
    names = [name for found in by_split.values() for name in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{twice[0]} is in two splits; give train, valid and test different files")
    return by_split


def _guessed(config: PrepareConfig, present: list[str]) -> dict[str, list[str]]:
    top = [name for name in present if "/" not in name]
    if config.format in ("auto", "triples", "ncf"):
        found = {split: [name for name in top if name.endswith(end)] for split, end in _TRIPLES.items()}
        if all(len(names) == 1 for names in found.values()):
            return found
        # Of NCF, whose X.test.rating holds the positives of X.test.negative.
        tests = found["test"] or [name for name in top if name.endswith(".test.rating")]
        if len(found["train"]) == len(tests) == 1 and not found["valid"]:
            return {"train": found["train"], "test": tests}
        if config.format in ("triples", "ncf") or found["train"]:
            raise UserError(
                f"{config.source} must hold exactly one X.train.rating, one X.valid.rating and one X.test.negative (or "
                "X.test.rating, without an X.valid.rating), or name the files by the options train, valid and test; "
                f"{_shown(present)}"
            )
    known = _known(config, present) or _beside_another(config, present)
    if known:
        return {ALL: known}
    readable = [name for name in top if _readable(name, config.format)]
    if not readable:
        readable = [name for name in present if in_partitions(name) and _readable(name, config.format)]
    # A JSON file beside others tells about them.
    readable = without_json(readable) or readable
    named = {split: _named(readable, split) for split in SPLITS}
    if all(len(named[split]) == 1 for split in ("train", "test")) and len(named["valid"]) <= 1:
        return {split: names for split, names in named.items() if names}
    if not readable or any(named.values()) or len({_format_of(name, config.format) for name in readable}) > 1:
        raise _unclear(config, present)
    return {ALL: readable}


def _named(names: Sequence[str], split: str) -> list[str]:
    """Lists the files that are called as a split, or else as it is called elsewhere."""
    for wanted in ((split,), _ALSO_CALLED.get(split, ())):
        found = [name for name in names if name.split(".")[0] in wanted]
        if found:
            return found
    return []


def _known(config: PrepareConfig, present: list[str]) -> list[str]:
    """Lists the files of a public data set, wherever below the source they lie."""
    by_format: dict[str, list[str]] = {}
    for name in present:
        log = log_of_name(name)
        if log is not None and log.format != "recbole" and not posixpath.basename(name).startswith((".", "_")):
            by_format.setdefault(log.format, []).append(name)
    if config.format != "auto":
        by_format = {name: files for name, files in by_format.items() if name == config.format}
    if not by_format:
        return []
    if len(by_format) > 1:
        raise _unclear(config, present)
    ((found, names),) = by_format.items()
    if known_log(found).apart and len(names) > 1:
        raise UserError(f"{config.source} holds several logs, {' and '.join(names)}; name one of them as source")
    return names


def _beside_another(config: PrepareConfig, present: list[str]) -> list[str]:
    """Lists the files that another beside them tells to be the log, wherever below the source they lie."""
    if config.format not in ("auto", "csv"):
        return []
    folders = {(posixpath.dirname(name), plain_name(name)) for name in present}
    return [name for name in present if (posixpath.dirname(name), LOG_BESIDE.get(plain_name(name))) in folders]


def _unclear(config: PrepareConfig, present: list[str]) -> UserError:
    return UserError(
        f"{config.source}: it is not clear which files to read; name one file as source, or name the splits' files "
        f"by the options train, valid and test; {_shown(present)}"
    )


def _readable(name: str, wanted: Format) -> bool:
    if posixpath.basename(name).startswith((".", "_")):
        return False
    kind = format_of_name(name)
    if wanted in ("auto", kind):
        return kind is not None
    # A public log under names of its own.
    return wanted not in ("csv", "parquet", "triples") and kind in ("csv", "parquet")


def without_json(names: Sequence[str]) -> list[str]:
    """Returns the files that are no JSON."""
    return [name for name in names if format_of_name(name) != "json"]


def in_partitions(name: str) -> bool:
    """Returns whether all folders of a path are partitions."""
    return all(folder.find("=") > 0 for folder in name.split("/")[:-1])


def _shown(present: list[str]) -> str:
    if not present:
        return "it holds no files"
    return f"it holds {', '.join(present[:8])}{', …' if len(present) > 8 else ''}"
