"""Chooses which files of a source are read, and into which split each goes, by what the user says and their names."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS
from distributed_il.data.prepare.build.options import ALL
from distributed_il.data.prepare.config import Format, PrepareConfig
from distributed_il.data.prepare.sources.file_names import fits, format_of, format_of_name, in_partitions, without_json
from distributed_il.data.prepare.sources.known_logs import LOG_BESIDE, known_log, log_of_name, plain_name

_ALSO_CALLED = {"valid": ("val", "validation", "dev")}
_TRIPLES = {"train": ".train.rating", "valid": ".valid.rating", "test": ".test.negative"}
_INTER = ".inter"
_BENCHMARK_PARTS = ("part1", "part2", "part3")
"""What RecBole's own pages call the files of train, valid and test."""


def choose_files(config: PrepareConfig, present: list[str], pattern: str) -> tuple[dict[str, list[str]], str]:
    """Chooses among the files of a directory.

    Args:
        config: What the user says of splits and formats.
        present: Paths of all files, relative to the source, in order.
        pattern: What they are to fit; empty where the source is the directory itself.

    Returns:
        The files of each split, or of `all` where rows are still to be split, and what the user is to know of them.

    Raises:
        UserError: None fits, or it is not clear which ones to read.
    """
    if pattern:
        return {ALL: _matching(config.source, present, pattern)}, ""
    if config.train:
        return _given(config, present), ""
    return _guessed(config, present)


def _matching(source: str, present: list[str], pattern: str) -> list[str]:
    names = [name for name in present if fits(name, pattern)]
    if not names:
        raise UserError(f"no file fits the source {source}; {_shown(present)}")
    return names


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


def _guessed(config: PrepareConfig, present: list[str]) -> tuple[dict[str, list[str]], str]:
    top = [name for name in present if "/" not in name]
    triples = _triples(config, present, top) if config.format in ("auto", "triples", "ncf") else {}
    if triples:
        return triples, ""
    known = _known(config, present) or _beside_another(config, present)
    if known:
        return {ALL: known}, ""
    readable = [name for name in top if _readable(name, config.format)]
    benchmark = _benchmark(config, present, readable)
    if benchmark:
        return benchmark, _of_benchmark(benchmark, readable)
    if not readable:
        readable = [name for name in present if in_partitions(name) and _readable(name, config.format)]
    # A JSON file beside others tells about them.
    readable = without_json(readable) or readable
    named = {split: _named(readable, split) for split in SPLITS}
    if all(len(named[split]) == 1 for split in ("train", "test")) and len(named["valid"]) <= 1:
        return {split: names for split, names in named.items() if names}, ""
    several = len({format_of(name, config.format) for name in readable}) > 1
    if not readable or any(named.values()) or several:
        raise _unclear(config, present)
    return {ALL: readable}, ""


def _triples(config: PrepareConfig, present: list[str], top: list[str]) -> dict[str, list[str]]:
    """Returns the files of triples, or of NCF's, by split; none where there are no such files."""
    found = {split: [name for name in top if name.endswith(end)] for split, end in _TRIPLES.items()}
    # X.test.negative holds the positives of NCF's X.test.rating, too.
    found["test"] = found["test"] or [name for name in top if name.endswith(".test.rating")]
    if len(found["train"]) == len(found["test"]) == 1 and len(found["valid"]) <= 1:
        return {split: names for split, names in found.items() if names}
    if config.format in ("triples", "ncf") or found["train"]:
        raise UserError(
            f"{config.source} must hold exactly one X.train.rating, one X.valid.rating (or none) and one "
            "X.test.negative (or X.test.rating), or name the files by the options train, valid and test; "
            f"{_shown(present)}"
        )
    return {}


def _benchmark(config: PrepareConfig, present: list[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Returns RecBole's files of a benchmark, X.train.inter and so on, by split; none where there are no such files."""
    of_data: dict[str, dict[str, str]] = {}
    for name in names:
        data, _, part = plain_name(name).removesuffix(_INTER).rpartition(".")
        if data and plain_name(name).endswith(_INTER):
            of_data.setdefault(data, {})[part] = name
    found = [by_split for by_split in map(_of_parts, of_data.values()) if by_split]
    if len(found) > 1 or not all({"train", "test"} <= by_split.keys() for by_split in found):
        raise _unclear(config, present)
    return found[0] if found else {}


def _of_parts(names: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns files by split where their parts, as those of RecBole's `benchmark_filename`, are called so."""
    if set(names) == set(_BENCHMARK_PARTS):
        return {split: [names[part]] for split, part in zip(SPLITS, _BENCHMARK_PARTS, strict=True)}
    parts = {split: next((part for part in _calls(split) if part in names), None) for split in SPLITS}
    return {split: [names[part]] for split, part in parts.items() if part}


def _of_benchmark(by_split: Mapping[str, list[str]], names: Sequence[str]) -> str:
    """Tells which file of a benchmark is which split where the names do not, and which ones are not read."""
    read = [name for names in by_split.values() for name in names]
    beside = [name for name in names if name not in read and plain_name(name).endswith(_INTER)]
    parts = f"{', '.join(read)} are train, valid and test" if f".{_BENCHMARK_PARTS[0]}." in read[0] else ""
    return "; ".join(
        [parts] * bool(parts) + [f"{', '.join(beside)}: not read, beside the files of splits"] * bool(beside)
    )


def _calls(split: str) -> tuple[str, ...]:
    return split, *_ALSO_CALLED.get(split, ())


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


def _shown(present: list[str]) -> str:
    if not present:
        return "it holds no files"
    return f"it holds {', '.join(present[:8])}{', …' if len(present) > 8 else ''}"
