"""What a run does by default with the feedback that there is, and methods that can't learn from it."""

from __future__ import annotations

import dataclasses

from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import (
    METHODS,
    InverseDualConfig,
    InverseGradientConfig,
    MethodConfig,
    NegativeSamplingConfig,
    NoneConfig,
)
from distributed_il.data.dataset import Dataset
from distributed_il.training.pair_sampler import SAMPLING, has_all_positive

_CURE = "set method.name to none, t_ce, r_ce or ns, which take sampled pairs for negatives"


def resolve_feedback(config: TrainConfig, dataset: Dataset) -> TrainConfig:
    """Returns a run's configuration with `method.negatives` and `run.select_by` as what `auto` means on a dataset."""
    alone, method, run = dataset.manifest.positives_only, config.method, config.run
    if isinstance(method, SAMPLING) and method.negatives == "auto":
        method = dataclasses.replace(method, negatives="sampled" if alone else "labelled")
    if run.select_by == "auto":
        ranks = alone or has_all_positive(config)
        run = dataclasses.replace(run, select_by="ndcg@20" if ranks else "calibrated_logloss")
    return dataclasses.replace(config, method=method, run=run)


def default_method(config: TrainConfig) -> TrainConfig:
    """Returns the configuration of a run whose method nobody has named with the one that fits the feedback.

    A dataset that can't be opened changes nothing: whoever trains on it says what is wrong.
    """
    try:
        alone = Dataset.open(config.data.path).manifest.positives_only
    except UserError:
        return config
    return dataclasses.replace(config, method=NoneConfig()) if alone else config


def check_feedback(config: TrainConfig, dataset: Dataset) -> None:
    """Refuses to learn from rows of one class by a method that would have no other; `config` is resolved.

    Raises:
        UserError: Training has no positives; or it has nothing else, and the method finds no negatives of its own; or
            interactions would be positives and, drawn from the log, negatives; or rows have weights that a method of
            the user's does not know of.
    """
    train, method = dataset.manifest.splits["train"], config.method
    if dataset.weighted and method.name not in METHODS and not _weighs_rows(method):
        raise UserError(
            f"the training rows of {dataset.path} have weights, and method.name {method.name} does not say that it "
            "multiplies by `batch.weights`; let it do so and set `weighs_rows = True` in its class, or prepare without"
        )
    if train.rows and not train.positives:
        raise UserError(
            f"{dataset.path}: all {train.rows:,} training rows are negatives, from which nothing can be learned; "
            "prepare it with a rule that tells which are positives"
        )
    if has_all_positive(config) and config.unlabelled.source != "sampled":
        raise UserError(
            "method.negatives is sampled_all_positive, which takes no interaction for a negative, but "
            f"unlabelled.source is {config.unlabelled.source}, which draws logged ones; set it to sampled"
        )
    if not dataset.manifest.positives_only:
        return
    found = f"all {train.rows:,} training rows of {dataset.path} are positives"
    if isinstance(method, InverseDualConfig | InverseGradientConfig):
        raise UserError(f"method.name {method.name} needs clear negatives, but {found}; {_CURE}")
    if isinstance(method, SAMPLING) and method.negatives == "labelled":
        raise UserError(f"method.negatives is labelled, but {found}; set method.negatives to sampled")
    if isinstance(method, NegativeSamplingConfig) and method.target == 1:
        raise UserError(f"method.target is 1, the label of a positive, but {found}; give a target below 1")


def about_feedback(config: TrainConfig, dataset: Dataset) -> str | None:
    """Says how a run learns from positives alone; None where it has labelled negatives. `config` is resolved."""
    train, method = dataset.manifest.splits["train"], config.method
    if dataset.manifest.positives_only:
        found = "the training rows are positives only"
    elif has_all_positive(config):
        noise = train.rows - train.positives
        found = f"all {train.rows:,} training rows are taken for positives, {noise:,} labelled 0 among them"
    else:
        return None
    sampled = isinstance(method, (*SAMPLING, NegativeSamplingConfig))
    how = f"method {method.name}" + (" with sampled negatives" if sampled else "")
    return f"{found}: {how}, the best round by {config.run.select_by}"


def _weighs_rows(config: MethodConfig) -> bool:
    # Imported for a method of the user's alone: this module is needed before torch, which comes with the methods.
    from distributed_il.methods import make_method
    from distributed_il.methods.protocol import weighs_rows

    return weighs_rows(make_method(config))
