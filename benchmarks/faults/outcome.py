"""What a run has left, and where two runs differ: model, metrics, TensorBoard curves."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tb_logging
from tensorboard.util.tensor_util import make_ndarray
from torch import Tensor

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.core.files import filesystem
from distributed_il.models.learner import Learner
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.checkpoint_shards import read_tensors
from distributed_il.training.monitor import event_dir

Curves = dict[str, list[tuple[int, float]]]
_PLUGINS = ("scalars", "images", "text", "histograms", "hparams")
_FACTS = "_hparams_/"
"""Facts of the whole run, of which TensorBoard takes the first; each process that ends the run tells them."""
OF_THE_MACHINE = ("throughput", "environment")
"""What is told anew by each process, and so never the same."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run has left.

    Attributes:
        tensors: The last and the best model with their moments, and the arrays of the run's state.
        facts: Position, history and sums of the last checkpoint.
        metrics: What metrics.json holds, speed, time and machine aside.
        curves: Step and value of each scalar of TensorBoard by its tag, as TensorBoard shows them; speed aside.
        steps: The steps at which pictures, texts and histograms stand, by tag.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    metrics: Mapping[str, Any]
    curves: Curves
    steps: Mapping[str, list[int]]

    @classmethod
    def of(cls, run_dir: str) -> Outcome:
        """Reads a run's directory.

        Args:
            run_dir: A local directory.
        """
        tensors, facts = _models(run_dir)
        metrics = json.loads(Path(run_dir, "metrics.json").read_text())
        for name in OF_THE_MACHINE:
            metrics["run"].pop(name, None)
        del metrics["sha256"]  # which is of the speed, too
        return cls(tensors, facts, metrics, *_tensorboard(event_dir(run_dir)))

    def differences(self, other: Outcome, *, tolerance: float = 0.0) -> list[str]:
        """Where another outcome differs, in words; nothing where it does not.

        Args:
            other: The outcome to compare with.
            tolerance: By how much numbers may differ, absolutely or relatively; 0 asks for the same bits.
        """
        found = [f"tensor {name}" for name in _keys(self.tensors, other.tensors) if not self._same(other, name)]
        if tolerance:
            found = []
        found += [f"facts{path}" for path in _unequal(self.facts, other.facts, tolerance)]
        found += [f"metrics.json{path}" for path in _unequal(self.metrics, other.metrics, tolerance)]
        found += [f"curve {path}" for path in _unequal(self.curves, other.curves, tolerance)]
        found += [f"TensorBoard {path}" for path in _unequal(self.steps, other.steps, 0.0)]
        return found

    def mistakes(self) -> list[str]:
        """Curves whose steps do not rise."""
        rising = {tag: all(a[0] < b[0] for a, b in itertools.pairwise(p)) for tag, p in self.curves.items()}
        return [f"curve {tag}: a step comes twice" for tag, rises in rising.items() if not rises]

    def _same(self, other: Outcome, name: str) -> bool:
        ours, theirs = self.tensors.get(name), other.tensors.get(name)
        return ours is not None and theirs is not None and _bits(ours) == _bits(theirs)


def _bits(tensor: Tensor) -> tuple[torch.Size, bytes]:
    return tensor.shape, tensor.numpy().tobytes()


def _models(run_dir: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    store = CheckpointStore(run_dir)
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    for name in ("best", "last"):
        manifest = store.manifest(name)
        assert manifest is not None
        config = manifest["config"]
        learner = Learner(
            ModelConfig(**config["model"]),
            OptimizerConfig(**config["optimizer"]),
            num_users=manifest["num_users"],
            num_items=manifest["num_items"],
            seed=0,
            collectives=LocalCollectives(),
            device=torch.device("cpu"),
        )
        state = store.restore(manifest, learner)
        for table, rows in (("users", learner.users), ("items", learner.items)):
            tensors |= {f"{name}.{table}": rows.packed, f"{name}.{table}.last_step": rows.last_step}
        tower = read_tensors(filesystem(run_dir)[0], manifest, "tower")
        tensors |= {f"{name}.tower.{part}": tensor for part, tensor in tower.items()}
        tensors |= {f"{name}.{part}": torch.from_numpy(array) for part, array in state.arrays.items()}
        facts = {"step": learner.step, **state.facts}
    return tensors, facts


def _tensorboard(directory: str) -> tuple[Curves, dict[str, list[int]]]:
    """Scalars and the steps of all else, as TensorBoard's own loader reads them."""
    tb_logging.get_logger().setLevel("ERROR")  # it tells of every restart that it finds
    events = EventAccumulator(directory, tensor_size_guidance=dict.fromkeys(_PLUGINS, 0))
    events.Reload()
    curves: Curves = {}
    steps: dict[str, list[int]] = {}
    tags: Any = events.Tags()["tensors"]
    for tag in tags:
        if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            points = [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
            curves |= {} if tag.startswith(OF_THE_MACHINE) else {tag: points}
        elif not tag.startswith(_FACTS):
            steps[tag] = [event.step for event in events.Tensors(tag)]
    return curves, steps


def _keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(one.keys() | other.keys())


def _unequal(one: Any, other: Any, tolerance: float) -> list[str]:
    """Paths to the values that differ, with both."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return [
            f".{key}{path}" for key in _keys(one, other) for path in _unequal(one.get(key), other.get(key), tolerance)
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [f"[{k}]{path}" for k, (a, b) in pairs for path in _unequal(a, b, tolerance)]
    if (
        isinstance(one, float)
        and isinstance(other, float)
        and math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    ):
        return []
    return [] if one == other else [f": {_short(one)} and {_short(other)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
