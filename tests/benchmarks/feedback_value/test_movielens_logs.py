"""Logs of which a share is clear: what is hidden is unclear, and nothing of valid or test is an exposure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.feedback_value.movielens_logs import UNCLEAR, Log, Pairs, graded_log, random_log
from distributed_il.core.errors import UserError


def keys(pairs: Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.users.tolist(), pairs.items.tolist(), strict=True))


def assert_disjoint(log: Log) -> None:
    train, valid, test = (keys(log.splits[split]) for split in ("train", "valid", "test"))
    assert not train & valid
    assert not train & test
    assert not valid & test


def test_a_random_share_of_the_labels_is_kept_and_the_others_are_the_probe(ratings: Path) -> None:
    whole, log = random_log(str(ratings), 1.0, 0), random_log(str(ratings), 0.25, 7)
    assert_disjoint(log)
    assert not whole.probes
    train, true = log.splits["train"], whole.splits["train"]
    kept = train.labels != UNCLEAR
    assert kept.sum() == round(0.25 * kept.size)
    assert np.array_equal(train.labels[kept], true.labels[kept])
    assert np.array_equal(log.probes["hidden"].labels, true.labels[~kept])
    assert keys(log.probes["hidden"]) == keys(train.take(~kept))
    other = random_log(str(ratings), 0.25, 8).splits["train"]
    assert not np.array_equal(other.labels, train.labels)


def test_a_graded_log_is_dealt_by_stars(ratings: Path, stars: dict[tuple[int, int], int]) -> None:
    log = graded_log(str(ratings), 0.3, 7)
    assert_disjoint(log)
    train, valid, test = (log.splits[split] for split in ("train", "valid", "test"))
    assert train.labels.size == round(0.7 * len(stars))
    graded = {5: 1, 2: 0, 1: 0}
    known = [(stars[user, item], label) for user, item, label in rows(train) if label != UNCLEAR]
    assert all(graded[star] == label for star, label in known)
    clear = sum(star in graded for star in (stars[pair] for pair in keys(train)))
    assert len(known) == round(0.3 * clear)
    hidden = log.probes["hidden"]
    assert len(keys(hidden)) == clear - len(known)
    assert all(graded[stars[user, item]] == label for user, item, label in rows(hidden))
    assert all(graded[stars[user, item]] == label for user, item, label in rows(valid))
    assert all((stars[user, item] >= 4) == label for user, item, label in rows(test))
    assert keys(log.probes["clear"]) == {pair for pair in keys(test) if stars[pair] in graded}
    assert "hidden" not in graded_log(str(ratings), 1.0, 7).probes


def test_a_directory_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"valid\.parquet can't be read.*--source is a directory with MovieLens-1M"):
        graded_log(str(tmp_path), 0.3, 0)


def rows(pairs: Pairs) -> list[tuple[int, int, int]]:
    return list(zip(pairs.users.tolist(), pairs.items.tolist(), pairs.labels.tolist(), strict=True))
