"""A trained run: one of its checkpoints, its configuration and the dataset that it belongs to."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs
import torch

from distributed_il.core.config import TrainConfig, completed, config_from_dict
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset, filesystem
from distributed_il.evaluation.output import Output
from distributed_il.models.backbones.backbone import BUILT_IN
from distributed_il.models.embedding.factored import Factors
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.checkpoint_manifest import tell_unverified
from distributed_il.training.checkpoint_names import Name
from distributed_il.training.checkpoint_parts import TableName
from distributed_il.training.checkpoint_shards import SavedTable
from distributed_il.training.exposure_factors import factors_for, factors_named_by


@dataclass(frozen=True, eq=False, slots=True)
class TrainedRun:
    """A checkpoint with what it takes to read it."""

    store: CheckpointStore
    filesystem: pafs.FileSystem
    manifest: Mapping[str, Any]  # of the checkpoint; `place` is its directory
    config: TrainConfig  # of the run, but for its method, which is the default one
    dataset: Dataset  # what it was trained on

    @property
    def output(self) -> Output:
        """What is served of the model's logits."""
        return Output.from_dict(self.manifest.get("output"))

    def factors(self) -> Factors | None:
        """Returns the exposure factors that the model was trained with; None where it took none.

        Raises:
            UserError: A file of them is missing or damaged.
        """
        named = factors_named_by(self.manifest)
        return factors_for(self.config.model, self.dataset, named, device=torch.device("cpu"))

    def identity(self) -> dict[str, str]:
        """Returns what tells this checkpoint from any other, those of the same directory among them."""
        content = json.dumps({name: value for name, value in self.manifest.items() if name != "place"}, sort_keys=True)
        return {
            "checkpoint": posixpath.basename(self.manifest["place"]),
            "checkpoint_sha256": hashlib.sha256(content.encode()).hexdigest(),
            "dataset": self.dataset.fingerprint,
        }


def open_run(run_dir: str, checkpoint: Name, data: str | None, *, allow_code: bool = False) -> TrainedRun:
    """Finds a checkpoint and its dataset, `data` or the one that the run names; the model itself is not read yet.

    Args:
        run_dir: Directory or pyarrow URI of the run.
        checkpoint: Which one.
        data: Prepared dataset; None for the one that the run names.
        allow_code: Whether a backbone may be imported that is none of this package's.

    Raises:
        UserError: There is no such checkpoint, it was trained on other data, or it names code and may not.
    """
    store = CheckpointStore(run_dir)
    manifest = store.manifest(checkpoint)
    if manifest is None:
        raise UserError(f"{run_dir} holds no checkpoint named {checkpoint}; give the run.dir of a run that was trained")
    tell_unverified(manifest)
    # Without the method: what uses a model does not need the code that trained it.
    saved = completed(manifest["config"])
    config = config_from_dict({name: section for name, section in saved.items() if name != "method"})
    if config.model.backbone not in BUILT_IN and not allow_code:
        raise UserError(
            f"checkpoint {manifest['place']} names code: model.backbone '{config.model.backbone}'. Importing it may do "
            "anything; if you trust this run, give --allow_code"
        )
    dataset = Dataset.open(data or config.data.path)
    if dataset.fingerprint != manifest["dataset"]:
        raise UserError(
            f"{dataset.path} is not the dataset that {manifest['place']} was trained on (fingerprint "
            f"{dataset.fingerprint[:12]} instead of {manifest['dataset'][:12]}); name the right one with --data"
        )
    run = TrainedRun(store, filesystem(run_dir)[0], manifest, config, dataset)
    _check_sizes(run)
    return run


def _check_sizes(run: TrainedRun) -> None:
    """Holds the tables that the configuration asks for against the checkpoint's files."""
    model = run.config.model
    # A row holds weights and their two moments; how wide it is in a backbone of the user's, that alone knows.
    numbers = 3 * (model.embedding_dim if model.backbone in BUILT_IN else 1)
    row_bytes = numbers * getattr(torch, model.dtype).itemsize
    sizes: dict[TableName, int] = {"users": run.dataset.num_users, "items": run.dataset.num_items}
    for name, rows in sizes.items():
        SavedTable.of(run.filesystem, run.manifest, name).check_sizes(run.manifest["files"], rows, row_bytes)
