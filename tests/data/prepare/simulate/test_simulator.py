"""Simulated micro-video logs: exact sizes, the same bytes for a seed, and a truth worth learning."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare.simulate.drawing import draw_log
from distributed_il.data.prepare.simulate.simulator import PRESETS, SimulateConfig, simulate
from distributed_il.data.prepare.simulate.watch_log import LogSize, WatchLog
from distributed_il.data.prepare.simulate.watches import UNCLEAR, kuaishou_labels
from distributed_il.evaluation.simulation_oracle import SimulationReport, simulation_report

SIZE = LogSize(users=300, items=400, positives=12_000, negatives=9_000, unclear=8_000)


@pytest.fixture(scope="module")
def log() -> WatchLog:
    return draw_log(SIZE, seed=3)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[SimulationReport, Dataset]:
    path = str(tmp_path_factory.mktemp("simulated") / "dataset")
    return simulation_report(simulate(config(path))), Dataset.open(path)


def config(path: str, **changes: Any) -> SimulateConfig:
    options: dict[str, Any] = {"num_users": 300, "num_items": 400, "num_positives": 12_000, "num_negatives": 9_000}
    options |= {"num_unclear": 8_000, "seed": 3, "lanes": 4, **changes}
    return SimulateConfig(output=path, **options)


def rows_of(dataset: Dataset, split: str) -> pa.Table:
    columns = ["user_id", "item_id", "preference", "play_duration_ms", "duration_ms"]
    blocks = [block for lane in range(dataset.lanes) for block in dataset.blocks(split, lane)]
    return pa.concat_tables([dataset.read_block(block, columns) for block in blocks])


@pytest.mark.parametrize(
    "size",
    [
        SIZE,
        replace(SIZE, unclear=0),
        replace(SIZE, positives=2_000, negatives=15_000),
        LogSize(users=50, items=500, positives=900, negatives=600, unclear=0),
        LogSize(users=20, items=20, positives=40, negatives=40, unclear=20),
    ],
)
def test_counts_are_exact_and_pairs_distinct(size: LogSize) -> None:
    drawn = draw_log(size, seed=0)
    counted = {
        int(label): int(count) for label, count in zip(*np.unique(drawn.labels, return_counts=True), strict=True)
    }
    wanted = {1: size.positives, 0: size.negatives, UNCLEAR: size.unclear}
    assert counted == {label: count for label, count in wanted.items() if count}
    assert (np.diff(drawn.users.astype(np.int64) * size.items + drawn.items) > 0).all()
    clear = drawn.labels != UNCLEAR
    assert len(np.unique(drawn.users[clear])) == size.users
    assert len(np.unique(drawn.items[clear])) == size.items


def test_labels_are_what_the_rule_makes_of_the_watch_times(log: WatchLog) -> None:
    np.testing.assert_array_equal(
        kuaishou_labels(log.play_ms.astype(np.int64), log.duration_ms.astype(np.int64)), log.labels
    )


def test_a_seed_gives_the_same_log_and_another_seed_another(log: WatchLog) -> None:
    again, other = draw_log(SIZE, seed=3), draw_log(SIZE, seed=4)
    for column in ("users", "items", "play_ms", "duration_ms", "labels", "preferences"):
        assert getattr(again, column).tobytes() == getattr(log, column).tobytes()
    assert other.items.tobytes() != log.items.tobytes()


def test_activity_and_popularity_have_heavy_heads() -> None:
    drawn = draw_log(LogSize(users=1_000, items=2_000, positives=40_000, negatives=40_000, unclear=20_000), seed=0)
    for ids, size in ((drawn.users, 1_000), (drawn.items, 2_000)):
        rows = np.sort(np.bincount(ids, minlength=size))[::-1]
        # Equal shares would give the top tenth 10 % and a head as large as the median.
        assert rows[: size // 10].sum() > 0.2 * rows.sum()
        assert rows[0] > 3 * np.median(rows)


def test_preference_is_the_probability_of_a_positive_label(log: WatchLog) -> None:
    clear = log.labels != UNCLEAR
    labels, preferences = log.labels[clear], log.preferences[clear]
    for low in (0.0, 0.25, 0.5, 0.75):
        within = (preferences >= low) & (preferences < low + 0.25)
        assert labels[within].mean() == pytest.approx(preferences[within].mean(), abs=0.03)


def test_the_dataset_holds_exactly_what_was_asked(simulated: tuple[SimulationReport, Dataset]) -> None:
    found, dataset = simulated
    splits = found.manifest.splits
    assert (dataset.num_users, dataset.num_items) == (300, 400)
    assert {name: split.rows for name, split in splits.items()} == {
        "train": 12_600,
        "valid": 4_200,
        "test": 4_200,
        "unclear": 8_000,
    }
    assert sum(split.positives for split in splits.values()) == 12_000
    activity = dataset.activity()
    assert activity.user_rows.min() >= 1
    assert activity.item_rows.min() >= 1


def test_every_pair_lies_in_one_split_and_indexes_agree(simulated: tuple[SimulationReport, Dataset]) -> None:
    _, dataset = simulated
    keys = {
        split: table.column("user_id").to_numpy().astype(np.int64) * 400 + table.column("item_id").to_numpy()
        for split in ("train", "valid", "test", "unclear")
        for table in [rows_of(dataset, split)]
    }
    assert len(np.unique(np.concatenate(list(keys.values())))) == SIZE.rows
    for split, index in (("train", dataset.observed()), ("unclear", dataset.logged())):
        assert index is not None
        users = np.repeat(np.arange(300), np.diff(index.indptr))
        np.testing.assert_array_equal(users * 400 + index.items, np.sort(keys[split]))


def test_unclear_rows_carry_the_truth_but_no_label(simulated: tuple[SimulationReport, Dataset]) -> None:
    found, dataset = simulated
    assert "label" not in found.manifest.splits["unclear"].columns
    table = rows_of(dataset, "unclear")
    assert table.schema.field("preference").type == pa.float32()
    preferences = table.column("preference").to_numpy()
    assert 0 < preferences.min() < 0.2 < 0.8 < preferences.max() < 1


def test_the_oracle_is_far_above_the_trivial_rows(simulated: tuple[SimulationReport, Dataset]) -> None:
    found, _ = simulated
    for trivial in found.trivial.values():
        assert found.oracle["auc"] > trivial["auc"] + 0.1
        assert found.oracle["gauc"] > trivial["gauc"] + 0.1
        assert found.oracle["logloss"] < trivial["logloss"] - 0.1
    # Nothing is better calibrated than the truth: its ece is noise, about 0.8·sqrt(¼ / rows of a bin).
    assert found.oracle["ece"] < 0.03
    assert "oracle" in found.summary()


def test_a_seed_gives_the_same_bytes(simulated: tuple[SimulationReport, Dataset], tmp_path: Path) -> None:
    found, _ = simulated
    assert simulate(config(str(tmp_path / "again"))).manifest.fingerprint == found.manifest.fingerprint
    assert simulate(config(str(tmp_path / "other"), seed=4)).manifest.fingerprint != found.manifest.fingerprint


def test_without_strength_the_demo_is_what_it_always_was() -> None:
    log = draw_log(PRESETS["demo"], seed=0)
    content = b"".join(column.tobytes() for column in (log.users, log.items, log.labels, log.play_ms))
    # Of the log before there was a policy.
    assert hashlib.sha256(content).hexdigest() == "3e5a4a360ae96857346c38fc14b8669f1dd77c4b65efd17b219fdc0e4dfd566e"


def test_a_policy_with_taste_leaves_days_and_factors(tmp_path: Path) -> None:
    path = str(tmp_path / "dataset")
    found = simulation_report(simulate(config(path, policy_strength=2.0)))
    dataset = Dataset.open(path)
    stored = dataset.factors()
    assert stored is not None
    assert stored.has_structure
    assert dataset.manifest.name == "simulated-demo-policy-2"
    assert {name: split.rows for name, split in found.manifest.splits.items()} == {
        "train": 12_600,
        "valid": 4_200,
        "test": 4_200,
        "unclear": 8_000,
    }
    block = next(iter(dataset.blocks("unclear", 0)))
    assert dataset.read_block(block, ["day"]).column("day").type == pa.int32()
    summary = found.summary()
    assert f"first singular value {stored.singular_values[0]:.3f}, null edge {stored.manifest.null_edge:.3f}" in summary


def test_without_strength_factors_are_told_but_not_stored(simulated: tuple[SimulationReport, Dataset]) -> None:
    found, dataset = simulated
    assert "null edge" in found.summary()
    assert "popularity" in found.summary()
    assert dataset.factors() is None


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    simulate(config(str(tmp_path / "dataset")), progress=lambda *step: told.append(step))
    assert ("simulate", SIZE.rows, SIZE.rows) in told
    assert told[-1] == ("write", SIZE.rows, SIZE.rows)


def test_without_unclear_watches_there_is_no_such_split(tmp_path: Path) -> None:
    found = simulate(config(str(tmp_path / "dataset"), num_unclear=0))
    assert "unclear" not in found.manifest.splits
    assert Dataset.open(str(tmp_path / "dataset")).logged() is None


def test_the_preset_is_the_papers_table_1() -> None:
    size = SimulateConfig(output="anywhere", preset="micro-video").size
    assert (size.users, size.items, size.positives, size.negatives) == (37_692, 131_690, 4_915_745, 4_546_747)
    assert size.unclear > 1_000_000
    assert SimulateConfig(output="anywhere", preset="micro-video", num_unclear=0).size == replace(size, unclear=0)
    assert SimulateConfig(output="anywhere").size == PRESETS["demo"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_positives": 699}, "num_positives is 699; it must be at least num_users \\+ num_items = 700"),
        ({"num_negatives": 10}, "num_negatives is 10"),
        ({"num_users": 0}, "at least 1"),
        ({"num_unclear": -1}, "num_unclear at least 0"),
        ({"num_unclear": 20_000}, "at most 30,000 fit"),
        ({"seed": -1}, "seed is -1"),
        ({"policy_strength": -0.5}, "policy_strength is -0.5"),
        ({"policy_strength": math.nan}, "policy_strength is nan"),
        ({"preset": "micro"}, "demo, micro-video"),
    ],
)
def test_impossible_wishes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config("anywhere", **changes)


def test_a_place_that_is_taken_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match=tmp_path.name):
        simulate(config(str(tmp_path)))
    assert (tmp_path / "mine.txt").read_text() == "keep"
