"""The benchmark of the start: its stamp, and what it makes of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks import startup
from benchmarks.starts.first_step import StampedBiasMF
from benchmarks.starts.stamp import STAMP, stamp


def test_the_first_of_all_processes_leaves_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STAMP, str(tmp_path / "stamp"))
    monkeypatch.setattr(StampedBiasMF, "stamped", False)
    model = StampedBiasMF(2)
    rows = torch.zeros(3, 3)
    assert model(rows, rows).tolist() == [0.0, 0.0, 0.0]
    told = (tmp_path / "stamp").read_text()
    stamp()
    model(rows, rows)
    assert (tmp_path / "stamp").read_text() == told


def test_the_clock_runs_from_the_command_to_the_stamp(tmp_path: Path) -> None:
    code = f"import os, time; open(os.environ['{STAMP}'], 'w').write(repr(time.time() + 100))"
    first, ended = startup.seconds_to_first_step([sys.executable, "-c", code], tmp_path)
    assert first >= 100
    assert ended >= float((tmp_path / "stamp").read_text()) - 100


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        startup.seconds_to_first_step([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path)
