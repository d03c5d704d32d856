"""Exposure factors of a dataset as files: beside its manifest, with a manifest and a fingerprint of their own.

    DATASET/factors/current.json              names the factors in use
    DATASET/factors/FINGERPRINT/factors.json  what they say about themselves
    DATASET/factors/FINGERPRINT/*.arrow       z_u, z_i and x_i

The dataset's own manifest knows nothing of them, so its fingerprint stays what it was, and so do runs made with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import numpy as np
import pyarrow.fs as pafs
from numpy.typing import NDArray

from distributed_il.core.documents import Count, read_document
from distributed_il.core.errors import UserError, require
from distributed_il.core.files import is_local, sha256_of, write_atomically
from distributed_il.core.inside import require_inside
from distributed_il.data.dataset.index_files import read_array, write_array
from distributed_il.data.dataset.manifest import TableFile

if TYPE_CHECKING:
    from distributed_il.data.exposure import ExposureFactors

FACTORS_VERSION = 1
"""Version of the files that this program writes and reads."""
FACTORS_DIRECTORY = "factors"
FACTORS_NAME = "factors.json"
CURRENT_NAME = "current.json"
ARRAYS = ("z_users", "z_items", "x_items")
"""Arrays with a row for each user or item, each in a file of its own."""
_VECTORS = ("singular_values", "item_centre", "user_centre", "user_scales", "item_scales")

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class _InUse(TypedDict):
    fingerprint: str


_Document = TypeVar("_Document")


@dataclass(frozen=True, kw_only=True, slots=True)
class FactorsManifest:
    """Everything that identifies the exposure factors of a dataset; see `ExposureFactors` for the mathematics."""

    dataset: str
    """Fingerprint of the dataset that they are of."""
    basis: str = ""
    """Fingerprint of the factors whose columns these have on a dataset that has grown: folded in from them, or computed
    anew and aligned to them. Empty where the columns are their own."""
    rotation: tuple[float, ...] = ()
    """The orthogonal matrix [k, k], row by row, that turned factors into the columns of `basis`; empty for none."""
    seed: int
    """Of the decomposition and of the null edge."""
    tau: float
    """τ as a multiple of each side's mean degree."""
    tau_users: float
    """τ_u, in exposures."""
    tau_items: float
    """τ_i, in exposures."""
    singular_values: tuple[float, ...]
    item_centre: tuple[float, ...]
    user_centre: tuple[float, ...]
    user_scales: tuple[float, ...]
    item_scales: tuple[float, ...]
    energy: float
    null_edge: float
    exposures: dict[str, Count]
    """Training exposures that count, `observed` and `logged`."""
    left_out: dict[str, Count]
    """Those that do not, because their pairs stand in valid or test, too."""
    files: tuple[TableFile, ...] = ()
    version: int = FACTORS_VERSION
    fingerprint: str = field(default="")
    """SHA-256 over all of the above; the files are in it by their own SHA-256."""

    @property
    def columns(self) -> int:
        """k."""
        return len(self.singular_values)

    @property
    def has_structure(self) -> bool:
        """Whether who watched what says more than degrees and chance: the first singular value is above the edge."""
        return bool(self.columns) and self.singular_values[0] > self.null_edge

    def with_files(self, files: tuple[TableFile, ...]) -> FactorsManifest:
        """The same manifest with its files and its fingerprint filled in."""
        listed = replace(self, files=files)
        return replace(listed, fingerprint=listed.computed_fingerprint())

    def computed_fingerprint(self) -> str:
        """The fingerprint that this content should carry."""
        content = self._content()
        del content["fingerprint"]
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> str:
        """The text of factors.json."""
        return json.dumps(self._content(), indent=2) + "\n"

    def _content(self) -> dict[str, Any]:
        """What is written; of factors without a rotation it says what it said before there were any."""
        content = asdict(self)
        if not self.rotation:
            del content["rotation"]
        return content


class StoredFactors:
    """The exposure factors of a dataset, read only. The arrays of users and items are memory-mapped."""

    def __init__(self, fs: pafs.FileSystem, root: str, manifest: FactorsManifest, cure: str) -> None:
        """Use `Dataset.factors`."""
        self.manifest = manifest
        """What they say about themselves."""
        self._fs, self._root, self._cure = fs, root, cure

    @property
    def fingerprint(self) -> str:
        """SHA-256 that identifies them."""
        return self.manifest.fingerprint

    @property
    def basis_fingerprint(self) -> str:
        """SHA-256 that identifies their columns: the same on a dataset and on those that go on from it."""
        return self.manifest.basis or self.manifest.fingerprint

    @property
    def columns(self) -> int:
        """k."""
        return self.manifest.columns

    @property
    def has_structure(self) -> bool:
        """Whether who watched what says more than degrees and chance."""
        return self.manifest.has_structure

    @cached_property
    def z_users(self) -> Float32:
        """z_u, unclipped, and unscaled unless aligned, float32 [num_users, k]; 0 for users without exposures."""
        return self._array("z_users")

    @cached_property
    def z_items(self) -> Float32:
        """z_i likewise, float32 [num_items, k]; 0 for items without exposures."""
        return self._array("z_items")

    @cached_property
    def x_items(self) -> Float32:
        """x_i, from which users are folded in, float32 [num_items, k]; 0 for items without a vector."""
        return self._array("x_items")

    @property
    def singular_values(self) -> Float64:
        """S, float64 [k], descending."""
        return np.array(self.manifest.singular_values)

    @property
    def user_scales(self) -> Float64:
        """What z_u is still to be divided by, float64 [k]: 1 for aligned factors.

        Else it is their root mean square over users with exposures when the basis was computed.
        """
        return self._scales(self.manifest.user_scales)

    @property
    def item_scales(self) -> Float64:
        """What z_i is still to be divided by, likewise, float64 [k]."""
        return self._scales(self.manifest.item_scales)

    @property
    def rotation(self) -> Float64 | None:
        """What turned them into the columns of earlier factors, float64 [k, k]; None where they are not aligned."""
        rotation = self.manifest.rotation
        return np.array(rotation).reshape(self.columns, self.columns) if rotation else None

    def basis(self) -> ExposureFactors:
        """What folds in users and items that come later; its item vectors are mapped."""
        # Most readers take the stored arrays alone, and need not wait for torch.
        from distributed_il.data.exposure import ExposureFactors

        found = self.manifest
        return ExposureFactors(
            item_vectors=self.x_items,
            tau_users=found.tau_users,
            tau_items=found.tau_items,
            energy=found.energy,
            null_edge=found.null_edge,
            rotation=self.rotation,
            **{name: np.array(getattr(found, name)) for name in _VECTORS},
        )

    def _scales(self, found: tuple[float, ...]) -> Float64:
        return np.ones(self.columns) if self.manifest.rotation else np.array(found)

    def _array(self, name: str) -> Float32:
        path = f"{self._root}/{_file_name(name)}"
        listed = next(file for file in self.manifest.files if file.path == _file_name(name))
        flat = read_array(self._fs, path, listed.sha256, self._cure)
        if flat.dtype != np.float32 or flat.size != listed.rows:
            raise UserError(
                f"{path} holds {flat.size} numbers of {flat.dtype} instead of {listed.rows} of float32; {self._cure}"
            )
        return flat.reshape(-1, self.columns)


def read_factors(
    fs: pafs.FileSystem,
    root: str,
    path: str,
    dataset: str,
    sizes: tuple[int, int],
    fingerprint: str | None = None,
    *,
    whole: bool = True,
) -> StoredFactors | None:
    """Opens the factors of a dataset and checks that their files are there in full size.

    Args:
        fs: Where the dataset lies.
        root: Its directory on `fs`.
        path: The same as it was given, for messages.
        dataset: Its fingerprint.
        sizes: Its users and items.
        fingerprint: Which factors; by default those in use.
        whole: False to leave the check of the files away, because they are to be written again.

    Returns:
        The factors; None where the dataset has none.

    Raises:
        UserError: A file is missing or damaged, or the factors are those of another dataset or not there.
    """
    cure = f"compute them again: distributed-il prepare --factors_only --output={path}"
    directory = f"{root}/{FACTORS_DIRECTORY}"
    if fingerprint is None:
        place = f"{directory}/{CURRENT_NAME}"
        if fs.get_file_info(place).type == pafs.FileType.NotFound:
            _require_none(fs, directory, place, cure)
            return None
        fingerprint = _read(fs, place, _InUse, cure)["fingerprint"]
    named = f"{fingerprint}/{FACTORS_NAME}"
    require_inside(fs, directory, [named], f"{directory}/{CURRENT_NAME}")
    place = f"{directory}/{named}"
    if fs.get_file_info(place).type != pafs.FileType.File:
        raise UserError(f"{place} is missing; {cure}")
    manifest = _read(fs, place, FactorsManifest, cure)
    _check_manifest(manifest, place, cure)
    if manifest.computed_fingerprint() != manifest.fingerprint or manifest.fingerprint != fingerprint:
        raise UserError(f"{place} was changed: its fingerprint does not fit its content; {cure}")
    if manifest.dataset != dataset:
        raise UserError(f"{place} is of the dataset {manifest.dataset[:12]}, not of {path}, {dataset[:12]}; {cure}")
    rows = dict(zip(ARRAYS, (sizes[0], sizes[1], sizes[1]), strict=True))
    expected = {_file_name(name): number * manifest.columns for name, number in rows.items()}
    if {file.path: file.rows for file in manifest.files} != expected:
        raise UserError(f"{place} does not list a number for each of {sizes[0]} users and {sizes[1]} items; {cure}")
    require_inside(fs, f"{directory}/{fingerprint}", expected, place)
    for file in manifest.files if whole else ():
        info = fs.get_file_info(f"{directory}/{fingerprint}/{file.path}")
        if info.type != pafs.FileType.File:
            raise UserError(f"{info.path} is missing; {cure}")
        if info.size != file.bytes:
            raise UserError(f"{info.path} has {info.size} bytes instead of {file.bytes}; {cure}")
    return StoredFactors(fs, f"{directory}/{fingerprint}", manifest, cure)


def write_factors(
    fs: pafs.FileSystem, root: str, scratch: Path, manifest: FactorsManifest, arrays: Mapping[str, Float32]
) -> FactorsManifest:
    """Writes factors beside a dataset and makes them those in use, whole or not at all.

    Factors written before stay where they are, for runs that name them. The same factors once more change nothing.

    Args:
        fs: Where the dataset lies.
        root: Its directory on `fs`.
        scratch: A local directory to build in; on the dataset's disk where that is local.
        manifest: Without files.
        arrays: float32 [rows, k], by their names in `ARRAYS`.

    Returns:
        The whole manifest.
    """
    built, here = scratch / FACTORS_DIRECTORY, pafs.LocalFileSystem()
    built.mkdir()
    files = [write_array(here, str(built), _file_name(name), name, arrays[name].reshape(-1)) for name in ARRAYS]
    manifest = manifest.with_files(tuple(files))
    (built / FACTORS_NAME).write_text(manifest.to_json())
    directory = f"{root}/{FACTORS_DIRECTORY}"
    target = f"{directory}/{manifest.fingerprint}"
    if not _is_whole(fs, target, manifest):
        fs.create_dir(directory, recursive=True)
        if fs.get_file_info(target).type == pafs.FileType.Directory:
            fs.delete_dir(target)
        if is_local(fs):
            os.rename(built, target)
        else:
            fs.create_dir(target)
            for name in (*(file.path for file in files), FACTORS_NAME):  # the manifest last
                pafs.copy_files(f"{built}/{name}", f"{target}/{name}", here, fs)
    shutil.rmtree(built, ignore_errors=True)
    current = json.dumps({"fingerprint": manifest.fingerprint}) + "\n"
    write_atomically(fs, f"{directory}/{CURRENT_NAME}", current.encode())
    return manifest


def _is_whole(fs: pafs.FileSystem, target: str, manifest: FactorsManifest) -> bool:
    """Returns whether the same factors lie there already, undamaged."""
    try:
        with fs.open_input_stream(f"{target}/{FACTORS_NAME}", compression=None) as stream:
            same = stream.read().decode(errors="replace") == manifest.to_json()
        return same and all(sha256_of(fs, f"{target}/{file.path}") == file.sha256 for file in manifest.files)
    except OSError:
        return False


def _file_name(array: str) -> str:
    return f"{array}.arrow"


def _read(fs: pafs.FileSystem, place: str, kind: type[_Document], cure: str) -> _Document:
    try:
        with fs.open_input_stream(place, compression=None) as stream:
            content = stream.read()
    except OSError as error:
        raise UserError(f"{place} can't be read ({error}); {cure}") from error
    return read_document(content, kind, place, cure)


def _require_none(fs: pafs.FileSystem, directory: str, place: str, cure: str) -> None:
    """Raises `UserError` where there are factors and nothing names those in use: models would be trained without."""
    found = fs.get_file_info(pafs.FileSelector(directory, allow_not_found=True, recursive=True))
    if any(entry.base_name == FACTORS_NAME for entry in found):
        raise UserError(f"{place} is missing, and {directory} holds factors; {cure}")


def _check_manifest(manifest: FactorsManifest, place: str, cure: str) -> None:
    """Raises `UserError` unless the version is known, all vectors have the same length, and the rotation is one."""
    version, columns = manifest.version, manifest.columns
    require(
        version == FACTORS_VERSION, f"{place}: version is {version}, and this program reads {FACTORS_VERSION}; {cure}"
    )
    for name in _VECTORS:
        numbers = len(getattr(manifest, name))
        require(numbers == columns, f"{place}: {name} has {numbers} numbers, and there are {columns} columns; {cure}")
    if manifest.rotation:
        problem = f"{place}: rotation is no orthogonal matrix of {columns} columns; {cure}"
        require(len(manifest.rotation) == columns**2, problem)
        rotation = np.array(manifest.rotation).reshape(columns, columns)
        require(np.allclose(rotation @ rotation.T, np.eye(columns), atol=1e-6), problem)
