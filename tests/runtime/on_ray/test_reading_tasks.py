"""Files read side by side by Ray Data make the dataset that one process makes."""

from __future__ import annotations

import gzip
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset, Manifest
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.data.prepare.sources.read_stats import ReadStats
from distributed_il.data.prepare.sources.reader import RawReader
from distributed_il.runtime.parallel_reading import read_in_parallel

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]

DOCUMENTS = ("summary.json", "rejects.csv")


def watches(rows: int, seed: int, *, first_time: int = 0) -> pa.Table:
    """A log of some users and items, with pairs that repeat and contradict each other."""
    rng = np.random.default_rng(seed)
    duration = rng.integers(4_000, 60_000, rows)
    return pa.table(
        {
            "user_id": [f"u{n}" for n in (300 * rng.random(rows) ** 2).astype(int)],
            "video_id": rng.integers(0, 400, rows),
            "time_ms": first_time + rng.permutation(rows),
            "is_like": (rng.random(rows) < 0.02).astype(int),
            "is_hate": (rng.random(rows) < 0.02).astype(int),
            "play_time_ms": (duration * rng.exponential(0.5, rows)).astype(int),
            "duration_ms": duration,
            "is_rand": (rng.random(rows) < 0.1).astype(int),
        }
    )


def write_csv(table: pa.Table, path: Path, *, more: str = "") -> None:
    sink = pa.BufferOutputStream()
    pacsv.write_csv(table, sink, pacsv.WriteOptions(quoting_style="none"))
    data = sink.getvalue().to_pybytes() + more.encode()
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of which the first is longer than a piece, and two hold bad rows."""
    root = tmp_path_factory.mktemp("logs")
    write_csv(watches(600_000, 1), root / "a.csv", more="u1,-7,5,0,0,1,1,0\nu1,2,5,0,0,-1,1,0\n")
    write_csv(watches(3_000, 2, first_time=10**6), root / "b.csv.gz")
    write_csv(watches(2_000, 3, first_time=2 * 10**6), root / "c.csv", more="u1,2,5\n")
    return root


def run(source: Path, output: Path, workers: int, **options: Any) -> Dataset:
    prepare(
        PrepareConfig(
            source=str(source), output=str(output), item_column="video_id", lanes=4, workers=workers, **options
        ),
        read_in_parallel=read_in_parallel,
    )
    return Dataset.open(str(output))


def timeless(dataset: Dataset) -> Manifest:
    """Everything but the moment of its making."""
    return replace(dataset.manifest, created="")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="random"),
        # The others take another ten seconds each.
        pytest.param({"split": "time", "time_column": "time_ms"}, id="by time", marks=pytest.mark.cluster),
        pytest.param(
            {"random_column": "is_rand", "duplicates": "first", "contradictions": "first"},
            id="shown at random",
            marks=pytest.mark.cluster,
        ),
        pytest.param(
            {"engagement_columns": ["is_like"], "hate_column": "is_hate"}, id="engagement", marks=pytest.mark.cluster
        ),
    ],
)
def test_the_dataset_does_not_depend_on_the_workers(options: dict[str, Any], logs: Path, tmp_path: Path) -> None:
    one, several = (run(logs, tmp_path / str(n), n, max_reject_share=0.01, **options) for n in (1, 3))
    assert timeless(several) == timeless(one)
    assert one.manifest.counts["rejected_rows"] == 3
    assert one.manifest.id_type == {"user": "string", "item": "int64"}
    for name in DOCUMENTS:
        assert (tmp_path / "3" / name).read_text() == (tmp_path / "1" / name).read_text()
    for path in (tmp_path / "1").rglob("*.parquet"):
        assert (tmp_path / "3" / path.relative_to(tmp_path / "1")).read_bytes() == path.read_bytes()


@pytest.mark.cluster
def test_ids_that_turn_out_to_be_text(tmp_path: Path) -> None:
    for name, form in (("a", "{}"), ("b", "0{}"), ("c", "{}")):
        rows = "".join(f"{form.format(n % 7)},{n // 7},{n % 2}\n" for n in range(40))
        (tmp_path / f"{name}.csv").write_text(f"user_id,video_id,label\n{rows}")
    one, several = (run(tmp_path, tmp_path / f"of{n}", n) for n in (1, 2))
    assert timeless(several) == timeless(one)
    assert one.manifest.id_type == {"user": "string", "item": "int64"}
    assert one.num_users == 14


def test_given_splits_from_parquet_with_preferences_appended_to(tmp_path: Path) -> None:
    for root, seed in ((tmp_path / "old", 1), (tmp_path / "new", 2)):
        root.mkdir()
        for number, split in enumerate(SPLITS):
            for part in range(2):
                rng = np.random.default_rng([seed, part, number])
                columns = {
                    "user_id": rng.integers(0, 50 * seed, 400),
                    "video_id": rng.integers(0, 60, 400),
                    "label": pa.array(rng.integers(0, 2, 400), mask=rng.random(400) < 0.3),
                    "preference": rng.random(400),
                }
                pq.write_table(pa.table(columns), root / f"{split}-{part}.parquet")
    given = {split: f"{split}-*.parquet" for split in SPLITS}
    run(tmp_path / "old", tmp_path / "parent", 2, **given)
    more = {**given, "append_to": str(tmp_path / "parent")}
    one, several = (run(tmp_path / "new", tmp_path / str(n), n, **more) for n in (1, 2))
    assert timeless(several) == timeless(one)
    assert one.manifest.counts["parent_rows"]


def test_a_bad_row_is_told_in_one_line(logs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(logs, tmp_path / "out", 2)
    message = str(caught.value)
    assert "c.csv, line 2002: 3 fields instead of 8" in message or "a.csv, line 600002, column video_id: -7" in message
    assert "\n" not in message
    assert not (tmp_path / "out").exists()


def test_more_bad_rows_than_allowed_are_refused_with_the_first_of_all_files(logs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(logs, tmp_path / "out", 2, max_reject_share=1e-6)
    message = str(caught.value)
    assert "3 of 605,003 rows are bad" in message
    assert message.index("a.csv, line 600002") < message.index("a.csv, line 600003") < message.index("c.csv, line 2002")


def test_rows_that_ray_loses_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.csv", "b.csv"):
        write_csv(watches(2_000, 3), tmp_path / name)
    add = ReadStats.add_json

    def add_and_one_more(stats: ReadStats, text: str) -> None:
        add(stats, text)
        stats.rows += 1  # as if a row of the file had not arrived

    monkeypatch.setattr(ReadStats, "add_json", add_and_one_more)
    with pytest.raises(RuntimeError, match="delivered 4,000 rows of 2 files, where 4,002 of 2 were due"):
        run(tmp_path, tmp_path / "out", 2)
    assert not (tmp_path / "out").exists()


def test_a_file_without_rows_is_counted(tmp_path: Path) -> None:
    for name in ("b.csv", "d.csv"):
        write_csv(watches(2_000 if name == "b.csv" else 0, 3), tmp_path / name)
    dataset = run(tmp_path, tmp_path / "out", 2)
    assert dataset.manifest.counts["empty_files"] == 1
    assert dataset.manifest.counts["rows_read"] == 2_000


def test_a_file_that_a_node_does_not_see_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(watches(2_000, 3), tmp_path / "a.csv")
    write_csv(watches(2_000, 4), tmp_path / "b.csv")
    settle = RawReader.settle_id_types

    def then_hide(reader: RawReader) -> None:
        settle(reader)
        (tmp_path / "b.csv").unlink()

    monkeypatch.setattr(RawReader, "settle_id_types", then_hide)
    with pytest.raises(UserError, match=r"b\.csv does not exist on the node .*; give a source that all nodes see"):
        run(tmp_path, tmp_path / "out", 2)


def test_a_reader_that_is_killed_is_replaced(logs: Path, tmp_path: Path) -> None:
    one = run(logs, tmp_path / "one", 1, max_reject_share=0.01)
    killed: list[int] = []

    def kill_the_first(ended: threading.Event) -> None:
        while not killed and not ended.wait(0.005):
            for pid in reading_processes()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    for attempt in range(5):  # on a busy machine a file may have been read before it is this thread's turn
        ended = threading.Event()
        killer = threading.Thread(target=kill_the_first, args=(ended,))
        killer.start()
        try:
            several = run(logs, tmp_path / f"several{attempt}", 3, max_reject_share=0.01)
        finally:
            ended.set()
            killer.join()
        assert timeless(several) == timeless(one)
        if killed:
            break
    assert killed


def reading_processes() -> list[int]:
    """Processes of Ray that read a file at this moment."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"ray::MapBatches(read)"):
                found.append(int(entry.name))
        except OSError:  # it has ended meanwhile
            continue
    return found
