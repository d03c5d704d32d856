"""Weights of training rows, from the log to the lanes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare

PAIRS = [(user, item, (user + item) % 2, 0.25 * (1 + user) + item) for user in range(6) for item in range(5)]


def log(path: Path, rows: list[tuple[Any, ...]] = PAIRS, header: str = "user_id,item_id,label,w") -> str:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


def prepared(path: Path, source: str, **options: Any) -> Dataset:
    config: dict[str, Any] = {"weight_column": "w", "factors": 0, **options}
    prepare(PrepareConfig(source=source, output=str(path), **config))
    return Dataset.open(str(path))


def weights_of(dataset: Dataset) -> dict[tuple[int, int], float]:
    """By external user and item of the training rows."""
    users, items = (dataset.vocabulary(entity).to_numpy() for entity in ("users", "items"))
    found: dict[tuple[int, int], float] = {}
    for lane in range(dataset.lanes):
        for block in dataset.blocks("train", lane):
            rows = dataset.read_block(block, ["user_id", "item_id", "weight"])
            columns = [rows.column(name).to_numpy() for name in rows.column_names]
            pairs = zip(users[columns[0]].tolist(), items[columns[1]].tolist(), strict=True)
            found |= dict(zip(pairs, columns[2].tolist(), strict=True))
    return found


def test_each_training_row_has_its_weight_and_nothing_else_changes(tmp_path: Path) -> None:
    source = log(tmp_path / "log.csv")
    dataset, without = prepared(tmp_path / "with", source), prepared(tmp_path / "without", source, weight_column=None)
    assert dataset.weighted
    assert not without.weighted
    found, expected = weights_of(dataset), {(user, item): weight for user, item, _, weight in PAIRS}
    assert len(found) == dataset.rows("train")
    assert found.items() <= expected.items()
    for split in ("valid", "test"):
        assert dataset.manifest.splits[split] == without.manifest.splits[split]
    hashes = dataset.manifest.hashes()
    assert {path for path, sha in without.manifest.hashes().items() if hashes[path] != sha} == {
        file.path for file in without.manifest.splits["train"].files
    }


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "1e60", "1e-60", "", "much"])
def test_what_is_no_weight_is_told_with_its_place(tmp_path: Path, weight: str) -> None:
    source = log(tmp_path / "log.csv", [*PAIRS[:7], (9, 9, 1, weight), *PAIRS[7:]])
    with pytest.raises(UserError, match=r"log\.csv, line 9, column w: .*a weight is a finite number above 0"):
        prepared(tmp_path / "data", source)
    dataset = prepared(tmp_path / "data", source, max_reject_share=0.1)
    assert dataset.manifest.counts["rejected_rows"] == 1


def test_a_column_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"log\.csv has no column 'weights' of weights.*set weight_column"):
        prepared(tmp_path / "data", log(tmp_path / "log.csv"), weight_column="weights")


@pytest.mark.parametrize(("duplicates", "kept"), [("first", 1.5), ("last", 2.5)])
def test_of_rows_of_one_pair_the_one_that_is_kept_keeps_its_weight(
    tmp_path: Path, duplicates: str, kept: float
) -> None:
    rows = [(*row[:3], weight) for row in PAIRS for weight in (1.5, 2.5)]
    found = weights_of(prepared(tmp_path / "data", log(tmp_path / "log.csv", rows), duplicates=duplicates))
    assert set(found.values()) == {kept}


def test_valid_and_test_need_no_weights(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log(tmp_path / "logs" / "train.csv", PAIRS[:20])
    for split, rows in (("valid", PAIRS[20:25]), ("test", PAIRS[25:])):
        log(tmp_path / "logs" / f"{split}.csv", [row[:3] for row in rows], "user_id,item_id,label")
    found = weights_of(prepared(tmp_path / "data", str(tmp_path / "logs")))
    assert found == {(user, item): weight for user, item, _, weight in PAIRS[:20]}


def test_a_grown_dataset_keeps_its_weights_and_rows_without_weigh_1(tmp_path: Path) -> None:
    source, today = log(tmp_path / "log.csv"), log(tmp_path / "today.csv", [(user, 7, 1, 3.5) for user in range(6)])
    for name, column in (("weighted", "w"), ("plain", None)):
        before = prepared(tmp_path / name, source, weight_column=column)
        after = weights_of(prepared(tmp_path / f"{name} and more", today, append_to=before.path, new_ids=True))
        known = {pair: weight for pair, weight in after.items() if pair[1] != 7}
        assert np.allclose(list(known.values()), [weights_of(before)[pair] for pair in known] if column else 1)
        assert {weight for pair, weight in after.items() if pair[1] == 7} == {3.5}
    remembered = prepared(
        tmp_path / "again", today, append_to=str(tmp_path / "weighted"), new_ids=True, weight_column=None
    )
    assert weights_of(remembered) == weights_of(Dataset.open(str(tmp_path / "weighted and more")))
    unweighted = log(tmp_path / "unweighted.csv", [(user, 7, 1) for user in range(6)], "user_id,item_id,label")
    with pytest.raises(UserError, match=r"unweighted\.csv has no column 'w' of weights"):
        prepared(tmp_path / "no", unweighted, append_to=remembered.path, weight_column=None)
