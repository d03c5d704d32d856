"""The progress line: its words, and how it is shown on a terminal and elsewhere."""

from __future__ import annotations

import dataclasses
import io
import math

import pytest

from distributed_il.core import progress
from distributed_il.core.progress import Progress, ProgressLine

FULL = Progress(
    round=2,
    max_rounds=30,
    phase="inverse",
    step=25,
    steps=100,
    rows_per_s=123_456.0,
    loss=0.51239,
    decisions=(0.5, 0.2, 0.3),
    eta_s=125.9,
    best=0.48761,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_full_line_word_for_word() -> None:
    assert FULL.line() == (
        "round 2/30 inverse  25%  2:05 left  loss 0.5124  123.5k rows/s  best valid 0.4876  "
        "direct 50% skip 20% inverse 30%"
    )


def test_what_is_not_known_is_left_out() -> None:
    line = dataclasses.replace(FULL, loss=math.nan, decisions=None, eta_s=math.nan, best=None, rows_per_s=0.0).line()
    assert line == "round 2/30 inverse  25%  0 rows/s"


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (7.4, "7 rows/s"),
        (999.0, "999 rows/s"),
        (1000.0, "1.0k rows/s"),
        (2_340_000.0, "2.3M rows/s"),
        (5.0e9, "5.0G rows/s"),
    ],
)
def test_rates_are_short(rate: float, words: str) -> None:
    assert f"  {words}  " in dataclasses.replace(FULL, rows_per_s=rate).line()


@pytest.mark.parametrize(("eta_s", "words"), [(0.0, "0:00 left"), (59.9, "0:59 left"), (3661.0, "61:01 left")])
def test_time_left(eta_s: float, words: str) -> None:
    assert f"  {words}  " in dataclasses.replace(FULL, eta_s=eta_s).line()


def test_a_pass_without_steps() -> None:
    assert dataclasses.replace(FULL, step=0, steps=0).line().startswith("round 2/30 inverse   0%")


def test_elsewhere_than_on_a_terminal_a_plain_line_now_and_then(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressLine(stream) as line:
        for step, now in ((1, 0.0), (2, 29.9), (3, 30.0), (4, 59.9), (5, 60.0)):
            clock.now = 1000.0 + now
            line.update(dataclasses.replace(FULL, step=step))
    assert stream.getvalue().splitlines() == [dataclasses.replace(FULL, step=step).line() for step in (1, 3, 5)]


def test_elsewhere_a_line_that_stays_is_a_sign_of_life_as_well(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressLine(stream) as line:
        line.note("round 1")
        line.update(FULL)
        clock.now += 30.0
        line.update(FULL)
        line.wait("workers are starting", 3.0)
    assert stream.getvalue().splitlines() == ["round 1", FULL.line()]


def test_on_a_terminal_one_line_moves() -> None:
    stream = Terminal()
    with ProgressLine(stream) as line:
        for step in (1, 2, 3):
            line.update(dataclasses.replace(FULL, step=step))
    written = stream.getvalue()
    for step in (1, 2, 3):
        assert f"inverse   {step}%" in written
    # Back to the start of the line each time, and nothing of it stays.
    assert written.count("\r") >= 3
    assert "\n" not in written
    assert not written.rpartition("\r")[0].rpartition("\r")[2].strip()


def test_on_a_terminal_it_is_told_what_is_being_waited_for() -> None:
    stream = Terminal()
    with ProgressLine(stream) as line:
        line.wait("workers are starting", 2.6)
    assert "workers are starting, 3 s" in stream.getvalue()


def test_plain_text_carries_no_control_characters(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressLine(stream) as line:
        line.update(FULL)
        line.note("checkpoint at step 7")
    assert stream.getvalue() == f"{FULL.line()}\ncheckpoint at step 7\n"


def test_a_note_stays_above_the_moving_line() -> None:
    stream = Terminal()
    with ProgressLine(stream) as line:
        line.update(FULL)
        line.note("round 1: auc 0.81")
        line.update(dataclasses.replace(FULL, step=26))
    written = stream.getvalue()
    assert "round 1: auc 0.81\n" in written
    assert written.index("25%") < written.index("round 1: auc") < written.index("26%")


def test_a_line_that_was_never_used_writes_nothing() -> None:
    stream = Terminal()
    with ProgressLine(stream):
        pass
    assert stream.getvalue() == ""


def test_standard_error_by_default(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine() as line:
        line.update(FULL)
    captured = capsys.readouterr()
    assert captured.err == f"{FULL.line()}\n"
    assert captured.out == ""


def test_stages_are_shown_on_a_terminal_alone() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with ProgressLine(stream) as line:
            line.update_stage("read", 10, 0)
            line.update_stage("write", 5, 20)
    assert "read" in terminal.getvalue()
    assert "write" in terminal.getvalue()
    assert not terminal.getvalue().endswith("\n")
    assert file.getvalue() == ""
