"""What a run says of itself before anything slow begins, and what it refuses at once."""

from __future__ import annotations

from pyarrow import fs as pafs

from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem
from distributed_il.core.progress import ProgressLine
from distributed_il.data.dataset import Dataset
from distributed_il.runtime.data_checks import check_data
from distributed_il.runtime.paths import with_absolute_paths
from distributed_il.runtime.run_directory import check_run_dir, probed
from distributed_il.training.checkpoint_names import last_checkpoint


def open_run(config: TrainConfig) -> None:
    """Holds a run against its dataset and its directory, and tells on standard error what is about to be done.

    Raises:
        UserError: As `check_data`; or `run.dir` is somebody else's or can't be written, its checkpoints are damaged, or
            `run.start_from` is no directory.
        OSError: `run.start_from` can't be looked at.
    """
    config = with_absolute_paths(config)
    dataset = check_data(config)
    check_run_dir(config)
    if config.run.start_from is not None:
        _check_origin(config.run.start_from)
    with probed(config.run.dir):
        lines = opening_lines(config, dataset)
    with ProgressLine() as line:
        for text in lines:
            line.note(text)


def opening_lines(config: TrainConfig, dataset: Dataset) -> list[str]:
    """Returns the lines: which run, new or resumed, which data, what is trained and how.

    Args:
        config: What the run was asked for.
        dataset: What it trains on.
    """
    run, manifest = config.run, dataset.manifest
    last = last_checkpoint(run.dir)
    origin = "" if run.start_from is None else f", from the model of {run.start_from}"
    course = f"new{origin}" if last is None else f"goes on after round {last[0]:,} and step {last[1]:,}"
    train, unclear = manifest.splits["train"], dataset.rows("unclear")
    unclear_rows = f", {unclear:,} unclear ones" if unclear else ""
    each = f" of {run.threads_per_worker} threads" if run.threads_per_worker > 1 else ""
    batches = f"batches of {run.global_batch_size:,} rows"
    return [
        f"run      {run.dir}: {course}",
        f"data     {config.data.path}: {train.rows:,} labelled rows{unclear_rows}; {manifest.num_users:,} users, "
        f"{manifest.num_items:,} items",
        f"model    {config.model.backbone} by {config.method.name}; {batches}, {_workers(run.workers)}{each}",
    ]


def _check_origin(path: str) -> None:
    fs, root = filesystem(path)
    if fs.get_file_info(root).type != pafs.FileType.Directory:
        raise UserError(
            f"run.start_from (--from) is {path}, which is no directory; give the run.dir of a run that has finished a "
            "round, or one of the directories in its checkpoints"
        )


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
