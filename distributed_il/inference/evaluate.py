"""Measures a trained model again, from its checkpoint: in this process, without Ray."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.core.collectives import LocalCollectives
from distributed_il.data.dataset import LocalBlockReader
from distributed_il.evaluation.fallbacks import MODEL, KnownIds, Priors
from distributed_il.evaluation.selection import RANKING
from distributed_il.evaluation.split_ranking import SplitRanking, most_users
from distributed_il.evaluation.split_scores import SplitReader, SplitScores, score_split
from distributed_il.inference.config import EvaluateConfig
from distributed_il.inference.trained_run import TrainedRun, open_run
from distributed_il.inference.user_metrics import UserMetrics, require_place, write_table
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
    pairs of valid. Where the model does not know users or items of the split, `served` has the metrics of what `score`
    writes, and `answered_by_prior`, the rows for which a prior stands in.

    Raises:
        UserError: There is no such checkpoint, it was trained on other data, its scores are not finite, or the file of
            metrics of users can't be written.
    """
    if config.per_user is not None:
        require_place(config.per_user)
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
    by_user = None if config.per_user is None else UserMetrics(dataset)
    found = {
        config.split: scores.metrics(run.output),
        **_served(scores, learner, run),
        "trivial": scores.baseline_metrics(dataset),
        RANKING: {**ranking.of(learner, by_user and by_user.add), "trivial": ranking.trivial()},
    }
    if by_user is not None and config.per_user is not None:
        by_user.add_labelled(scores)
        write_table(config.per_user, by_user.table())
    return found


def _served(scores: SplitScores, learner: Learner, run: TrainedRun) -> dict[str, Any]:
    activity = run.dataset.activity()
    known, priors = KnownIds.of(activity, learner.factors), Priors.of(activity, run.output)

    def fallbacks(rows: NDArray[Any]) -> NDArray[np.int8]:
        return known.fallbacks(rows["user_id"].astype(np.int64), rows["item_id"].astype(np.int64))

    def answered(rows: NDArray[Any]) -> NDArray[Any]:
        rows, logits = rows.copy(), torch.from_numpy(rows["logit"].copy())
        rows["logit"] = priors.answered(logits, fallbacks(rows), rows["item_id"].astype(np.int64)).numpy()
        return rows

    by_prior = sum(int(np.count_nonzero(fallbacks(part) != MODEL)) for part in scores.parts)
    if not by_prior:
        return {}
    return {"served": {**scores.metrics(run.output, answered), "answered_by_prior": by_prior}}
