"""Checkpoints: model, optimiser and position of a run; safetensors and JSON, readable without Ray, never pickle.

RUN/checkpoints/000012-00003456/   round and optimiser step
    users-00000.safetensors …      packed rows [w|m|v] and last_step, 2**20 rows a part
    items-00000.safetensors …
    tower.safetensors              parameters and their moments
    state.safetensors              arrays of the run's state
    manifest.json                  written last
RUN/checkpoints/last.json, best.json   name the checkpoint; replaced in one move
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pyarrow import fs
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from distributed_il.dataset.files import filesystem
from distributed_il.errors import UserError
from distributed_il.learner import Learner
from distributed_il.run_files import write_aside
from distributed_il.tables import EmbeddingTable

FORMAT_VERSION = 2
PART_ROWS = 2**20
Name = Literal["last", "best"]


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run needs besides the model to go on.

    Attributes:
        facts: JSON values: position, best round, history, totals of the round.
        arrays: Larger numbers: decision history, histograms.
    """

    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[np.generic]]


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, run_dir: str) -> None:
        """Names the place; nothing is touched yet.

        Args:
            run_dir: Directory or pyarrow URI of the run.
        """
        self._fs, root = filesystem(run_dir)
        self.root = f"{root.rstrip('/')}/checkpoints"

    def save(
        self, learner: Learner, state: RunState, *, round: int, about: Mapping[str, Any], names: tuple[Name, ...]
    ) -> None:
        """Writes a checkpoint, then lets the names point to it, then removes checkpoints without a name.

        Args:
            learner: The replica to save.
            state: The run's state.
            round: Rounds finished, for the directory's name.
            about: What the checkpoint belongs to: config, dataset fingerprint, sizes.
            names: Names that it gets.
        """
        name = f"{round:06d}-{learner.step:08d}"
        place = f"{self.root}/{name}"
        if self._fs.get_file_info(place).type != fs.FileType.NotFound:
            self._fs.delete_dir(place)
        self._fs.create_dir(place, recursive=True)
        files = {
            **self._save_table(place, "users", learner.users),
            **self._save_table(place, "items", learner.items),
            "tower": self._write(place, "tower.safetensors", save_tensors(_on_cpu(learner.tower.state()))),
            "state": self._write(place, "state.safetensors", save_arrays(_contiguous(state.arrays))),
        }
        manifest = {
            "format_version": FORMAT_VERSION,
            "step": learner.step,
            **about,
            "facts": state.facts,
            "files": files,
        }
        write_aside(self._fs, f"{place}/manifest.json", json.dumps(manifest, indent=1).encode())
        for pointer in names:
            write_aside(self._fs, f"{self.root}/{pointer}.json", json.dumps({"checkpoint": name}).encode())
        self._remove_unnamed()

    def manifest(self, name: Name) -> dict[str, Any] | None:
        """The manifest of a named checkpoint, with its directory under `place`; None where there is none.

        Args:
            name: `last` or `best`.

        Raises:
            UserError: It is damaged, or of another format version.
        """
        pointer = f"{self.root}/{name}.json"
        if self._fs.get_file_info(pointer).type == fs.FileType.NotFound:
            return None
        place = f"{self.root}/{json.loads(self._read(pointer))['checkpoint']}"
        try:
            manifest = json.loads(self._read(f"{place}/manifest.json"))
        except (OSError, json.JSONDecodeError) as error:
            raise UserError(
                f"checkpoint {place}/manifest.json can't be read ({error}); restore it, or start under another run.dir"
            ) from error
        if manifest["format_version"] != FORMAT_VERSION:
            raise UserError(
                f"checkpoint {place} has format version {manifest['format_version']}, this program reads "
                f"{FORMAT_VERSION}; use the program that wrote it, or start under another run.dir"
            )
        for file, size in manifest["files"].items():
            found = self._fs.get_file_info(f"{place}/{_file_name(file)}")
            if found.type != fs.FileType.File or found.size != size:
                raise UserError(
                    f"checkpoint file {place}/{_file_name(file)} is missing or cut short ({found.size} of {size} "
                    "bytes); restore it, or start under another run.dir"
                )
        return {**manifest, "place": place}

    def restore(self, manifest: Mapping[str, Any], learner: Learner) -> RunState:
        """Loads a checkpoint into a replica of the same shape.

        Args:
            manifest: From `manifest`.
            learner: Overwritten: tables, tower, optimiser, step.

        Returns:
            The run's state.
        """
        place = manifest["place"]
        self._load_table(place, "users", learner.users)
        self._load_table(place, "items", learner.items)
        learner.step = manifest["step"]
        tower = load_tensors(self._read(f"{place}/tower.safetensors"))
        for name, tensor in learner.tower.state().items():
            tensor.copy_(tower[name])
        return RunState(manifest["facts"], load_arrays(self._read(f"{place}/state.safetensors")))

    def _save_table(self, place: str, name: str, table: EmbeddingTable) -> dict[str, int]:
        files: dict[str, int] = {}
        for number, start in enumerate(range(0, table.num_rows, PART_ROWS)):
            part = slice(start, start + PART_ROWS)
            tensors = {
                "packed": table.packed[part].cpu().contiguous(),
                "last_step": table.last_step[part].cpu().contiguous(),
            }
            stem = f"{name}-{number:05d}"
            files[stem] = self._write(place, _file_name(stem), save_tensors(tensors))
        return files

    def _load_table(self, place: str, name: str, table: EmbeddingTable) -> None:
        for number, start in enumerate(range(0, table.num_rows, PART_ROWS)):
            tensors = load_tensors(self._read(f"{place}/{_file_name(f'{name}-{number:05d}')}"))
            table.packed[start : start + PART_ROWS] = tensors["packed"].to(table.packed.device)
            table.last_step[start : start + PART_ROWS] = tensors["last_step"].to(table.packed.device)

    def _write(self, place: str, name: str, content: bytes) -> int:
        write_aside(self._fs, f"{place}/{name}", content)
        return len(content)

    def _read(self, path: str) -> bytes:
        with self._fs.open_input_file(path) as stream:
            return stream.read()

    def _remove_unnamed(self) -> None:
        kept = {
            json.loads(self._read(f"{self.root}/{name}.json"))["checkpoint"]
            for name in ("last", "best")
            if self._fs.get_file_info(f"{self.root}/{name}.json").type == fs.FileType.File
        }
        for entry in self._fs.get_file_info(fs.FileSelector(self.root)):
            if entry.type == fs.FileType.Directory and entry.base_name not in kept:
                self._fs.delete_dir(entry.path)


def _file_name(stem: str) -> str:
    return f"{stem}.safetensors"


def _contiguous(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _on_cpu(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # A clone each: safetensors refuses views that share storage.
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
