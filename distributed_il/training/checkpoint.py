"""Checkpoints: model, optimiser and position of a run; safetensors and JSON, readable without Ray, never pickle.

RUN/checkpoints/000012-00003456/   round and optimiser step
    users-00000.safetensors …      packed rows [w|m|v] and last_step, in parts; part k is written by rank k mod W
    items-00000.safetensors …
    tower.safetensors              parameters and their moments
    state.safetensors              arrays of the run's state
    manifest.json                  written last; says which rows each part holds, and the hashes of all, its own too
RUN/checkpoints/names.json         which checkpoint is `last` and which `best`; both are replaced in one move. It is
                                   there before the first checkpoint, so that one without it has lost it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyarrow import fs
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

from distributed_il.core.collectives import FirstError
from distributed_il.core.documents import parse
from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem, read_whole, write_atomically
from distributed_il.core.inside import require_inside
from distributed_il.models.learner import Learner
from distributed_il.training.checkpoint_manifest import CURE, OWN_HASH, check_files, check_manifest
from distributed_il.training.checkpoint_names import DIRECTORY, NAMES_FILE, CheckpointNames, Name, read_names
from distributed_il.training.checkpoint_parts import TablePart
from distributed_il.training.checkpoint_shards import (
    SavedTable,
    file_name,
    read_table,
    read_tensors,
    sha256,
    write_parts,
)

FORMAT_VERSION = 3
_OLD_NAME_FILE = "last.json"


@dataclass(frozen=True, slots=True)
class SavedState:
    """What a run needs besides the model to go on."""

    facts: Mapping[str, Any]  # JSON values: position, best round, history, totals of the round
    arrays: Mapping[str, NDArray[np.generic]]  # larger numbers: decision history, histograms


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, run_dir: str, check_claim: Callable[[], None] = lambda: None) -> None:
        """Takes the run's directory, and what raises where that is not to be written any more; rank 0 calls it."""
        self._fs, root = filesystem(run_dir)
        self._check_claim = check_claim
        self.root = f"{root.rstrip('/')}/checkpoints"

    def save(
        self, learner: Learner, state: SavedState, *, round: int, about: Mapping[str, Any], names: tuple[Name, ...]
    ) -> None:
        """Writes a checkpoint, then lets the names point to it, then removes checkpoints without a name.

        All ranks call it together, and each writes its share of the rows. It is there for all of them or, if a rank
        can't write, for none: then the names stay with the checkpoint before. `about` says what the checkpoint belongs
        to: config, dataset fingerprint, sizes; the `state` written is rank 0's.

        Raises:
            UserError: This rank's disk is full, or the directory is another run's by now.
            RuntimeError: Another rank could not write.
        """
        name, rank = f"{round:06d}-{learner.step:08d}", learner.collectives.rank
        place = f"{self.root}/{name}"
        with _together(learner, place):
            if rank == 0:
                self._check_claim()
                if not self._names().directories:
                    self._write_names(CheckpointNames({}, {}))
                self._make(place)
        contents: dict[str, bytes] = {}
        parts: list[TablePart] = []
        with _together(learner, place):
            parts = self._write_rows(place, learner)
            if rank == 0:
                contents["tower"] = save_tensors(_on_cpu(learner.tower.state()))
                contents["state"] = save_arrays(_contiguous(state.arrays))
                for stem, content in contents.items():
                    write_atomically(self._fs, f"{place}/{file_name(stem)}", content)
        parts = _gather_parts(learner, parts)
        with _together(learner, place):
            if rank == 0:
                manifest = {
                    "format_version": FORMAT_VERSION,
                    "step": learner.step,
                    **about,
                    "facts": state.facts,
                    "files": {stem: len(content) for stem, content in contents.items()}
                    | {part.file: part.bytes for part in parts},
                    "sha256": {stem: sha256(content) for stem, content in contents.items()},
                    "parts": [asdict(part) for part in parts],
                }
                manifest = json.loads(json.dumps(manifest))  # as it will be read: the hash is of that
                manifest[OWN_HASH] = _hash_of(manifest)
                write_atomically(self._fs, f"{place}/manifest.json", json.dumps(manifest, indent=1).encode())
                self._check_claim()
                named = self._names().with_names(names, name, manifest[OWN_HASH])
                self._write_names(named)
                self._remove_all_but(named.directories.values())

    def manifest(self, name: Name) -> dict[str, Any] | None:
        """Returns a named checkpoint's manifest with its directory under `place`; None where there is none.

        Raises:
            UserError: It is damaged, or of another format version.
        """
        named = self._names()
        if name not in named.directories:
            return None
        manifest = self.manifest_of(named.directories[name])
        # An earlier version wrote no hashes.
        if named.hashes.get(name, manifest.get(OWN_HASH)) != manifest.get(OWN_HASH):
            raise UserError(
                f"{self.root}/{NAMES_FILE}: `{name}` names {manifest['place']}, which is another checkpoint than was "
                f"written there; {CURE}"
            )
        return manifest

    def manifest_of(self, directory: str) -> dict[str, Any]:
        """Returns the manifest of a checkpoint by its directory's name, as `manifest` gives it.

        Raises:
            UserError: It is missing or damaged, of another format version, or names files elsewhere.
        """
        place = f"{self.root}/{directory}"
        require_inside(self._fs, self.root, [directory, f"{directory}/manifest.json"], f"{self.root}/{NAMES_FILE}")
        try:
            manifest = parse(read_whole(self._fs, f"{place}/manifest.json"), f"checkpoint {place}/manifest.json", CURE)
        except OSError as error:
            raise UserError(f"checkpoint {place}/manifest.json can't be read ({error}); {CURE}") from error
        version = manifest.get("format_version") if isinstance(manifest, dict) else None
        if version != FORMAT_VERSION:
            raise UserError(
                f"checkpoint {place} has format version {version}, this program reads {FORMAT_VERSION}; use the "
                "program that wrote it, or start under another run.dir"
            )
        # An earlier version wrote no hashes.
        if OWN_HASH in manifest and manifest[OWN_HASH] != _hash_of(manifest):
            raise UserError(f"checkpoint {place}/manifest.json is not what was written: the hashes differ; {CURE}")
        check_manifest(manifest, f"checkpoint {place}/manifest.json")
        names = [file_name(stem) for stem in (*manifest["files"], *(part["file"] for part in manifest["parts"]))]
        require_inside(self._fs, place, names, f"{place}/manifest.json")
        check_files(manifest, f"checkpoint {place}/manifest.json")
        paths = [f"{place}/{file_name(stem)}" for stem in manifest["files"]]
        for found, size in zip(self._fs.get_file_info(paths), manifest["files"].values(), strict=True):
            if found.type != fs.FileType.File or found.size != size:
                raise UserError(
                    f"checkpoint file {found.path} is missing or cut short ({found.size or 0} of {size} bytes); "
                    "restore it, or start under another run.dir"
                )
        return {**manifest, "place": place}

    def newest(self) -> str | None:
        """The directory of the last checkpoint, which tells one from another; None before the first."""
        return self._names().directories.get("last")

    def restore(self, manifest: Mapping[str, Any], learner: Learner) -> SavedState:
        """Loads a checkpoint into a learner, of the tables the rows held here, and returns the run's state.

        Raises:
            UserError: A file is damaged, or rows are missing.
        """
        self._load(manifest, learner)
        return self.state(manifest)

    def state(self, manifest: Mapping[str, Any]) -> SavedState:
        """Reads the run's state of a checkpoint, without the model.

        Raises:
            UserError: The file is damaged.
        """
        arrays = read_tensors(self._fs, manifest, "state")
        return SavedState(manifest["facts"], {name: array.numpy() for name, array in arrays.items()})

    def restore_grown(self, manifest: Mapping[str, Any], learner: Learner) -> None:
        """Loads the model of a checkpoint into one that may have more rows: what it lacks stays as it is.

        Raises:
            UserError: A file is damaged, or rows are missing.
        """
        self._load(manifest, learner, rows_there=(manifest["num_users"], manifest["num_items"]))

    def _load(
        self, manifest: Mapping[str, Any], learner: Learner, rows_there: tuple[int | None, int | None] = (None, None)
    ) -> None:
        read_table(SavedTable.of(self._fs, manifest, "users"), learner.users, rows_there=rows_there[0])
        read_table(SavedTable.of(self._fs, manifest, "items"), learner.items, rows_there=rows_there[1])
        learner.step = manifest["step"]
        tower = read_tensors(self._fs, manifest, "tower")
        for name, tensor in learner.tower.state().items():
            if rows_there != (None, None) and name not in tower:
                continue  # an extra that the other run had no use for
            saved = tower[name]
            # A parameter with a row for each value of a side feature may have grown by some.
            (tensor if tensor.shape == saved.shape else tensor[: len(saved)]).copy_(saved)

    def _make(self, place: str) -> None:
        """An empty directory; what an attempt that failed has left there goes."""
        if self._fs.get_file_info(place).type != fs.FileType.NotFound:
            self._fs.delete_dir(place)
        self._fs.create_dir(place, recursive=True)

    def _write_rows(self, place: str, learner: Learner) -> list[TablePart]:
        rank, world = learner.collectives.rank, learner.collectives.world_size
        users = write_parts(self._fs, place, "users", learner.users, rank=rank, world_size=world)
        return users + write_parts(self._fs, place, "items", learner.items, rank=rank, world_size=world)

    def _names(self) -> CheckpointNames:
        """What the names stand for.

        Raises:
            UserError: Names are damaged, or there are checkpoints without names: the run would begin anew and remove
                them.
        """
        path, old = (f"{self.root}/{file}" for file in (NAMES_FILE, _OLD_NAME_FILE))
        names, old_name = self._fs.get_file_info([path, old])
        if names.type != fs.FileType.NotFound:
            return read_names(path, read_whole(self._fs, path))
        if old_name.type != fs.FileType.NotFound:
            raise UserError(
                f"the checkpoints in {self.root} are named by {_OLD_NAME_FILE}, as an earlier version did; use the "
                "program that wrote them, or start under another run.dir"
            )
        if unnamed := self._checkpoints():
            raise UserError(
                f"{path} is missing, and {self.root} holds checkpoint {unnamed[-1].base_name}; restore the file "
                f"({json.dumps({'last': unnamed[-1].base_name})} names that one), or start under another run.dir"
            )
        return CheckpointNames({}, {})

    def _write_names(self, names: CheckpointNames) -> None:
        # In one file: a kill between two would leave a `best` of a round that `last` has yet to run.
        self._fs.create_dir(self.root, recursive=True)
        write_atomically(self._fs, f"{self.root}/{NAMES_FILE}", json.dumps(names.document()).encode())

    def _checkpoints(self) -> list[fs.FileInfo]:
        """The directories that this program made, in order; what somebody else put beside them is not touched."""
        found = self._fs.get_file_info(fs.FileSelector(self.root, allow_not_found=True))
        made = [entry for entry in found if entry.type == fs.FileType.Directory and DIRECTORY.match(entry.base_name)]
        return sorted(made, key=lambda entry: entry.base_name)

    def _remove_all_but(self, kept: Collection[str]) -> None:
        for entry in self._checkpoints():
            if entry.base_name not in kept:
                self._fs.delete_dir(entry.path)


def _hash_of(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest's values, but for the hash itself."""
    values = {name: value for name, value in manifest.items() if name != OWN_HASH}
    return sha256(json.dumps(values, sort_keys=True).encode())


@contextmanager
def _together(learner: Learner, place: str) -> Generator[None]:
    """Ends on all ranks with an error if what it encloses fails on one; no rank leaves it before all are done."""
    problem = FirstError()
    with problem.kept():
        yield
    what = f"the checkpoint before {place} stands: this one could not be written"
    problem.raise_together(what, learner.collectives, learner.device)


def _gather_parts(learner: Learner, parts: Sequence[TablePart]) -> list[TablePart]:
    """The parts that all ranks have written, in order, on rank 0; elsewhere none."""
    text = json.dumps([asdict(part) for part in parts]).encode()
    told = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(learner.device)
    arrived = learner.collectives.all_to_all([told, *[told[:0]] * (learner.collectives.world_size - 1)])
    found = [part for one in arrived if one.numel() for part in json.loads(one.cpu().numpy().tobytes())]
    return sorted((TablePart(**part) for part in found), key=lambda part: (part.table, part.file))


def _contiguous(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _on_cpu(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # A clone each: safetensors refuses views that share storage.
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
