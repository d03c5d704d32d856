"""The command `prepare`: finds raw files, reads them, builds the dataset."""

from __future__ import annotations

from typing import Any

from distributed_il.dataset import Manifest
from distributed_il.prepare.build_options import ALL, BuildOptions, Progress
from distributed_il.prepare.pipeline import build_dataset
from distributed_il.prepare.prepare_config import PrepareConfig
from distributed_il.prepare.raw_files import RawSource, find_files
from distributed_il.prepare.raw_reading import RawReader, open_source
from distributed_il.prepare.resolve import Policies


def prepare(config: PrepareConfig, progress: Progress | None = None) -> Manifest:
    """Prepares raw feedback for training.

    Args:
        config: What to read, how, and where to.
        progress: Told the stage, and how many of its rows are done of how many in all (0 if unknown).

    Returns:
        The dataset's manifest.

    Raises:
        UserError: The source can't be used, the output is taken, or the disk is full; nothing is left behind.
    """
    source = find_files(config)
    reader = open_source(config, source)
    options = BuildOptions(
        name=config.name or source.name,
        rule=_rule(config, source, reader),
        shares=(config.train_share, config.valid_share),
        policies=Policies(
            duplicates=config.duplicates,
            contradictions=config.contradictions,
            overlap=config.overlap,
            unseen=config.unseen,
        ),
        preference=reader.has_preference,
        lanes=config.lanes,
        row_group_rows=config.row_group_rows,
        seed=config.seed,
    )
    return build_dataset(
        config.output,
        reader.tables(),
        options,
        source=source.fingerprints(),
        num_rows=reader.num_rows,
        locate=reader.locate,
        progress=progress or (lambda stage, done, total: None),
    )


def _rule(config: PrepareConfig, source: RawSource, reader: RawReader) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": reader.rule}
    if reader.rule == "rating":
        rule["positive_above"] = config.positive_above
    dealt = {file.split for file in source.files} == {ALL}
    rule["split"] = (
        {"name": "random", "train_share": config.train_share, "valid_share": config.valid_share}
        if dealt
        else {"name": "given"}
    )
    if reader.left_aside:
        rule["columns_left_aside"] = reader.left_aside
    return rule
