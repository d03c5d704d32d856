"""A manifest that declares more than its files can hold is refused when the dataset is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from random_features import random_features

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset, Manifest

HUGE = 10**12


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset(lanes=2, features=random_features(40, 60))


def forge(dataset: Dataset, manifest: Manifest) -> None:
    """Writes a manifest whose fingerprint fits its content, as anybody can compute it."""
    Path(dataset.full_path("manifest.json")).write_text(manifest.with_fingerprint().to_json())


def _tables(manifest: Manifest, name: str, **changed: Any) -> Manifest:
    tables = tuple(dataclasses.replace(one, **changed) if one.path == name else one for one in manifest.tables)
    return dataclasses.replace(manifest, tables=tables)


def _split(manifest: Manifest, file: dict[str, Any], **changed: Any) -> Manifest:
    split = manifest.splits["train"]
    files = (dataclasses.replace(split.files[0], **file), *split.files[1:])
    return dataclasses.replace(
        manifest, splits={**manifest.splits, "train": dataclasses.replace(split, files=files, **changed)}
    )


def _features(manifest: Manifest) -> Manifest:
    first, *others = manifest.features["users"]
    users = (dataclasses.replace(first, values=HUGE), *others)
    return dataclasses.replace(manifest, features={**manifest.features, "users": users})


FORGED: dict[str, tuple[Callable[[Manifest], Manifest], str]] = {
    "lanes": (lambda one: dataclasses.replace(one, lanes=HUGE), "lanes is 1000000000000"),
    "no lanes": (lambda one: dataclasses.replace(one, lanes=0), "lanes is 0"),
    "users": (lambda one: dataclasses.replace(one, num_users=HUGE), r"users\.parquet has 40 rows instead of 1,000"),
    "items": (lambda one: dataclasses.replace(one, num_items=HUGE), r"items\.parquet has 60 rows instead of 1,000"),
    "users, their table too": (
        lambda one: _tables(dataclasses.replace(one, num_users=HUGE), "users.parquet", rows=HUGE),
        r"users\.parquet can't hold 1,000,000,000,000 rows",
    ),
    "an index": (lambda one: _tables(one, "observed_items.arrow", rows=HUGE), r"observed_items\.arrow can't hold"),
    "rows of a split": (lambda one: _split(one, {}, rows=HUGE), "train has other rows than its files"),
    "rows of a file": (lambda one: _split(one, {"rows": HUGE}, rows=HUGE + 300), "has other rows than its row groups"),
    "rows of a row group": (
        lambda one: _split(one, {"rows": HUGE, "row_groups": (HUGE,)}, rows=HUGE + 300),
        r"lane-000-00000\.parquet can't hold 1,000,000,000,000 rows",
    ),
    "a lane": (lambda one: _split(one, {"lane": 2}), "is of lane 2 of 2"),
    "values of a feature": (_features, r"users_feature_values\.parquet has 9 rows instead of 1,000"),
    "values of a feature, their table too": (
        lambda one: _tables(_features(one), "users_feature_values.parquet", rows=HUGE + 7),
        r"users_feature_values\.parquet can't hold",
    ),
    "no index": (
        lambda one: dataclasses.replace(
            one, tables=tuple(file for file in one.tables if not file.path.startswith("observed"))
        ),
        r"it does not list observed_indptr\.arrow",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_sizes_are_held_against_the_files(name: str, dataset: Dataset) -> None:
    change, message = FORGED[name]
    forge(dataset, change(dataset.manifest))
    with pytest.raises(UserError, match=rf"manifest\.json: .*{message}.*; prepare the dataset again"):
        Dataset.open(dataset.path)


@pytest.mark.parametrize("path", ["../users.parquet", "/etc/hostname", "train/../users.parquet"])
def test_files_elsewhere_are_refused(path: str, dataset: Dataset) -> None:
    forge(dataset, _tables(dataset.manifest, "users.parquet", path=path))
    with pytest.raises(UserError, match=r"manifest\.json names .*, which is no path below"):
        Dataset.open(dataset.path)


def test_a_link_out_of_the_dataset_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    Path(dataset.root, "train").rename(tmp_path / "elsewhere")
    Path(dataset.root, "train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"train/lane-000-00000\.parquet, which .*manifest\.json names, is a link"):
        Dataset.open(dataset.path)
