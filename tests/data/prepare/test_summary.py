"""The summary of a dataset, word by word."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from distributed_il.data.prepare import BuildOptions, build_dataset, summary_text


def test_it_tells_what_is_there_and_what_was_set_aside(tmp_path: Path) -> None:
    def rows(*found: tuple[int, int, int | None]) -> pa.Table:
        users, items, labels = zip(*found, strict=True)
        return pa.table({"user": users, "item": items, "label": pa.array(labels, pa.int8())})

    manifest = build_dataset(
        str(tmp_path / "data"),
        [
            ("train", rows((1, 1, 1), (1, 1, 1), (1, 2, 0), (2, 2, 1), (2, 2, 0), (2, 1, None), (1, 2, None))),
            ("valid", rows((1, 3, 1), (2, 1, 0), (1, 1, 1))),
            ("test", rows((3, 1, 1), (2, 3, 1), (2, 1, None))),
        ],
        BuildOptions(name="films", rule={}),
    )
    assert summary_text(manifest).splitlines() == [
        "films: 3 users, 3 items, 7 labelled rows (77.7778% of all pairs)",
        "  train                3 rows, 33.3% positive",
        "  valid                2 rows, 50.0% positive",
        "  test                 2 rows, 100.0% positive",
        "  unclear              1 rows",
        "  read                13 rows",
        "  aside                1 rows: duplicates of a pair, last kept",
        "  aside                1 rows: of pairs whose labels differ, last kept",
        "  aside                1 rows: of pairs that an earlier split has",
        "  aside                1 rows: unclear rows of valid and test",
        "  aside                1 rows: unclear rows of pairs with a label in train",
        "  unseen               3 rows of valid and test, kept: 1 users and 1 items are not in train",
    ]
