"""Whether a run fits its dataset: what can be seen at once, before torch is imported and before Ray starts."""

from __future__ import annotations

import importlib.util

from distributed_il.core.config import RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset
from distributed_il.data.id_files.reading import items_of_file
from distributed_il.data.lanes import worker_counts
from distributed_il.evaluation.selection import Selection, check_selection
from distributed_il.training.feedback import check_feedback, resolve_feedback


def check_data(config: TrainConfig) -> Dataset:
    """Holds a run against its dataset, and returns that.

    Args:
        config: What the run was asked for.

    Raises:
        UserError: A logger is not installed, the dataset is not there or too small, the workers do not fit its lanes,
            its training rows are of one class and the method needs two, its valid split does not define
            `run.select_by`, or the file of `evaluation.candidates` can't be read or names none of its items.
    """
    _check_loggers(config.run)
    dataset = Dataset.open(config.data.path)
    _check_workers(config.run.workers, dataset)
    config = resolve_feedback(config, dataset)
    check_feedback(config, dataset)
    check_selection(Selection(config.run.select_by), dataset)
    if config.evaluation.candidate_file is not None:
        items_of_file(config.evaluation.candidate_file, dataset)
    _check_min_workers(config.run, dataset)
    return dataset


def _check_loggers(run: RunConfig) -> None:
    for name in run.loggers:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # such as the folder `wandb` that W&B makes
            raise UserError(
                f"run.loggers names {name}, which is not installed; `pip install 'distributed-il[{name}]'` here and "
                "on every node, or leave it out"
            )


def _check_workers(workers: int, dataset: Dataset) -> None:
    lanes = dataset.lanes
    if lanes % workers:
        fitting = [count for count in range(1, lanes + 1) if lanes % count == 0]
        nearest = [max(count for count in fitting if count < workers)]
        nearest += [count for count in fitting if count > workers][:1]
        raise UserError(
            f"run.workers is {workers}, which does not divide the dataset's {lanes} lanes; the nearest that do are "
            f"{' and '.join(map(str, nearest))}"
        )
    for split in SPLITS:
        if dataset.rows(split) < workers:
            raise UserError(
                f"{dataset.path}: split {split} has {dataset.rows(split)} rows, fewer than run.workers ({workers}); "
                "take fewer workers, or prepare more data"
            )


def _check_min_workers(run: RunConfig, dataset: Dataset) -> None:
    if run.min_workers in (None, run.workers) or run.min_workers in possible_workers(run, dataset):
        return
    fitting = worker_counts(dataset.lanes, run.global_batch_size, at_least=1, at_most=run.workers)
    raise UserError(
        f"run.min_workers is {run.min_workers}, which does not divide both the dataset's {dataset.lanes} lanes and the "
        f"global batch of {run.global_batch_size} rows (run.workers × run.batch_size); these do: "
        f"{', '.join(map(str, fitting))}"
    )


def possible_workers(run: RunConfig, dataset: Dataset) -> list[int]:
    """Returns the numbers of workers that a run may have, ascending."""
    if run.min_workers is None:
        return [run.workers]
    return worker_counts(dataset.lanes, run.global_batch_size, at_least=run.min_workers, at_most=run.workers)
