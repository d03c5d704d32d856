"""A split by time goes by one kind of time: files of two kinds are refused, and nanoseconds count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_rows import triples_in_order

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset
from distributed_il.data.prepare import PrepareConfig, prepare, summary_text

DAY = 86_400
JUNE, JULY = 1_717_200_000, 1_719_792_000
"""2024-06-01 and 2024-07-01, in seconds since 1970."""


def iso(time: float) -> str:
    return str(pa.scalar(int(time), pa.timestamp("s")))


def csv(root: Path, name: str, first: int, written: Callable[[int], object]) -> None:
    root.mkdir(exist_ok=True)
    times = [first + n * DAY for n in range(25)]
    lines = "".join(f"u{n % 5},i{first}-{n // 5},{n % 2},{written(time)}\n" for n, time in enumerate(times))
    (root / name).write_text(f"user_id,item_id,label,timestamp\n{lines}")


def run(root: Path, **options: Any) -> Dataset:
    output = root.parent / "out"
    prepare(PrepareConfig(source=str(root), output=str(output), **{"lanes": 2, "split": "time", **options}))
    return Dataset.open(str(output))


@pytest.mark.parametrize(
    ("june", "july", "message"),
    [
        (iso, int, r"a\.csv has times that are dates \(.*\) and b\.csv such that are seconds \(1719792000\)"),
        (int, iso, r"a\.csv has times that are seconds \(1717200000\) and b\.csv such that are dates"),
        (lambda t: 1000 * t, int, r"a\.csv .* milliseconds \(1717200000000\) and b\.csv .* seconds \(1719792000\)"),
        (lambda t: 10**9 * t, lambda t: 10**6 * t, "nanoseconds .* microseconds"),
        (lambda t: t + 0.5, lambda t: 1000 * t, "seconds .* milliseconds"),
        (iso, lambda t: f"{iso(t)}Z", r"a\.csv has times that are dates \(.*\) and b\.csv such .* dates with a zone"),
        (lambda t: f"{iso(t)}+02:00", int, r"dates with a zone \(.*\) and b\.csv such that are seconds"),
    ],
)
def test_files_of_two_kinds_are_refused(
    june: Callable[[int], object], july: Callable[[int], object], message: str, tmp_path: Path
) -> None:
    """June came into test and July into train."""
    csv(tmp_path / "logs", "a.csv", JUNE, june)
    csv(tmp_path / "logs", "b.csv", JULY, july)
    with pytest.raises(UserError, match=message):
        run(tmp_path / "logs")
    assert not (tmp_path / "out").exists()


def test_two_units_in_one_file_are_refused(tmp_path: Path) -> None:
    csv(tmp_path / "logs", "a.csv", JUNE, lambda t: t if t < JUNE + 9 * DAY else 1000 * t)
    with pytest.raises(UserError, match=r"a\.csv .* milliseconds \(17\d+\) and a\.csv such that are seconds \(17\d+\)"):
        run(tmp_path / "logs")


def test_parquet_of_two_types_is_refused(tmp_path: Path) -> None:
    for name, kind in (("a", pa.timestamp("ms")), ("b", pa.int64())):
        times = pa.array([(JUNE + n) * 1000 for n in range(6)]).cast(kind)
        columns = {"user_id": range(6), "item_id": range(6), "label": [n % 2 for n in range(6)], "timestamp": times}
        (tmp_path / "logs").mkdir(exist_ok=True)
        table = pa.table({role: pa.array(column) for role, column in columns.items()})
        pq.write_table(table, tmp_path / "logs" / f"{name}.pq")
    with pytest.raises(UserError, match=r"a\.pq has times that are dates .* and b\.pq such that are milliseconds"):
        run(tmp_path / "logs")


@pytest.mark.parametrize(
    ("june", "july"),
    [
        (iso, iso),
        (int, lambda t: t + 0.25),
        (lambda t: t - JUNE, lambda t: t - JUNE),  # counts from a start run through all sizes
        (lambda t: (t - JUNE) ** 2 + 1, lambda t: (t - JUNE) ** 2),
    ],
)
def test_one_kind_splits_june_from_july(
    june: Callable[[int], object], july: Callable[[int], object], tmp_path: Path
) -> None:
    csv(tmp_path / "logs", "a.csv", JUNE, june)
    csv(tmp_path / "logs", "b.csv", JULY, july)
    dataset = run(tmp_path / "logs", train_share=0.5, valid_share=0.2)
    assert all(f"i{JUNE}" in item for _, item, _ in triples_in_order(dataset, "train"))
    assert all(f"i{JULY}" in item for split in SPLITS[1:] for _, item, _ in triples_in_order(dataset, split))


def test_the_summary_tells_the_times_of_each_split(tmp_path: Path) -> None:
    csv(tmp_path / "logs", "a.csv", JUNE, iso)
    csv(tmp_path / "logs", "b.csv", JULY, iso)
    dataset = run(tmp_path / "logs", train_share=0.5, valid_share=0.2)
    assert dataset.manifest.times == {
        "train": ("2024-06-01 00:00:00", "2024-06-25 00:00:00"),
        "valid": ("2024-07-01 00:00:00", "2024-07-10 00:00:00"),
        "test": ("2024-07-11 00:00:00", "2024-07-25 00:00:00"),
    }
    assert "50.0% positive, from 2024-07-01 00:00:00 to 2024-07-10 00:00:00" in summary_text(dataset.manifest)


@pytest.mark.parametrize("written", ["int", "text", "timestamp", "date text"])
def test_nanoseconds_count(written: str, tmp_path: Path) -> None:
    """As float64, moments 256 ns apart were one."""
    moments = [JUNE * 10**9 + n for n in range(20)]
    stamps = pa.array(moments).cast(pa.timestamp("ns"))
    times: Any = {
        "int": moments,
        "timestamp": stamps,
        "text": [str(moment) for moment in moments],
        "date text": stamps.cast(pa.string()),
    }[written]
    columns = {"user_id": [n % 4 for n in range(20)], "item_id": [*range(20)][::-1], "label": [0, 1] * 10}
    pq.write_table(pa.table({**columns, "timestamp": times}), tmp_path / "x.parquet")
    dataset = run(tmp_path / "x.parquet", train_share=0.5, valid_share=0.25)
    found = {split: sorted(item for _, item, _ in triples_in_order(dataset, split)) for split in SPLITS}
    assert found == {"train": [*range(10, 20)], "valid": [*range(5, 10)], "test": [*range(5)]}


def test_dates_beyond_what_nanoseconds_reach_are_in_order(tmp_path: Path) -> None:
    lines = "".join(f"{n % 4},{n},{n % 2},{2024 if n < 15 else 9990 + n - 15}-01-{1 + n:02}\n" for n in range(20))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/x.csv").write_text(f"user_id,item_id,label,timestamp\n{lines}")
    dataset = run(tmp_path / "logs", train_share=0.5, valid_share=0.25)
    assert sorted(item for _, item, _ in triples_in_order(dataset, "test")) == [*range(15, 20)]
    assert dataset.manifest.times["test"] == ("9990-01-16 00:00:00", "9994-01-20 00:00:00")
