"""Runs killed at random points, on a small scale, and whether the benchmark would notice a mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.faults.kill_switch import KillableCollectives, Killed, KillPoint, KillSwitch, killable_files, run_ranks
from benchmarks.faults.row_ledger import RowLedger
from benchmarks.kill_points import Case, hunt
from distributed_il.core.files import write_run_file
from distributed_il.training.telemetry import Telemetry

CASE = Case("gmf", "ig", "sharded", 2)


def test_runs_killed_anywhere_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    tally = hunt([CASE], tmp_path, kills=10, seed=3)
    assert tally.faults == []
    assert tally.kills.total() >= 10
    assert tally.rows_computed > tally.rows_kept


def test_state_that_is_not_restored_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Telemetry, "restore", lambda *_: None)
    tally = hunt([Case("gmf", "none", "replicated", 1)], tmp_path, kills=12, seed=1)
    assert tally.faults


def test_a_kill_amid_a_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_run_file(str(tmp_path), "file", "before")
    outcomes: list[str] = []
    for number in range(1, 100):
        switch = KillSwitch(KillPoint(0, "between steps", number))
        switch.start_rank(0)
        with killable_files(switch):
            try:
                write_run_file(str(tmp_path), "file", "behind")
            except Killed:
                outcomes.append((tmp_path / "file").read_text())
                continue
        break
    assert outcomes == sorted(outcomes)
    assert {"before", "behind"} == set(outcomes)
    assert len(outcomes) > 5


def test_a_killed_rank_ends_the_others_at_their_next_collective() -> None:
    passed: list[int] = []

    def rank(collectives: KillableCollectives) -> None:
        for _ in range(5):
            collectives.barrier()
            passed.append(collectives.rank)

    # The 5th point of a rank comes before its third collective.
    assert run_ranks(2, KillSwitch(KillPoint(1, "between steps", 5)), rank) is None
    # Rank 0 may have been on its way out of the second one.
    assert passed.count(1) == 2
    assert passed.count(0) in (1, 2)


def test_a_ledger_knows_rows_that_are_lost_or_doubled() -> None:
    ledger = RowLedger()
    for step, rows in ((1, [0, 1]), (2, [2, 3]), (3, [0, 1]), (4, [2, 3])):
        ledger.enter(step, np.array(rows))
    assert ledger.mistakes(4, [2, 4]) == []
    ledger.go_back(2)
    ledger.enter(3, np.array([0, 1]))
    ledger.enter(4, np.array([2, 2]))
    assert ledger.mistakes(4, [2, 4]) == ["round 2: 1 rows lost, 1 doubled"]
    assert (ledger.kept, ledger.computed) == (8, 12)
