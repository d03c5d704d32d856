"""What the fault table makes of the steps that workers have written down, and of two runs' ends."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from benchmarks.faults.outcome import Outcome
from benchmarks.faults.rows import ROWS
from benchmarks.faults.step_log import StepLog, entries, ledger_of, silence_s

OUTCOME = Outcome(
    tensors={"last.users": torch.tensor([1.0, 0.0])},
    facts={"step": 2},
    metrics={"test": {"auc": 0.5}, "history": [{"step": 2}]},
    curves={"train/loss": [(1, 0.7), (2, 0.6)]},
    steps={"config": [0]},
)


def write(place: Path, name: str, *lines: object) -> None:
    (place / f"steps-{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    log = StepLog(tmp_path)
    log.begin(5, rank=1)
    log.enter(6, [3, 1])
    log.begin(6, rank=1)
    assert [(entry.step, entry.rows) for entry in entries(tmp_path)] == [(5, None), (6, [3, 1])]


def test_steps_lost_with_a_process_are_struck_out(tmp_path: Path) -> None:
    write(tmp_path, "a", [0.0, 0, None], [1.0, 1, [0, 1]], [2.0, 2, [2, 3]])
    write(tmp_path, "b", [12.0, 1, None], [13.0, 2, [2, 3]], [14.0, 3, [0, 1]], [15.0, 4, [2, 3]])
    with (tmp_path / "steps-a.jsonl").open("a") as file:
        file.write("[3.0, 3, [0")  # the process died amid a line
    found = entries(tmp_path)
    ledger = ledger_of(found)
    assert ledger.mistakes(4, [2, 4]) == []
    assert (ledger.computed, ledger.kept) == (10, 8)
    assert silence_s(found, fault=4.0) == 9.0


def test_without_a_new_process_the_longest_pause_counts(tmp_path: Path) -> None:
    write(tmp_path, "a", [0.0, 0, None], [1.0, 1, [0]], [4.0, 2, [1]], [5.0, 3, [2]])
    assert silence_s(entries(tmp_path), fault=1.5) == 2.5
    assert silence_s(entries(tmp_path), fault=6.0) is None


def test_equal_outcomes_have_no_differences_and_others_name_theirs() -> None:
    assert OUTCOME.differences(OUTCOME) == []
    zero = dataclasses.replace(OUTCOME, tensors={"last.users": torch.tensor([1.0, -0.0])})
    assert OUTCOME.differences(zero) == ["tensor last.users"]
    gap = dataclasses.replace(OUTCOME, curves={"train/loss": [(1, 0.7)]})
    assert len(OUTCOME.differences(gap)) == 1
    rounded = dataclasses.replace(OUTCOME, metrics={"test": {"auc": 0.50001}, "history": [{"step": 2}]})
    assert OUTCOME.differences(rounded, tolerance=1e-4) == []
    assert OUTCOME.differences(rounded) == ["metrics.json.test.auc: 0.5 and 0.50001"]


def test_a_step_that_comes_twice_is_a_mistake() -> None:
    assert OUTCOME.mistakes() == []
    double = dataclasses.replace(OUTCOME, curves={"train/loss": [(1, 0.7), (1, 0.7)]})
    assert double.mistakes() == ["curve train/loss: a step comes twice"]


def test_rows_are_named_as_their_functions_say() -> None:
    assert all(fault.words and fault.disturb.__doc__ for fault in ROWS.values())
    assert [fault.name for fault in ROWS.values() if fault.elastic] == ["node_killed"]
