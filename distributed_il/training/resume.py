"""What a checkpoint says of its run, and whether a run can resume from it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from distributed_il.core.config import TrainConfig, completed, config_to_dict, flat
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.training.side_features import about_features

FREE_TO_CHANGE = {
    "data.path",
    "evaluation.ks",
    "model.tables",
    "run.dir",
    "run.max_rounds",
    "run.patience",
    "run.seeds",
    "run.loggers",
    "run.workers",
    "run.min_workers",
    "run.batch_size",
    "run.use_gpu",
    "run.threads_per_worker",
    "run.checkpoint_every_steps",
    "run.checkpoint_every_s",
    "run.collective_timeout_s",
    "run.max_failures",
    "run.wait_for_workers_s",
    "run.take_over",
}
"""Settings that leave later global batches and what is made of them as they are, while workers × batch_size stays."""


def about_run(
    config: TrainConfig, dataset: Dataset, start: Mapping[str, Any] | None, factors: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns what is written into every checkpoint of a run.

    Args:
        config: What the run was asked for.
        dataset: What it trains on.
        start: From `start_warm`, if it started warm.
        factors: From `about_factors`; empty where it takes none.
    """
    return {
        "config": config_to_dict(config),
        "dataset": dataset.fingerprint,
        "num_users": dataset.num_users,
        "num_items": dataset.num_items,
        "vocabulary": {
            "users": dataset.vocabulary_digest("users", dataset.num_users),
            "items": dataset.vocabulary_digest("items", dataset.num_items),
        },
        "start": start,
        **({"features": features} if (features := about_features(config.model, dataset)) else {}),
        **({"factors": factors} if factors else {}),
    }


def check_same_run(config: TrainConfig, dataset: Dataset, manifest: Mapping[str, Any]) -> None:
    """Refuses to resume from a checkpoint of other data, or of settings that would change what comes next.

    Raises:
        UserError: The dataset or a setting differs.
    """
    if manifest["dataset"] != dataset.fingerprint:
        raise UserError(
            f"{dataset.path} has changed since checkpoint {manifest['place']} was written (fingerprint "
            f"{dataset.fingerprint[:12]} instead of {manifest['dataset'][:12]}); train under another run.dir, or point "
            "data.path at the dataset of that run"
        )
    changed = changed_settings(config, manifest).items()
    refused = [f"{key} (was {was}, is {now})" for key, (was, now) in changed if key not in FREE_TO_CHANGE]
    batch = manifest["config"]["run"]["workers"] * manifest["config"]["run"]["batch_size"]
    if batch != config.run.global_batch_size:
        refused.append(f"run.workers × run.batch_size (was {batch}, is {config.run.global_batch_size})")
    if refused:
        raise UserError(
            f"checkpoint {manifest['place']} belongs to a run with other settings: {'; '.join(refused)}; set them "
            "back to go on with that run, or start under another run.dir"
        )


def check_best(
    manifest: Mapping[str, Any] | None, history: Sequence[Mapping[str, Any]], place: str
) -> Mapping[str, Any]:
    """Returns a best checkpoint after making sure that it is of the run that asks for it.

    Args:
        manifest: The checkpoint's; None where there is none.
        history: The run's entries of its rounds up to the best.
        place: The directory of the run's checkpoints, for messages.

    Raises:
        UserError: There is none, or it tells of other rounds.
    """
    if manifest is None or _text(manifest["facts"]["course"]["history"]) != _text(history):
        found = "no checkpoint" if manifest is None else f"checkpoint {manifest['place']}, which is of another run"
        raise UserError(
            f"{place}: `best` names {found}, though this run was best after {len(history)} rounds; train again under "
            "another run.dir, and never two runs in one"
        )
    return manifest


def _text(history: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(list(history), sort_keys=True)  # so that nan is like nan


def changed_settings(config: TrainConfig, manifest: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns the settings in which a run differs from that of a checkpoint, by key, in order.

    Each has its values there and here; None where one is missing. A setting of the method that came after the
    checkpoint had its default there, which does what was done before there was the setting.
    """
    now, was = flat(config_to_dict(config)), flat(completed(manifest["config"]))
    if was.get("method.name") == config.method.name:
        fields = [field for field in dataclasses.fields(config.method) if field.default is not dataclasses.MISSING]
        was = {f"method.{field.name}": field.default for field in fields} | was
    keys = sorted(now.keys() | was.keys())
    return {key: (was.get(key), now.get(key)) for key in keys if was.get(key) != now.get(key)}
