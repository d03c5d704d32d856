"""The benchmark of preparation: a log in the layout it says, read to the last row."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from benchmarks import prepare as benchmark
from benchmarks.prepare import Plan, Prepared, measure, write_log
from distributed_il.data.prepare import PrepareConfig, prepare


def prepared(source: Path, output: Path, text_ids: bool, workers: int, seed: int = 0) -> Prepared:
    id_type: Literal["string", "auto"] = "string" if text_ids else "auto"
    prepare(PrepareConfig(source=str(source), output=str(output), lanes=2, id_type=id_type, seed=seed))
    return Prepared(2.0 / workers, 4.0, 1000)


@pytest.mark.parametrize("text_ids", [False, True])
def test_figures(text_ids: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_FILE_ROWS", 400)
    monkeypatch.setattr(benchmark, "_CHUNK_ROWS", 150)
    figures = measure(Plan(rows=1000, users=20, items=50, text_ids=text_ids), tmp_path, prepared)
    assert figures["csv_rows_per_s"].median == figures["parquet_rows_per_s"].median == 500
    assert figures["csv_rows_per_cpu_s"].median == 250
    assert figures["csv_2_workers_rows_per_s"].median == 1000
    assert figures["csv_2_workers_times_as_fast"].median == 2
    assert figures["csv_peak_bytes"].met
    assert figures["csv_rows_kept"].median == figures["parquet_rows_kept"].median > 100
    assert list(tmp_path.iterdir()) == []


def test_another_dataset_with_more_workers_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="csv: the dataset depends on the workers"):
        measure(
            Plan(rows=1000, users=20, items=50),
            tmp_path,
            lambda source, output, text_ids, workers: prepared(source, output, text_ids, workers, seed=workers),
        )


def test_both_kinds_hold_the_same_rows(tmp_path: Path) -> None:
    plan = Plan(rows=300, users=20, items=50)
    for kind in ("csv", "parquet"):
        assert write_log(plan, tmp_path / kind, kind) > 0
    (csv,), (parquet,) = (list((tmp_path / kind).iterdir()) for kind in ("csv", "parquet"))
    assert pacsv.read_csv(csv).to_pydict() == pq.read_table(parquet).to_pydict()


def test_memory_of_a_tree_of_processes() -> None:
    import os

    assert benchmark._tree_bytes(os.getpid()) > 10e6  # pyright: ignore[reportPrivateUsage]
