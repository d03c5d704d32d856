"""Damaged logs of every format: a clear error or counted rejects, and never another row than a line says."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzzing.damage import damage
from benchmarks.fuzzing.damaged_logs import Case, parquet_bytes, parquet_problem, problem, read_with_package
from benchmarks.fuzzing.part_folders import folder_problem
from benchmarks.fuzzing.slow_reader import read_slowly
from benchmarks.fuzzing.small_logs import LOGS, Log

FEW = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHARES = st.sampled_from([0.0, 0.999])


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.format)
def test_both_readers_agree_on_whole_logs(log: Log, tmp_path: Path) -> None:
    (tmp_path / log.file).write_bytes(log.data)
    found, integers = read_with_package(tmp_path, log.file)
    assert found == read_slowly(log, log.data, integers=integers)
    assert len(found.rows) == len(log.lines)
    assert {label for _, _, label in found.rows} >= {0, 1}


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.format)
@FEW
@given(seed=st.integers(0, 2**32), share=SHARES)
def test_damaged_bytes(log: Log, seed: int, share: float, tmp_path: Path) -> None:
    data = damage(log.data, np.random.default_rng(seed), log.delimiter.encode())
    assert problem(Case(log, data, max_reject_share=share), tmp_path) == ""


TEXT = st.text(st.characters(codec="utf-8"), max_size=6) | st.from_regex(r"[-+]?[0-9]{1,20}(\.[0-9]*)?", fullmatch=True)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.format)
@FEW
@given(place=st.integers(0, 3), line=st.integers(0, 23), field=TEXT, share=SHARES)
def test_strange_fields(log: Log, place: int, line: int, field: str, share: float, tmp_path: Path) -> None:
    lines = list(log.lines)
    fields = lines[line].split(log.delimiter)
    fields[log.used[place % len(log.used)]] = field
    lines[line] = log.delimiter.join(fields)
    data = "\n".join([log.header] * bool(log.header) + lines).encode()
    assert problem(Case(log, data, max_reject_share=share), tmp_path) == ""


@FEW
@given(seed=st.integers(0, 2**32))
def test_folders_of_part_files(seed: int, tmp_path: Path) -> None:
    folder = tmp_path / str(seed)
    folder.mkdir(exist_ok=True)
    assert folder_problem(np.random.default_rng(seed), folder) == ""
    shutil.rmtree(folder)


@FEW
@given(seed=st.integers(0, 2**32))
def test_damaged_archives(seed: int, tmp_path: Path) -> None:
    log = LOGS[seed % len(LOGS)]
    data = damage(gzip.compress(log.data, mtime=0), np.random.default_rng(seed), b",")
    assert problem(Case(log, data, ending=".gz", max_reject_share=0.5), tmp_path) == ""


@FEW
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_damaged_parquet(place: float, change: int, tmp_path: Path) -> None:
    data = bytearray(parquet_bytes())
    (tmp_path / "log.parquet").write_bytes(data)
    whole, _ = read_with_package(tmp_path, "log.parquet")
    data[int(place * len(data))] ^= change
    assert parquet_problem(bytes(data), whole.rows, tmp_path) == ""
