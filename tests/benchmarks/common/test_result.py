"""The form of every benchmark's report."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from benchmarks.common.result import Figure, Result
from distributed_il.core.process import process_environment


def result(**figures: Figure) -> Result:
    return Result(
        name="steps",
        question="What does a step cost?",
        answer="Little.",
        command="python -m benchmarks.steps",
        config={"rows": 1024, "share": 0.5, "source": "both"},
        figures=figures,
        notes=["A busy machine."],
    )


def test_median_and_spread_of_five_values_by_hand() -> None:
    # In order 1 2 4 7 11: quartiles are the 2nd and the 4th of five.
    summary = Figure([7.0, 1.0, 11.0, 2.0, 4.0]).summary()
    assert summary == {
        "median": 4.0,
        "min": 1.0,
        "lower_quartile": 2.0,
        "upper_quartile": 7.0,
        "interquartile_range": 5.0,
        "max": 11.0,
        "repeats": [7.0, 1.0, 11.0, 2.0, 4.0],
    }


def test_median_and_quartiles_between_values_by_hand() -> None:
    # In order 1 2 4 8: the lower quartile lies ¾ of the way from 1 to 2, the upper one ¼ of the way from 4 to 8.
    figure = Figure([8.0, 1.0, 4.0, 2.0])
    assert figure.median == 3.0
    assert figure.quartiles == (1.75, 5.0)


def test_one_value_is_its_own_median_and_spread() -> None:
    assert Figure([3.0]).median == 3.0
    assert Figure([3.0]).quartiles == (3.0, 3.0)
    with pytest.raises(ValueError, match="at least one"):
        Figure([])


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure([1.0]), None),
        (Figure([1.0], at_most=1.0), True),
        (Figure([1.0], at_most=0.9), False),
        (Figure([1.0], at_least=1.0), True),
        (Figure([1.0], at_least=1.1), False),
        (Figure([1.0], at_least=0.5, at_most=0.9), False),
        # The median counts, not the worst.
        (Figure([0.1, 0.2, 9.0], at_most=0.2), True),
    ],
)
def test_a_target_is_met_by_the_median(figure: Figure, met: bool | None) -> None:
    assert figure.met is met


def test_last_line_is_the_medians_as_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result(step_ms=Figure([1.0, 3.0, 2.0]), broken=Figure([float("nan")])).publish(str(tmp_path))
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"step_ms": 2.0, "broken": None}


def test_both_files_are_named_by_the_day_and_hold_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results"
    result(step_ms=Figure([1.0, 3.0, 2.0], at_most=1.5), bytes=Figure([4096.0])).publish(str(out))
    day = datetime.date.today().isoformat()
    # Nothing else stays, so what was written aside was moved.
    assert sorted(path.name for path in out.iterdir()) == [f"steps-{day}.json", f"steps-{day}.md"]
    report = json.loads((out / f"steps-{day}.json").read_text())
    assert report["question"] == "What does a step cost?"
    assert report["command"] == "python -m benchmarks.steps"
    assert report["config"] == {"rows": 1024, "share": 0.5, "source": "both"}
    assert report["notes"] == ["A busy machine."]
    assert set(report["environment"]) == set(process_environment(1))
    assert {"processor", "versions", "commit"} <= set(report["machine"])
    assert report["figures"]["step_ms"]["repeats"] == [1.0, 3.0, 2.0]
    assert report["figures"]["step_ms"]["met"] is False
    text = (out / f"steps-{day}.md").read_text()
    assert capsys.readouterr().out.startswith(text)
    assert "| step_ms | 2 | 1.5 – 2.5 | 1 – 3 | 3 | ≤ 1.5: **missed** |" in text
    assert "| bytes | 4,096 | – | – | 1 | – |" in text
    assert "rows 1,024, share 0.5, source both" in text


def test_files_are_written_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result(step_ms=Figure([1.0])).publish(str(tmp_path))
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    # The place beside the file is taken, so the next report cannot be written, and the one that stands is not touched.
    (tmp_path / f"steps-{datetime.date.today().isoformat()}.json.tmp").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        result(step_ms=Figure([2.0])).publish(str(tmp_path))
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()} == before
    capsys.readouterr()
