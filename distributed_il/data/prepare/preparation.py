"""Prepares raw feedback: finds the files, reads them, builds the dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distributed_il.core.documents import signed
from distributed_il.core.errors import UserError
from distributed_il.core.prefetch import Prefetcher
from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset import Dataset, Manifest, Reading
from distributed_il.data.prepare.build.gather import PARENT_ROW
from distributed_il.data.prepare.build.options import ALL, BuildOptions, Policies
from distributed_il.data.prepare.build.pipeline import build_dataset
from distributed_il.data.prepare.config import PrepareConfig
from distributed_il.data.prepare.dataset_factors import (
    SUMMARY_JSON,
    SUMMARY_PAGE,
    SummaryPage,
    add_factors_only,
    new_dataset_factors,
    parent_factors,
)
from distributed_il.data.prepare.remembered import reading_of, recall
from distributed_il.data.prepare.sources.feature_files import open_feature_files
from distributed_il.data.prepare.sources.feedback import THRESHOLDS, describe
from distributed_il.data.prepare.sources.files import RawSource, find_files
from distributed_il.data.prepare.sources.ids import OtherIdsError
from distributed_il.data.prepare.sources.known_logs import known_log
from distributed_il.data.prepare.sources.opening import open_source
from distributed_il.data.prepare.sources.reader import RawReader
from distributed_il.data.prepare.sources.rejects import REJECTS_NAME
from distributed_il.data.prepare.summary import dataset_summary

ParallelReader = Callable[[RawReader, int], Generator[tuple[str, pa.Table]]]
"""Reads everything once, as `RawReader.tables`, with some workers."""


def prepare(
    config: PrepareConfig,
    progress: StageProgress | None = None,
    *,
    summary_page: SummaryPage | None = None,
    read_in_parallel: ParallelReader | None = None,
    say: Callable[[str], None] | None = None,
) -> Manifest:
    """Prepares raw feedback for training, or with `factors_only` computes the factors of a dataset that is there.

    Args:
        config: What to read, how, and where to.
        progress: Told the stage, and how many of its rows are done of how many in all (0 if unknown).
        summary_page: Draws the page beside the dataset; None for a dataset without one.
        read_in_parallel: Reads several files at a time where `config.workers` asks for that; None reads them in turn.
        say: Told, in a line for each, which files are read otherwise than their names tell.

    Returns:
        The dataset's manifest.

    Raises:
        UserError: The source can't be used, the output is taken, or the disk is full; nothing is left behind.
    """
    progress = progress or (lambda stage, done, total: None)
    if config.factors_only:
        return add_factors_only(config, progress, summary_page=summary_page)
    parent = None if config.append_to is None else Dataset.open(config.append_to)
    config, recalled = recall(config, parent)
    source = find_files(config)
    reader = open_source(config, source, parent and parent.manifest)
    if say is not None:
        for note in [source.note] * bool(source.note) + reader.notes:
            say(note)
    rule = _rule(config, source, reader)
    if parent is not None:
        _require_fit(rule, reader, parent)
    reading = reading_of(config, reader.choice, parent, recalled)
    work = _Preparation(config, source, rule, reading, parent, progress, summary_page, read_in_parallel)
    while True:
        try:
            return work.build(reader)
        except OtherIdsError as error:  # once for users and once for items, at the most
            reader = reader.afresh(but=error)


@dataclass(frozen=True, slots=True)
class _Preparation:
    """Builds one dataset, however its ids are read."""

    config: PrepareConfig
    source: RawSource
    rule: dict[str, Any]
    reading: Reading
    parent: Dataset | None
    progress: StageProgress
    summary_page: SummaryPage | None
    read_in_parallel: ParallelReader | None

    def build(self, reader: RawReader) -> Manifest:
        """Builds it; raises `OtherIdsError` where ids are not what they seemed to be."""
        config = self.config
        basis = parent_factors(config, self.parent)
        feature_files = open_feature_files(config, reader.id_columns, self.parent)

        def locate(split: str, row: int) -> str:
            if row >= PARENT_ROW:
                return f"{config.append_to}, {split} row {row - PARENT_ROW}"
            return reader.locate(split, row)

        def documents(
            dataset: Dataset, scratch: Path, user_rows: NDArray[np.int64], item_rows: NDArray[np.int64]
        ) -> dict[str, str]:
            factors = new_dataset_factors(config, dataset, scratch, basis, self.progress)
            facts = dataset_summary(dataset, user_rows, item_rows, reader.stats.watch_times)
            return _documents(facts | {"factors": factors}, reader, self.summary_page)

        if feature_files:
            reader.settle_id_types()
        features = [file.read(reader.id_type_of(file.kind)) for file in feature_files]
        with closing(_tables(reader, config.workers, self.read_in_parallel)) as tables:
            return build_dataset(
                config.output,
                tables,
                self._options(reader),
                features=features,
                source=chain(self.source.fingerprints(), (file.fingerprint() for file in feature_files)),
                num_rows=reader.num_rows,
                locate=locate,
                progress=self.progress,
                late_counts=lambda: _late_counts(reader),
                documents=documents,
            )

    def _options(self, reader: RawReader) -> BuildOptions:
        config, parent = self.config, self.parent
        return BuildOptions(
            name=config.name or (parent.manifest.name if parent else self.source.name),
            rule=self.rule,
            reading=self.reading,
            split="random" if config.split == "auto" else config.split,
            shares=(config.train_share, config.valid_share),
            min_user_rows=config.min_user_rows,
            min_item_rows=config.min_item_rows,
            policies=Policies(
                duplicates=config.duplicates,
                contradictions=config.contradictions,
                overlap=config.overlap,
                unseen=config.unseen,
            ),
            preference=reader.has_preference and (parent is None or _has_preference(parent)),
            weighted=config.weight_column is not None,
            lanes=config.lanes,
            row_group_rows=config.row_group_rows,
            seed=config.seed,
            id_rule=_id_rule(config, parent),
            new_ids=config.new_ids,
            parent=parent,
        )


def _tables(
    reader: RawReader, workers: int, read_in_parallel: ParallelReader | None
) -> Generator[tuple[str, pa.Table]]:
    """Reads everything once and ahead; closing it ends the threads or tasks that read."""
    if read_in_parallel is None or min(workers, reader.num_files) < 2:
        return _read_ahead(reader.tables())
    return read_in_parallel(reader, workers)


def _read_ahead(tables: Iterator[tuple[str, pa.Table]]) -> Generator[tuple[str, pa.Table]]:
    """Reads the next piece in a thread while the one before it is filed."""
    with Prefetcher(tables, depth=1) as ahead:
        yield from ahead


def _late_counts(reader: RawReader) -> dict[str, int]:
    rejects, empty = reader.stats.rejects, reader.empty_files
    return ({"rejected_rows": rejects.count} if rejects.allowed else {}) | ({"empty_files": empty} if empty else {})


def _documents(facts: Mapping[str, Any], reader: RawReader, summary_page: SummaryPage | None) -> dict[str, str]:
    rejects = reader.stats.rejects
    texts = {SUMMARY_JSON: json.dumps(signed(facts), indent=2) + "\n"}
    if summary_page is not None:
        texts[SUMMARY_PAGE] = summary_page(facts)
    return texts | ({REJECTS_NAME: rejects.table(reader.lines)} if rejects.count else {})


def _require_fit(rule: dict[str, Any], reader: RawReader, parent: Dataset) -> None:
    """Raises if the parent has another rule, columns that the new log lacks, or ids that may have been merged."""
    _require_ids(reader, parent)
    before = parent.manifest.rule
    settings = ("name", *THRESHOLDS[reader.rule])
    differing = [name for name in settings if before.get(name) != rule.get(name)]
    if differing:
        name = differing[0]
        option = "rule" if name == "name" else name
        raise UserError(
            f"{parent.path} was prepared with {option} {before.get(name)!r}, not {rule.get(name)!r}; labels of two "
            f"kinds do not mix: set {option} to what it was, or prepare both logs anew"
        )
    if _has_preference(parent) and not reader.has_preference:
        raise UserError(f"{parent.path} has a column of true preferences, and the new log has none; give it one")


def _require_ids(reader: RawReader, parent: Dataset) -> None:
    manifest = parent.manifest
    integers = " and ".join(f"{kind}s" for kind, found in manifest.id_type.items() if found == "int64")
    were_integers = all(known_log(name).integer_ids for name in manifest.rule.get("format", ["csv"]))
    by_value = not manifest.id_rule and manifest.source and not were_integers
    if integers and by_value and reader.config.id_type != "integer":
        raise UserError(
            f"{parent.path} was prepared when text ids were still read by their value, and those of its {integers} are "
            "integers, so that 007 and 7 may have become one; prepare both logs anew, or set id_type to integer if "
            "that is how they are meant"
        )


def _id_rule(config: PrepareConfig, parent: Dataset | None) -> str:
    if config.id_type != "auto":
        return config.id_type
    return "plain" if parent is None else parent.manifest.id_rule


def _has_preference(parent: Dataset) -> bool:
    return "preference" in parent.manifest.splits["train"].columns


def _rule(config: PrepareConfig, source: RawSource, reader: RawReader) -> dict[str, Any]:
    rule = describe(reader.rule, config)
    if reader.formats not in (["csv"], ["triples"]):
        rule["format"] = reader.formats
    rule["split"] = _split(config, source)
    if reader.left_aside:
        rule["columns_left_aside"] = reader.left_aside
    return rule


def _split(config: PrepareConfig, source: RawSource) -> dict[str, Any]:
    if {file.split for file in source.files} != {ALL}:
        return {"name": "given"}
    if config.split == "last":
        return {"name": "last"}
    return {"name": config.split, "train_share": config.train_share, "valid_share": config.valid_share}
