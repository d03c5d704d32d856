"""The benchmark of denoising, on a small simulated log."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import denoising
from benchmarks.common import resumable_pool
from benchmarks.noise.comparison import METRICS
from benchmarks.noise.rows import OWN, ROWS, draw
from distributed_il.core.config import config_from_dict

SIZES = {"num_users": 40, "num_items": 50, "num_positives": 200, "num_negatives": 120, "num_unclear": 0}


def test_draws_are_valid_settings_and_number_n_of_every_row_has_the_same_optimiser() -> None:
    for number in range(5):
        drawn = {row: draw(row, number, steps=100) for row in ROWS}
        assert len({json.dumps(setting["optimizer"]) for setting in drawn.values()}) == 1
        for row, setting in drawn.items():
            config_from_dict({"data": {"path": "d"}, "run": {"dir": "r"}, **setting})
            assert setting["method"].items() >= ROWS[row].items()
        t_ce, low_high = drawn["t_ce"]["method"], OWN["t_ce"]["gradual_rounds"]
        assert 100 * low_high[0] <= t_ce["num_gradual_steps"] <= 100 * low_high[1]
    assert len({json.dumps(draw("t_ce", number, steps=100)) for number in range(5)}) == 5


def test_every_row_is_chosen_measured_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable_pool, "ProcessPoolExecutor", lambda jobs, **_: ThreadPoolExecutor(jobs))
    monkeypatch.setattr(denoising, "QUICK_SIZES", SIZES)
    given = ["--quick", "--rows", "none", "t_ce", "none_clean", "--draws", "1", "--seeds", "1", "--rounds", "2"]
    given += ["--jobs", "1", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert denoising.main(given) == 0
    (path,) = (tmp_path / "out").glob("denoising-*.json")
    found = json.loads(path.read_text())["details"]["logs"]["simulated"]
    assert found["about"]["noise"] < found["about"]["train_rows"] < 320
    for row in ("none", "t_ce", "none_clean"):
        (run,) = found["rows"][row]["runs"]
        assert set(run["test"]) == {*METRICS, "gauc"}
        assert len(run["curve"]) == 2
    # Without the noise there is less to learn from, and something else is learned.
    assert found["rows"]["none"]["runs"][0]["curve"] != found["rows"]["none_clean"]["runs"][0]["curve"]
    assert path.with_suffix(".png").exists()

    finished = {file: file.stat().st_mtime_ns for file in (tmp_path / "work" / "runs").iterdir()}
    assert len(finished) == 6
    assert denoising.main(given) == 0
    assert {file: file.stat().st_mtime_ns for file in finished} == finished


def test_movielens_needs_its_directory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("DISTRIBUTED_IL_ML1M", raising=False)
    with pytest.raises(SystemExit):
        denoising.parse([])
    assert "give --source" in capsys.readouterr().err
    assert denoising.parse(["--quick"]).logs == ["simulated"]
