"""A warm start: a new run begins with the model of another one, on the same dataset or on one grown from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset, Entity
from distributed_il.models.learner import Learner
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.exposure_factors import check_grown_factors
from distributed_il.training.resume import changed_settings
from distributed_il.training.side_features import check_grown_features

FREE_IN_MODEL = {"model.tables", "model.init_std", "model.factor_decay", "model.row_dropout"}
"""Settings of the model that do not decide what its weights mean."""
_OF_FACTORS = {"model.factors", "model.factor_scale"}
"""Settings that a model trained without exposure factors leaves open: its maps start at 0."""
_CHECKPOINTS = "/checkpoints/"


def find_warm_start(path: str) -> tuple[CheckpointStore, dict[str, Any]]:
    """Finds the checkpoint that `run.start_from` names: a run's directory, for its best model, or RUN/checkpoints/NAME.

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


def check_warm_start(config: TrainConfig, dataset: Dataset, manifest: Mapping[str, Any]) -> None:
    """Refuses a checkpoint that a run can't start from.

    Raises:
        UserError: The model is built otherwise, or the dataset does not begin with the ids that it was trained on, or
            has other side features or exposure factors of another basis where the model takes such.
    """
    free = FREE_IN_MODEL if manifest.get("factors") else FREE_IN_MODEL | _OF_FACTORS
    different = [
        f"{key} (there {there}, here {here})"
        for key, (there, here) in changed_settings(config, manifest).items()
        if key.startswith("model.") and key not in free
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
    check_grown_factors(config.model, dataset, manifest)


def start_warm(path: str, config: TrainConfig, dataset: Dataset, learner: Learner) -> dict[str, Any]:
    """Gives a new run's learner the model of another run, whatever the method of either.

    Old ids keep their rows with both Adam moments, as the tower does, so the count of steps goes on too: moments and
    the correction of their bias belong together. Rows of new ids stay as the learner has drawn them, with moments of 0,
    like those of an id that the old run had never met; so do the tower's rows of new values of side features, and the
    maps of exposure factors where the old run had none. Returns what the run began from, for its checkpoints and
    metrics.json.

    Raises:
        UserError: There is no such checkpoint, it is damaged, or does not fit.
    """
    store, manifest = find_warm_start(path)
    check_warm_start(config, dataset, manifest)
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


def _check_grown(dataset: Dataset, manifest: Mapping[str, Any], entity: Entity, there: int, here: int) -> None:
    cure = (
        "row k of a table belongs to the k-th id, so they would be mixed up; make the dataset with `distributed-il "
        "prepare --append_to`, or train without run.start_from (--from)"
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
