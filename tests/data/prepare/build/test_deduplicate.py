"""What becomes of a pair's rows, against a plain loop over them and by hand."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.build.deduplicate import deduplicate_records
from distributed_il.data.prepare.build.options import Policies
from distributed_il.data.prepare.build.record_buckets import Records, record_type

Row = tuple[int, int, int, int]
"""User, item, label (−1 unclear), split."""


def records(rows: list[Row]) -> Records:
    made = np.zeros(len(rows), dtype=record_type(preference=False))
    for name, values in zip(("user", "item", "label", "split"), zip(*rows, strict=True), strict=True):
        made[name] = values
    made["key"] = np.arange(len(rows))
    return made


def run(rows: list[Row], **policies: Any) -> tuple[list[Row], list[Row], Counter[str]]:
    counts: Counter[str] = Counter()
    parts = deduplicate_records(
        records(rows),
        Policies(**policies),
        lambda split, row: f"file {split} row {row}",
        lambda user, item: f"({user}, {item})",
        counts,
    )
    columns = ["user", "item", "label", "split"]
    labelled, unclear = ([tuple(int(row[name]) for name in columns) for row in part] for part in parts)
    return labelled, unclear, counts  # type: ignore[return-value]


ROWS: list[Row] = [
    (1, 5, 1, 0),  # a pair without further rows
    (0, 9, 0, 0),  # contradicts itself: 0, 1, 0
    (0, 3, 1, 0),  # twice in train, once in test
    (0, 9, 1, 0),
    (0, 3, 1, 0),
    (0, 9, 0, 0),
    (0, 3, 0, 2),
    (1, 6, -1, 0),  # unclear, three times
    (1, 6, -1, 0),
    (1, 6, -1, 0),
    (1, 7, 0, 1),  # in valid and test
    (1, 7, 0, 2),
]


def test_by_hand() -> None:
    labelled, unclear, counts = run(ROWS)
    assert labelled == [(0, 3, 1, 0), (0, 9, 0, 0), (1, 5, 1, 0), (1, 7, 0, 1)]
    assert unclear == [(1, 6, -1, 0)]
    assert counts == {
        "duplicate_rows": 1 + 2,
        "contradicting_pairs": 1,
        "contradicting_rows": 2,
        "overlapping_rows": 2,
    }


def test_contradictions_may_be_dropped() -> None:
    labelled, _, counts = run(ROWS, contradictions="drop")
    assert (0, 9) not in [row[:2] for row in labelled]
    assert (counts["contradicting_pairs"], counts["contradicting_rows"]) == (1, 3)


def test_overlap_may_be_kept() -> None:
    labelled, _, counts = run(ROWS, overlap="keep")
    assert [row for row in labelled if row[:2] in ((0, 3), (1, 7))] == [
        (0, 3, 1, 0),
        (0, 3, 0, 2),
        (1, 7, 0, 1),
        (1, 7, 0, 2),
    ]
    assert counts["overlapping_rows"] == 0


@pytest.mark.parametrize(
    ("policy", "rows", "message"),
    [
        (
            "duplicates",
            [(0, 1, 1, 0), (2, 2, 0, 0), (2, 2, 0, 0)],
            r"file 0 row 1 and file 0 row 2 .* \(2, 2\) \(labels 0 and 0\); .*set duplicates to last or first",
        ),
        (
            "duplicates",
            [(0, 1, -1, 0), (0, 1, -1, 0)],
            r"file 0 row 0 and file 0 row 1 .*labels missing and missing",
        ),
        (
            "contradictions",
            [(2, 2, 1, 0), (2, 2, 1, 0), (2, 2, 0, 0)],
            r"file 0 row 0 and file 0 row 2 .*labels 1 and 0\).*set contradictions to last, first or drop",
        ),
        (
            "overlap",
            [(2, 2, 1, 1), (2, 2, 1, 2)],
            r"file 1 row 0 and file 2 row 1 .*set overlap to drop or keep",
        ),
    ],
)
def test_a_policy_may_forbid_them(policy: str, rows: list[Row], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(rows, **{policy: "error"})
    allowed = {"duplicates", "contradictions", "overlap"} - {policy}
    run([rows[0]], **dict.fromkeys((policy, *allowed), "error"))


def slow(rows: list[Row], duplicates: str, contradictions: str, overlap: str) -> tuple[list[Row], list[Row]]:
    """The definition, pair by pair."""
    groups: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    unclear: set[tuple[int, int]] = set()
    for user, item, label, split in rows:
        if label < 0:
            unclear.add((user, item))
        else:
            groups[user, item, split].append(label)
    kept: list[Row] = []
    for (user, item, split), labels in sorted(groups.items()):
        policy = duplicates if len(set(labels)) == 1 else contradictions
        if policy == "drop" or (overlap == "drop" and kept and kept[-1][:2] == (user, item)):
            continue
        kept.append((user, item, labels[0] if policy == "first" else labels[-1], split))
    return kept, [(user, item, -1, 0) for user, item in sorted(unclear)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("contradictions", ["first", "last", "drop"])
@pytest.mark.parametrize("overlap", ["drop", "keep"])
def test_against_a_plain_loop(contradictions: str, overlap: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = zip(
        rng.integers(0, 6, 400).tolist(),
        rng.integers(0, 9, 400).tolist(),
        rng.integers(-1, 2, 400).tolist(),
        rng.integers(0, 3, 400).tolist(),
        strict=True,
    )
    rows: list[Row] = [(u, i, y, s if y >= 0 else 0) for u, i, y, s in drawn]
    labelled, unclear, counts = run(rows, contradictions=contradictions, overlap=overlap)
    assert (labelled, unclear) == slow(rows, "last", contradictions, overlap)
    aside = counts["duplicate_rows"] + counts["contradicting_rows"] + counts["overlapping_rows"]
    assert len(labelled) + len(unclear) + aside == len(rows)


def test_nothing_is_resolved_to_nothing() -> None:
    empty = np.zeros(0, dtype=record_type(preference=False))
    parts = deduplicate_records(empty, Policies(), lambda split, row: "", lambda user, item: "", Counter())
    assert [part.size for part in parts] == [0, 0]
