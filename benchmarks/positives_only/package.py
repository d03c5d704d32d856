"""Models of the `implicit` package: in an environment of their own, their vectors ranked by our evaluator."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.training_task import TrainingTask
from benchmarks.positives_only import package_vectors
from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import EvaluationConfig
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.evaluation.fallbacks import rank_last
from distributed_il.evaluation.item_scores import Rows
from distributed_il.evaluation.selection import Selection
from distributed_il.evaluation.split_ranking import USERS_OF_A_ROUND, SplitRanking
from distributed_il.evaluation.split_scores import SplitReader

PACKAGE = "implicit==0.7.3"
KEEP_AT = {"als": (3, 6, 10, 15, 20, 30), "bpr": (10, 20, 40, 60, 80, 100)}
"""Iterations after which a model is measured on valid: the best one is kept, as the best round of ours is."""


def make_environment(place: Path) -> Path:
    """Makes an environment with the package, or finds it made.

    Args:
        place: Its directory.

    Returns:
        Its Python.

    Raises:
        UserError: It can't be installed.
    """
    python, finished = place / "bin" / "python", place / f"{PACKAGE}.finished"
    if finished.exists():
        return python
    shutil.rmtree(place, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(
                f"{PACKAGE} can't be installed into {place} ({done.stderr.strip()[-500:]}); mend that, or leave its "
                "models out with --rows"
            )
    finished.touch()
    return python


class VectorScores:
    """Dot products of vectors; items without a training row come last, as with our models."""

    def __init__(self, users: np.ndarray[Any, Any], items: np.ndarray[Any, Any], dataset: Dataset) -> None:
        """Takes float32 [num_users, D] and [num_items, D]."""
        self._users, self._items = torch.from_numpy(users), torch.from_numpy(items)
        self._cold = torch.from_numpy(dataset.activity().item_rows == 0)

    def fetch(self, user_ids: Tensor, item_ids: Tensor) -> tuple[Rows, Rows]:
        return (self._users[user_ids],), (self._items[item_ids], self._cold[item_ids])

    def block(self, users: Rows, items: Rows) -> Tensor:
        scores = users[0] @ items[0].T
        rank_last(scores, items[1])
        return scores


def carry_out_of_package(task: TrainingTask, python: Path) -> dict[str, Any]:
    """Trains a model of the package and measures it.

    Args:
        task: The run; its `max_rounds` are not the package's.
        python: Of the environment.

    Returns:
        `task`, `dataset`, `seconds`, `valid`, `run` and, where the test split was read, `ranking`, as of our models.
    """
    dataset, place = Dataset.open(task.data), Path(task.model_dir)
    place.mkdir(parents=True, exist_ok=True)
    name = task.setting["model"]["backbone"]
    asked = {"model": name, "seed": task.seed, "keep_at": KEEP_AT[name], "settings": task.setting["package"]}
    observed = dataset.observed()
    np.savez(place / "pairs.npz", indptr=observed.indptr, items=observed.items, num_items=dataset.num_items)
    started = time.perf_counter()
    done = subprocess.run(
        [str(python), package_vectors.__file__, str(place / "pairs.npz"), str(place), json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = {"task": task.identity(), "dataset": dataset.fingerprint}
    found["seconds"] = time.perf_counter() - started
    if done.returncode:
        return {**found, "failed": done.stderr.strip()[-500:]}
    measured = {kept: _measured(dataset, "valid", _vectors(place, kept, dataset)) for kept in KEEP_AT[name]}
    selection = Selection(task.select_by)
    best = min(measured, key=lambda kept: selection.cost(selection.value({"ranking": measured[kept]})))
    found |= {"valid": {"ranking": measured[best]}, "run": {"best_round": best, "rounds": max(KEEP_AT[name])}}
    if not math.isfinite(selection.value(found["valid"])):
        return {**found, "failed": f"{task.select_by} of valid is not finite"}
    return found | ({"ranking": _measured(dataset, "test", _vectors(place, best, dataset))} if task.test else {})


def _vectors(place: Path, kept: int, dataset: Dataset) -> VectorScores:
    return VectorScores(np.load(place / f"users-{kept}.npy"), np.load(place / f"items-{kept}.npy"), dataset)


def _measured(dataset: Dataset, split: str, scores: VectorScores) -> dict[str, Any]:
    readers = {
        name: SplitReader(dataset, LocalBlockReader(dataset), name, rank=0, world_size=1) for name in ("valid", "test")
    }
    ranking = SplitRanking(
        dataset,
        readers[split],
        (readers["valid"],) if split == "test" else (),
        EvaluationConfig(ks=[20]),
        most=USERS_OF_A_ROUND if split == "valid" else None,
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
    )
    return ranking.of_scores(scores)
