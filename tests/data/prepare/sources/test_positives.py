"""Logs that say no more of a pair than that it occurred."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare, summary_text

PAIRS = [(user, item) for user in range(8) for item in range(10) if (user + item) % 3]


def text(header: str, end: str = "") -> str:
    return "".join([f"{header}\n", *(f"u{user},i{item}{end}\n" for user, item in PAIRS)])


def prepared(path: Path, content: str, name: str = "pos.csv", **options: Any) -> Dataset:
    (path / name).write_text(content)
    manifest = prepare(PrepareConfig(source=str(path / name), output=str(path / "data"), **options))
    assert "100.0% positive" in summary_text(manifest)
    return Dataset.open(str(path / "data"))


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("pos.csv", text("user_id,item_id"), {}),
        ("pos.csv", text("user_id,item_id,timestamp", ",12"), {}),
        ("pos.csv", text("u,i"), {"user_column": "u", "item_column": "i"}),
        ("pos.csv", text("user_id,item_id,score", ",0.5"), {"rule": "positive"}),
        ("x.inter", text("user_id:token,item_id:token,timestamp:float", ",12").replace(",", "\t"), {}),
    ],
)
def test_each_row_of_users_and_items_alone_is_a_positive(
    tmp_path: Path, name: str, content: str, options: dict[str, str]
) -> None:
    dataset = prepared(tmp_path, content, name, **options)
    assert dataset.manifest.rule["name"] == "positive"
    assert dataset.manifest.positives_only
    users, items = dataset.vocabulary("users").to_pylist(), dataset.vocabulary("items").to_pylist()
    found = {
        (users[user], items[item])
        for split in ("train", "valid", "test")
        for lane in range(dataset.lanes)
        for block in dataset.blocks(split, lane)
        for user, item, label in zip(
            *(column.to_pylist() for column in dataset.read_block(block, ["user_id", "item_id", "label"]).columns),
            strict=True,
        )
        if label == 1
    }
    assert found == {(f"u{user}", f"i{item}") for user, item in PAIRS}


def test_labels_of_both_kinds_are_no_positives_alone(tmp_path: Path) -> None:
    rows = [f"{user},{item},{item % 2}\n" for user, item in PAIRS]
    (tmp_path / "log.csv").write_text("".join(["user_id,item_id,label\n", *rows]))
    assert not prepare(PrepareConfig(source=str(tmp_path / "log.csv"), output=str(tmp_path / "data"))).positives_only
