"""A pass of two rows through classes of the user's own, so that a mistake in them is told before anything starts."""

from __future__ import annotations

import dataclasses
import inspect
import traceback
from collections.abc import Mapping

import torch

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import METHODS
from distributed_il.data.dataset import Dataset
from distributed_il.data.loading.batch import Batch, Phase, Unlabelled
from distributed_il.methods import make_method
from distributed_il.methods.protocol import extras_of
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.backbones import find_backbone
from distributed_il.models.learner import Learner
from distributed_il.training.side_features import features_for

_ROWS = 2


def try_own_code(config: TrainConfig, dataset: Dataset) -> None:
    """Takes a step of each phase on two rows, where backbone or method is the user's own.

    Args:
        config: What the run was asked for.
        dataset: What it trains on; of it only the side features are read.

    Raises:
        UserError: The code raises an error, told with its file and line, or logits have another shape than [rows].
    """
    own = {"model.backbone": config.model.backbone, "method.name": config.method.name}
    own = {setting: name for setting, name in own.items() if ":" in name and name not in METHODS}
    if not own:
        return
    classes = {"model.backbone": find_backbone(config.model), "method.name": type(make_method(config.method))}
    try:
        _take_steps(config, dataset)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_told(error, own, {setting: classes[setting] for setting in own})) from error


def _take_steps(config: TrainConfig, dataset: Dataset) -> None:
    method = make_method(config.method)
    learner = Learner(
        dataclasses.replace(config.model, row_dropout=0.0),
        config.optimizer,
        num_users=_ROWS,
        num_items=_ROWS,
        seed=config.run.seed,
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
        features=features_for(config.model, dataset),
        method_extras=extras_of(method),
    )
    ids, dtype = torch.arange(_ROWS), getattr(torch, config.model.dtype)
    logits = learner.score(ids, ids)
    if logits.shape != (_ROWS,):
        raise UserError(
            f"model.backbone '{config.model.backbone}' gives logits of shape {list(logits.shape)} for {_ROWS} rows; "
            f"forward must return one a row, [{_ROWS}]"
        )
    executor = StepExecutor(learner)
    for phase in method.phases:
        method.step(executor, _batch(phase, dtype))


def _batch(phase: Phase, dtype: torch.dtype) -> Batch:
    ids = torch.arange(_ROWS)
    pairs = Unlabelled(ids, ids.flip(0), torch.ones(_ROWS, dtype=dtype), rate=1) if phase.unlabelled else None
    return Batch(ids, ids, ids.to(dtype), ids, pairs, global_count=_ROWS, capacity=_ROWS)


def _told(error: Exception, own: Mapping[str, str], classes: Mapping[str, type]) -> str:
    """Says which class fails where: in the last of its lines that the error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    files = {inspect.getsourcefile(cls): setting for setting, cls in classes.items()}
    place = next((frame for frame in reversed(frames) if frame.filename in files), frames[-1])
    setting = files.get(place.filename, next(iter(own)))
    message = str(error).strip().splitlines()
    return (
        f"{setting} '{own[setting]}' fails on two rows, at {place.filename}:{place.lineno}: {type(error).__name__}"
        + (f": {message[0]}" if message else "")
    )
