"""What a model takes of a dataset's side features, and whether a model of another dataset takes the same."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from distributed_il.core.config import ModelConfig
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset, Entity
from distributed_il.data.dataset.vocabulary import VocabularyDigest
from distributed_il.data.features import Features
from distributed_il.models.backbones import find_backbone

_ENTITIES: tuple[Entity, ...] = ("users", "items")


def features_for(model: ModelConfig, dataset: Dataset) -> Features | None:
    """Returns a model's side features; None where its backbone takes none or the dataset has none.

    Raises:
        UserError: There is no such backbone, or a file of the dataset is damaged.
    """
    columns = [dataset.feature_columns(entity) for entity in _ENTITIES]
    if not find_backbone(model).takes_features or not any(columns):
        return None
    for entity in _ENTITIES:
        dataset.feature_values(entity)  # as many as the manifest says, before a model gets a row for each
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to it
        users, items = (torch.from_numpy(dataset.feature_codes(entity)) for entity in _ENTITIES)
    user_values, item_values = (tuple(column.values for column in some) for some in columns)
    widths = [tuple(column.width for column in some) for some in columns]
    return Features(users, items, user_values, item_values, *(() if set(some) <= {1} else some for some in widths))


def about_features(model: ModelConfig, dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    """Identifies a model's side features for its checkpoints: each column's name, number of values and digest."""
    if not find_backbone(model).takes_features:
        return {}
    return {
        entity: [
            {"name": name, "values": len(values), "sha256": _digest(values)}
            for name, values in dataset.feature_values(entity).items()
        ]
        for entity in _ENTITIES
        if dataset.feature_columns(entity)
    }


def check_grown_features(model: ModelConfig, dataset: Dataset, manifest: Mapping[str, Any]) -> None:
    """Refuses a model whose side features are not those of a dataset, but for values that have come to them.

    Raises:
        UserError: Columns are others, or codes stand for other values.
    """
    if not find_backbone(model).takes_features:
        return
    for entity in _ENTITIES:
        kind, there = entity.removesuffix("s"), manifest.get("features", {}).get(entity, [])
        cure = (
            f"prepare the dataset with `distributed-il prepare --append_to`, --{kind}_features and "
            f"--{kind}_feature_columns, or train without run.start_from (--from)"
        )
        names, here = [column["name"] for column in there], dataset.feature_values(entity)
        if names != list(here):
            raise UserError(
                f"{dataset.path} has the {kind} features [{', '.join(here)}], and checkpoint {manifest['place']} was "
                f"trained with [{', '.join(names)}]; {cure}"
            )
        for column in there:
            first = here[column["name"]].slice(0, column["values"])
            if len(first) < column["values"] or _digest(first) != column["sha256"]:
                raise UserError(
                    f"{dataset.path}: the first {column['values']:,} values of the {kind} feature {column['name']} are "
                    f"not those that checkpoint {manifest['place']} was trained with; {cure}"
                )


def _digest(values: Any) -> str:
    digest = VocabularyDigest()
    digest.add(values)
    return digest.hexdigest()
