"""What a checkpoint says of its run, and whether it may be gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from distributed_il.core.config import TrainConfig, config_to_dict, flat
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.models.learner import Learner
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.side_features import about_features, check_grown_features

FREE_TO_CHANGE = {
    "data.path",
    "model.tables",
    "run.dir",
    "run.max_rounds",
    "run.patience",
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
}
"""Settings that leave later global batches and what is made of them as they are, while workers × batch_size stays."""


def about_run(config: TrainConfig, dataset: Dataset, start: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is written into every checkpoint of a run.

    Args:
        config: The run.
        dataset: Its data.
        start: Which other run's model it has started from; None for a model of its own.
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
    }


def check_same_run(config: TrainConfig, dataset: Dataset, manifest: Mapping[str, Any]) -> None:
    """Refuses a checkpoint of other data or of settings that would change what comes next.

    Args:
        config: The run that wants to go on.
        dataset: Its data.
        manifest: Of the checkpoint.

    Raises:
        UserError: The dataset or a setting differs.
    """
    if manifest["dataset"] != dataset.fingerprint:
        raise UserError(
            f"{dataset.path} has changed since checkpoint {manifest['place']} was written (fingerprint "
            f"{dataset.fingerprint[:12]} instead of {manifest['dataset'][:12]}); train under another run.dir, or point "
            "data.path at the dataset of that run"
        )
    now, then = flat(config_to_dict(config)), flat(manifest["config"])
    different = sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))
    refused = [f"{key} (was {then.get(key)}, is {now.get(key)})" for key in different if key not in FREE_TO_CHANGE]
    batch = then["run.workers"] * then["run.batch_size"]
    if batch != config.run.global_batch_size:
        refused.append(f"run.workers × run.batch_size (was {batch}, is {config.run.global_batch_size})")
    if refused:
        raise UserError(
            f"checkpoint {manifest['place']} belongs to a run with other settings: {'; '.join(refused)}; set them "
            "back to go on with that run, or start under another run.dir"
        )


FREE_IN_MODEL = {"model.tables", "model.init_std"}
"""Settings of the model that do not decide what its weights mean."""
_CHECKPOINTS = "/checkpoints/"
_Entity = Literal["users", "items"]


def find_start(path: str) -> tuple[CheckpointStore, dict[str, Any]]:
    """Finds the checkpoint that `run.start_from` names.

    Args:
        path: A run's directory or URI, for its best model, or RUN/checkpoints/NAME.

    Returns:
        The run's checkpoints, and the manifest of that one.

    Raises:
        UserError: There is none, or it is damaged.
    """
    run_dir, inside, directory = path.rstrip("/").rpartition(_CHECKPOINTS)
    if inside:
        store = CheckpointStore(run_dir)
        return store, store.manifest_of(directory)
    store = CheckpointStore(path)
    manifest = store.manifest("best")
    if manifest is None:
        raise UserError(
            f"run.start_from (--from) is {path}, which holds no checkpoint named best; give the run.dir of a run that "
            "has finished a round, or one of the directories in its checkpoints"
        )
    return store, manifest


def check_start(config: TrainConfig, dataset: Dataset, manifest: Mapping[str, Any]) -> None:
    """Refuses a model that this run could not go on with.

    Args:
        config: The new run.
        dataset: Its data.
        manifest: Of the checkpoint to start from.

    Raises:
        UserError: The model is built otherwise, or the dataset does not begin with the ids that it was trained on, or
            has other side features where the model takes such.
    """
    now, then = flat(config_to_dict(config)), flat(manifest["config"])
    wanted = {key for key in now.keys() | then.keys() if key.startswith("model.")} - FREE_IN_MODEL
    different = [
        f"{key} (there {then.get(key)}, here {now.get(key)})" for key in sorted(wanted) if now.get(key) != then.get(key)
    ]
    if different:
        raise UserError(
            f"checkpoint {manifest['place']}, which run.start_from (--from) names, holds another model: "
            f"{'; '.join(different)}; give this run the same"
        )
    if manifest["dataset"] != dataset.fingerprint:
        _check_grown(dataset, manifest, "users", manifest["num_users"], dataset.num_users)
        _check_grown(dataset, manifest, "items", manifest["num_items"], dataset.num_items)
        check_grown_features(config.model, dataset, manifest)


def start_from(path: str, config: TrainConfig, dataset: Dataset, learner: Learner) -> dict[str, Any]:
    """Gives a new run's learner the model of another run.

    Old ids keep their rows with both Adam moments, as the tower does, so the count of steps goes on too: moments and
    the correction of their bias belong together. Rows of new ids stay as the learner has drawn them, with moments of 0,
    like those of an id that the old run had never met; so do the tower's rows of new values of side features.

    Args:
        path: As for `find_start`.
        config: The new run.
        dataset: Its data.
        learner: Freshly made for that dataset.

    Returns:
        What it has started from, for metrics.json.

    Raises:
        UserError: There is no such checkpoint, it is damaged, or does not fit.
    """
    store, manifest = find_start(path)
    check_start(config, dataset, manifest)
    for table in (learner.users, learner.items):
        table.last_step.fill_(manifest["step"])  # no update is deferred from before an id was there
    store.restore_grown(manifest, learner)
    return {
        "checkpoint": manifest["place"],
        "dataset": manifest["dataset"],
        "step": manifest["step"],
        "new_users": dataset.num_users - manifest["num_users"],
        "new_items": dataset.num_items - manifest["num_items"],
    }


def _check_grown(dataset: Dataset, manifest: Mapping[str, Any], entity: _Entity, there: int, here: int) -> None:
    cure = (
        "row k of a table belongs to the k-th id, so they would be mixed up; make the dataset with `distributed-il "
        "prepare --append`, or train without run.start_from (--from)"
    )
    if here < there:
        raise UserError(
            f"{dataset.path} has {here:,} {entity}, fewer than the {there:,} of checkpoint {manifest['place']}; {cure}"
        )
    if dataset.vocabulary_digest(entity, there) != manifest.get("vocabulary", {}).get(entity):
        raise UserError(
            f"{dataset.path}: its first {there:,} {entity} are not known to be those that checkpoint "
            f"{manifest['place']} was trained on; {cure}"
        )
