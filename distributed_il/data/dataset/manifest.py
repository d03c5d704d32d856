"""The manifest: what a prepared dataset says about itself. It is written last; where it is missing, there is none."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from distributed_il.core.documents import Count, Size, fitted, read_signed, signed
from distributed_il.core.errors import UserError, require

SCHEMA_VERSION = 1
"""Version of the directory's layout that this program writes and reads."""
MANIFEST_NAME = "manifest.json"
"""File name of the manifest."""
SPLITS = ("train", "valid", "test")
"""Splits that every dataset has."""
UNCLEAR = "unclear"
"""Logged pairs whose feedback is unclear, where there are any."""
WEIGHT = "weight"
"""Column of training rows, where they have weights: float32, above 0."""
Entity = Literal["users", "items"]
"""What has external ids, and side features."""
USERS_NAME = "users.parquet"
ITEMS_NAME = "items.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneFile:
    """One Parquet file of a lane."""

    path: str
    """Relative to the dataset."""
    lane: Count
    rows: Count
    row_groups: tuple[Count, ...]
    """Rows of each row group."""
    bytes: Count
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """The rows of one split."""

    rows: Count
    positives: Count
    """Rows of label 1; 0 for unclear rows."""
    columns: tuple[str, ...]
    files: tuple[LaneFile, ...]
    """In order of lane, and within a lane in order of rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFile:
    """A vocabulary, one array of a pair index, or side features."""

    path: str
    """Relative to the dataset."""
    rows: Count
    bytes: Count
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureColumn:
    """One categorical side feature of users or items."""

    name: str
    """Of the column that it was read from."""
    values: Count
    """Distinct values; code 0 stands for unknown, k for the k-th of them."""
    width: Count = 1
    """Most values that a user or an item has; each has so many codes, ascending, and 0 behind the last of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A raw file that the dataset was made from."""

    path: str
    """Relative to the source."""
    bytes: Count
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How the raw files were read, for a log that goes on from the dataset and for pairs to be scored."""

    columns: dict[str, str] = field(default_factory=dict[str, str])
    """What they call a column, by its meaning, where that is not its usual name."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """Options of the preparation, where they were not the usual ones."""
    recalled: tuple[str, ...] = ()
    """What of it was taken from the dataset that this one goes on from, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Everything that identifies a prepared dataset."""

    name: str
    created: str
    """UTC, ISO 8601."""
    lanes: Size
    """V; global row n of a split lies in lane n % V at position n // V."""
    row_group_rows: Size
    seed: int
    """Seed of the split and of the order of rows."""
    num_users: Size
    num_items: Size
    id_type: dict[str, str]
    """`user` and `item`, each `int64` or `string`: types of the external ids."""
    id_rule: str = ""
    """How they were read. `plain`: text is integers only where each is written as its integer; `integer` and `string`:
    as was asked for. Empty where they were no text, or in datasets from before there was a rule, where text that was
    integers by value has become such."""
    rule: dict[str, Any]
    """How raw values became labels."""
    policies: dict[str, str] = field(default_factory=dict[str, str])
    """What was done with duplicate, contradicting, overlapping and unseen rows."""
    counts: dict[str, Count] = field(default_factory=dict[str, int])
    """Rows read and rows set aside, by reason; a reason that did not occur may be missing."""
    splits: dict[str, Split]
    tables: tuple[TableFile, ...]
    source: tuple[SourceFile, ...] = ()
    parent: str = ""
    """Fingerprint of the dataset that this one goes on from: its users and items have the same ids here."""
    features: dict[Entity, tuple[FeatureColumn, ...]] = field(default_factory=dict[Entity, tuple[FeatureColumn, ...]])
    """Side features of `users` and of `items`, for those of them that have some."""
    times: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """First and last moment of each split, numbers or dates, where the split went by time."""
    reading: Reading = field(default_factory=Reading)
    schema_version: int = SCHEMA_VERSION
    fingerprint: str = ""
    """SHA-256 over all of the above but `created` and `reading`; the files are in it by their own SHA-256."""

    def with_fingerprint(self) -> Manifest:
        """Returns the manifest with its fingerprint filled in."""
        return replace(self, fingerprint=self.computed_fingerprint())

    def computed_fingerprint(self) -> str:
        """Computes the fingerprint of the content."""
        content = self._content()
        for name in ("created", "fingerprint", "reading"):
            content.pop(name, None)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> str:
        """Serialises the manifest as the text of manifest.json."""
        return json.dumps(signed(self._content()), indent=2, ensure_ascii=False) + "\n"

    def _content(self) -> dict[str, Any]:
        content = asdict(self)
        for name in ("parent", "features", "id_rule", "times"):  # as in manifests from before there were such
            if not content[name]:
                del content[name]
        for column in [column for columns in content.get("features", {}).values() for column in columns]:
            if column["width"] == 1:
                del column["width"]
        content["reading"] = {name: value for name, value in content["reading"].items() if value}
        if not content["reading"]:
            del content["reading"]
        return content

    @property
    def positives_only(self) -> bool:
        """Whether training has labelled rows, and all of them are positives."""
        train = self.splits["train"]
        return 0 < train.rows == train.positives

    @property
    def weighted(self) -> bool:
        """Whether training rows have weights."""
        return WEIGHT in self.splits["train"].columns

    def all_files(self) -> list[tuple[str, int]]:
        """Lists path and size in bytes of every file but the manifest."""
        lanes = [(file.path, file.bytes) for split in self.splits.values() for file in split.files]
        return lanes + [(file.path, file.bytes) for file in self.tables]

    def hashes(self) -> dict[str, str]:
        """Returns the SHA-256 of every file but the manifest, by its path."""
        lanes = [file for split in self.splits.values() for file in split.files]
        return {file.path: file.sha256 for file in (*lanes, *self.tables)}


def parse_manifest(text: str, place: str) -> Manifest:
    """Reads the text of a manifest.json.

    Args:
        text: Its content.
        place: Where it lies, for messages.

    Returns:
        The manifest.

    Raises:
        UserError: It is no manifest, of another schema version, or was edited.
    """
    cure = "prepare the dataset again"
    content = read_signed(text, place, cure)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{place}: schema_version is {version!r} and this program reads {SCHEMA_VERSION}; {cure}, "
            "or use the version of the program that wrote it"
        )
    manifest = fitted(content, Manifest, place, cure)
    names = {*SPLITS} <= manifest.splits.keys() <= {*SPLITS, UNCLEAR}
    require(names, f"{place}: splits are {', '.join(manifest.splits)}; they must be {', '.join(SPLITS)}; {cure}")
    types = manifest.id_type
    known = types.keys() == {"user", "item"} and {*types.values()} <= {"int64", "string"}
    require(known, f"{place}: id_type is {types}; it must name int64 or string for user and item; {cure}")
    if manifest.computed_fingerprint() != manifest.fingerprint:
        raise UserError(f"{place} was changed after preparation: its fingerprint does not fit its content; {cure}")
    return manifest
