"""A benchmark that was broken off goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.common.run_journal import RunJournal
from benchmarks.common.training_ranks import Speed, Way
from distributed_il.core.config import TrainConfig, config_from_dict
from distributed_il.core.errors import UserError

ASKED = {"commit": "abc", "cases": ["gmf_ig"]}


class Runs:
    """Runs that end until one is broken off; each has a rate of its own."""

    def __init__(self, *, most: int) -> None:
        self.told: list[int] = []
        self._most = most

    def __call__(self, way: Way, config: TrainConfig) -> Speed:
        if len(self.told) == self._most:
            raise KeyboardInterrupt
        self.told.append(config.run.workers)
        return Speed(
            rows_per_s=100.0 * config.run.workers,
            pass_s=1.0,
            other_s=2.0,
            data_wait_share=0.25,
            collectives_share=0.5,
            peak_memory_bytes=[1],
            pass_memory_bytes={"train": [2]},
        )


def configs(path: Path) -> list[TrainConfig]:
    found = [{"data": {"path": "d"}, "run": {"dir": str(path / "run"), "workers": count}} for count in (1, 2, 3)]
    return [config_from_dict(values) for values in found]


def test_runs_that_ended_are_not_run_again(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    first = Runs(most=2)
    run = RunJournal(path, ASKED).resumed(first)
    with pytest.raises(KeyboardInterrupt):
        for config in configs(tmp_path):
            run("bare", config)
    with Path(path).open("a") as file:
        file.write('{"way": "bare", "ru')  # the power goes amid a line

    second = Runs(most=9)
    journal = RunJournal(path, ASKED)
    assert len(journal) == 2
    run = journal.resumed(second)
    assert [run("bare", config).rows_per_s for config in configs(tmp_path)] == [100.0, 200.0, 300.0]
    assert (first.told, second.told) == ([1, 2], [3])
    assert len(RunJournal(path, ASKED)) == 3


def test_runs_of_another_question_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    RunJournal(path, ASKED).resumed(Runs(most=1))("bare", configs(tmp_path)[0])
    with pytest.raises(UserError, match="of another commit; remove it, or name another file"):
        RunJournal(path, ASKED | {"commit": "def"})


def test_runs_may_come_in_another_order_and_oftener(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    one, two, _ = configs(tmp_path)
    run = RunJournal(path, ASKED).resumed(Runs(most=9))
    run("bare", one)
    run("bare", two)
    more = Runs(most=9)
    run = RunJournal(path, ASKED).resumed(more)
    assert [run("bare", config).rows_per_s for config in (two, one, one)] == [200.0, 100.0, 100.0]
    run("stream", two)
    assert more.told == [1, 2]
