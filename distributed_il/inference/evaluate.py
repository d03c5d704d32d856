"""Measures a trained model again, from its checkpoint: in this process, without Ray."""

from __future__ import annotations

from typing import Any, Literal

import torch

from distributed_il.core.collectives import LocalCollectives
from distributed_il.data.dataset import LocalBlockReader
from distributed_il.evaluation.selection import RANKING
from distributed_il.evaluation.split_ranking import SplitRanking, most_users
from distributed_il.evaluation.split_scores import SplitReader, score_split
from distributed_il.inference.config import EvaluateConfig
from distributed_il.inference.trained_run import TrainedRun, open_run
from distributed_il.models.learner import Learner
from distributed_il.training.side_features import features_for


def load_model(
    run_dir: str, checkpoint: Literal["best", "last"], data: str | None, *, allow_code: bool = False
) -> tuple[Learner, TrainedRun]:
    """Loads a checkpoint, every row up to date; the arguments are those of `open_run`.

    Raises:
        UserError: As `open_run`; or a file is damaged.
    """
    run = open_run(run_dir, checkpoint, data, allow_code=allow_code)
    learner = Learner(
        run.config.model,
        run.config.optimizer,
        num_users=run.dataset.num_users,
        num_items=run.dataset.num_items,
        seed=run.config.run.seed,
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
        features=features_for(run.config.model, run.dataset),
        factors=run.factors(),
    )
    run.store.restore(run.manifest, learner)
    learner.materialize()
    return learner, run


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Computes a model's metrics on a split, with the two baselines on the same rows.

    Returns `{split: {...}, "trivial": {...}, "ranking": {...}}` as in metrics.json; the rankings for test leave out the
    pairs of valid.

    Raises:
        UserError: There is no such checkpoint, it was trained on other data, or its scores are not finite.
    """
    learner, run = load_model(config.run_dir, config.checkpoint, config.data, allow_code=config.allow_code)
    dataset = run.dataset
    splits = {
        name: SplitReader(dataset, LocalBlockReader(dataset), name, rank=0, world_size=1) for name in ("valid", "test")
    }
    scores = score_split(learner, splits[config.split], learner.collectives)
    ranking = SplitRanking(
        dataset,
        splits[config.split],
        (splits["valid"],) if config.split == "test" else (),
        run.config.evaluation,
        most=most_users(dataset.num_items),
        collectives=learner.collectives,
        device=learner.device,
    )
    return {
        config.split: scores.metrics(run.output),
        "trivial": scores.baseline_metrics(dataset),
        RANKING: {**ranking.of(learner), "trivial": ranking.trivial()},
    }
