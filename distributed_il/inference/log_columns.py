"""What the log of a run's dataset called its columns, for files that call theirs so, too."""

from __future__ import annotations

from collections.abc import Callable

from distributed_il.data.dataset import Dataset
from distributed_il.inference.config import CheckpointConfig, PairsConfig, RecommendConfig, SimilarConfig
from distributed_il.inference.trained_run import open_run

USER, ITEM, LABEL = "user_id", "item_id", "label"
"""Usual names of columns, where neither the user nor the dataset knows others."""
_ROLES = {USER: "user", ITEM: "item", LABEL: "label"}


def log_names(config: PairsConfig | RecommendConfig | SimilarConfig) -> Callable[[str], str | None]:
    """Returns what finds another name for a usual one that a file lacks; it has none for a name that the user gave."""
    names: dict[str, str] = {}

    def name_of(usual: str) -> str | None:
        role = _ROLES.get(usual)
        option = "column" if isinstance(config, SimilarConfig) else f"{role}_column"
        if role is None or getattr(config, option, None) is not None:
            return None
        if not names:
            names.update({"": "", **_dataset(config).manifest.reading.columns})
        return names.get(role)

    return name_of


def _dataset(config: CheckpointConfig) -> Dataset:
    if config.data is not None:
        return Dataset.open(config.data)
    return open_run(config.run_dir, config.checkpoint, None, allow_code=config.allow_code).dataset
