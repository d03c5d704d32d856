"""What a checkpoint's manifest has to hold, whatever is read of it afterwards."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict, cast

from distributed_il.core.config import SECTIONS, completed
from distributed_il.core.documents import Count, Size, Within, fitted
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Entity
from distributed_il.training.checkpoint_parts import TableName, TablePart

OWN_HASH = "manifest_sha256"
"""Key of the hash of all other keys."""
CURE = "restore it, or start under another run.dir"
_Positive = Annotated[float, Within(math.ulp(0.0), math.inf)]
_Step = Annotated[int, Within(0, 2**31 - 1)]
_log = logging.getLogger(__name__)
_told = set[str]()


class _Method(TypedDict):
    name: str


class _Config(TypedDict):
    """The method's other settings are its own matter: what uses a model does not need the code that trained it."""

    data: dict[str, Any]
    run: dict[str, Any]
    model: dict[str, Any]
    optimizer: dict[str, Any]
    unlabelled: dict[str, Any]
    method: _Method


class _Output(TypedDict):
    half_width: _Positive | None
    slope: _Positive
    intercept: float


class _Column(TypedDict):
    name: str
    values: Count
    sha256: str


class _Factors(TypedDict):
    fingerprint: str
    basis: str
    tau_users: float
    tau_items: float


class _Start(TypedDict):
    checkpoint: str
    dataset: str
    step: Count
    new_users: Count
    new_items: Count


class _Manifest(TypedDict):
    """Keys that came later may be missing."""

    step: _Step
    config: _Config
    dataset: str
    num_users: Size
    num_items: Size
    vocabulary: dict[Entity, str]
    start: _Start | None
    facts: dict[str, Any]
    files: dict[str, Count]
    parts: list[TablePart]
    output: NotRequired[_Output | None]
    features: NotRequired[dict[Entity, list[_Column]]]
    factors: NotRequired[_Factors | None]
    sha256: NotRequired[dict[str, str]]


def check_manifest(manifest: dict[str, Any], place: str) -> None:
    """Holds a manifest against what it has to hold.

    Args:
        manifest: As it was parsed.
        place: Its file, for the message.

    Raises:
        UserError: A key is missing, mistyped or out of range.
    """
    checked = fitted(manifest, _Manifest, place, CURE)
    saved = completed(cast("dict[str, Any]", checked["config"]))
    for section, kind in SECTIONS.items():
        fitted(saved[section], kind, f"{place}: config.{section}", CURE)


def tell_unverified(manifest: Mapping[str, Any]) -> None:
    """Says once in a process that a checkpoint is from before checkpoints carried hashes."""
    place = manifest["place"]
    if OWN_HASH not in manifest and place not in _told:
        _told.add(place)
        _log.warning("checkpoint %s has no hashes, as an earlier version wrote it: damage to it may go unseen", place)


def check_files(manifest: Mapping[str, Any], place: str) -> None:
    """Raises `UserError` unless a manifest that fits lists its files, and the parts hold each row of a table once."""
    for stem in ("tower", "state"):
        if stem not in manifest["files"]:
            raise UserError(f"{place}: files.{stem} is missing; {CURE}")
    for table in ("users", "items"):
        _check_parts(manifest, table, manifest[f"num_{table}"], place)


def _check_parts(manifest: Mapping[str, Any], table: TableName, total: int, place: str) -> None:
    parts = [TablePart(**part) for part in manifest["parts"] if part["table"] == table]
    for part in parts:
        size = manifest["files"].get(part.file, 0)
        if size != part.bytes or part.rows > size:
            raise UserError(f"{place}: {part.file} has {size:,} bytes, too few for {part.rows:,} rows; {CURE}")
    found = sum(part.rows for part in parts)
    if found != total:
        raise UserError(f"{place} holds {found:,} of {total:,} rows of {table} that belong here; {CURE}")
    held = bytearray(total)
    for part in parts:
        rows = slice(part.first, part.numbers[-1] + 1, part.stride)
        if part.numbers[-1] >= total or any(held[rows]):
            raise UserError(f"{place}: {part.file} holds rows that are none of {table}, or another part's; {CURE}")
        held[rows] = b"\1" * part.rows
