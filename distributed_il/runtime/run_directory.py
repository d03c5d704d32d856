"""Whether a run's directory is its own and can be written."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager

import pyarrow as pa
from pyarrow import fs as pafs

from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem
from distributed_il.training.run_claim import CLAIM_FILE
from distributed_il.training.seeds import seed_dirs

_OURS = {"checkpoints", "config.yaml", CLAIM_FILE, "metrics.json", "ray", "tensorboard"}
_JOB_FILES = "/runtime_resources/working_dir_files/"
"""Where Ray unpacks the working directory of a job."""


def check_run_dir(config: TrainConfig) -> None:
    """Refuses a directory that holds something other than a run; the dataset's own directory is fine."""
    if _JOB_FILES in config.run.dir:
        raise UserError(
            f"run.dir {config.run.dir} lies in the job's copy of its working directory, which does not outlive the "
            "job; give the full path of a place on storage that all nodes share"
        )
    fs, root = filesystem(config.run.dir)
    found = fs.get_file_info(root)
    if found.type == pafs.FileType.File:
        raise UserError(f"run.dir {config.run.dir} is a file; give a directory")
    if found.type == pafs.FileType.NotFound or filesystem(config.data.path)[1] == root:
        return
    names = {entry.base_name for entry in fs.get_file_info(pafs.FileSelector(root))}
    if names and not names & _OURS:
        raise UserError(
            f"run.dir {config.run.dir} is not empty and holds no run, but {', '.join(sorted(names)[:3])}; give a new "
            "directory, or that of a run to go on with"
        )


def check_seeds_dir(config: TrainConfig) -> None:
    """Refuses a directory that holds something other than the runs of several seeds."""
    run_dir = config.run.dir
    fs, root = filesystem(run_dir)
    if fs.get_file_info(root).type != pafs.FileType.Directory or seed_dirs(run_dir):
        return
    names = sorted(entry.base_name for entry in fs.get_file_info(pafs.FileSelector(root)))
    if "checkpoints" in names:
        raise UserError(f"run.dir {run_dir} holds the run of one seed; for run.seeds {config.run.seeds} give another")
    if names:
        raise UserError(f"run.dir {run_dir} is not empty: it holds {', '.join(names[:3])}; give a new directory")


@contextmanager
def probed(run_dir: str) -> Generator[str]:
    """Writes a small file to the run's directory, and deletes it at the end of the block."""
    fs, root = filesystem(run_dir)
    name = f".probe-{uuid.uuid4().hex}"
    try:
        fs.create_dir(root, recursive=True)
        with fs.open_output_stream(f"{root}/{name}") as stream:
            stream.write(b"probe")
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"run.dir {run_dir} can't be written ({error}); choose a place you may write to") from error
    try:
        yield name
    finally:
        fs.delete_file(f"{root}/{name}")
