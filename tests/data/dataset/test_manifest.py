"""A manifest is read back as it was written, and one that is not whole is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.dataset.manifest import LaneFile, Manifest, SourceFile, Split, TableFile, parse_manifest


def manifest(**changes: Any) -> Manifest:
    lane = LaneFile(path="train/lane-000-00000.parquet", lane=0, rows=5, row_groups=(3, 2), bytes=77, sha256="ab")
    values: dict[str, Any] = {
        "name": "films é",
        "created": "2024-01-02T03:04:05+00:00",
        "lanes": 2,
        "row_group_rows": 3,
        "seed": 1,
        "num_users": 4,
        "num_items": 5,
        "id_type": {"user": "int64", "item": "string"},
        "rule": {"name": "rating", "positive_above": 2.0},
        "policies": {"duplicates": "last"},
        "counts": {"rows_read": 5},
        "splits": {
            "train": Split(rows=5, positives=2, columns=("user_id", "item_id", "label"), files=(lane,)),
            "valid": Split(rows=0, positives=0, columns=(), files=()),
            "test": Split(rows=0, positives=0, columns=(), files=()),
        },
        "tables": (TableFile(path="users.parquet", rows=4, bytes=10, sha256="cd"),),
        "source": (SourceFile(path="x.csv", bytes=3, sha256="ef"),),
    }
    return Manifest(**{**values, **changes}).with_fingerprint()


def test_it_is_read_back_as_it_was_written() -> None:
    assert parse_manifest(manifest().to_json(), "x") == manifest()


def test_all_files_are_listed_with_their_sizes() -> None:
    assert manifest().all_files() == [("train/lane-000-00000.parquet", 77), ("users.parquet", 10)]


def test_the_fingerprint_covers_all_but_the_time() -> None:
    assert manifest(created="2030-01-01T00:00:00+00:00").fingerprint == manifest().fingerprint
    changes = [{"seed": 2}, {"rule": {"name": "binary"}}, {"splits": {}}, {"num_users": 5}]
    assert len({manifest(**change).fingerprint for change in changes} | {manifest().fingerprint}) == 5


def edited(**changes: Any) -> str:
    """Without the hash of the document itself, as an earlier version wrote it."""
    content = json.loads(manifest().to_json()) | changes
    del content["sha256"]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "place is not JSON"),
        ("[1]", r"place: the document is \[1\]; it must be an object"),
        ("{}", "schema_version is None and this program reads 1"),
        (manifest().to_json().replace("2024-01-02", "2024-01-03"), "not what was written: its hash does not fit"),
        (edited(schema_version=2), "schema_version is 2 and this program reads 1"),
        (edited(seed=9), "changed after preparation"),
        (edited(splits={"train": {}}), r"place: splits\.train\.rows is missing; prepare the dataset again"),
        (edited(splits={}), "splits are ; they must be train, valid, test"),
        (edited(id_type={"user": "int64", "item": "float"}), "id_type is .*; it must name int64 or string"),
        (edited(unknown=1), "unknown is unknown here"),
        (edited(tables=[{"path": "x"}]), r"tables\[0\]\.rows is missing"),
        (edited(splits=3), "splits is 3; it must be an object"),
        (edited(lanes=True), "lanes is true; it must be a whole number"),
        (edited(lanes=0), "lanes is 0; it must be from 1 to"),
        (edited(seed=10**30), "seed is 1000"),
    ],
)
def test_what_is_no_whole_manifest_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_manifest(text, "place")


def test_it_can_not_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest().seed = 3  # type: ignore[misc]
