"""Paths that mean the same in every process of a run."""

from __future__ import annotations

import dataclasses
import os

from distributed_il.core.config import TrainConfig


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """Returns the run with absolute paths, which mean the same in every process."""
    start, candidates = config.run.start_from, config.evaluation.candidate_file
    if candidates is not None:
        evaluation = dataclasses.replace(config.evaluation, candidates=_absolute(candidates))
        config = dataclasses.replace(config, evaluation=evaluation)
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, path=_absolute(config.data.path)),
        run=dataclasses.replace(
            config.run, dir=_absolute(config.run.dir), start_from=None if start is None else _absolute(start)
        ),
    )


def _absolute(path: str) -> str:
    return path.rstrip("/") if "://" in path else os.path.abspath(os.path.expanduser(path))
