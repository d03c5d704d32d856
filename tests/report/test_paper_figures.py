"""The paper's figures as files: which there are, what they show, and that they are the same each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from distributed_il.cli import main
from distributed_il.core.drawing import figure_file
from distributed_il.core.errors import UserError
from distributed_il.report.paper_figures import run_figures, study_figure
from distributed_il.report.records import RunRecord
from distributed_il.training.monitor import DecisionHistory, WeightHistogram
from distributed_il.training.monitor.figures import weight_chart

STUDY = next(Path(__file__).parents[2].glob("benchmarks/results/alpha_study-*.json"))
SAVED = str(Path(__file__).parents[1] / "saved" / "files" / "run")


def record(name: str, *, inverse: bool) -> RunRecord:
    decisions, first, last = DecisionHistory(), WeightHistogram(), WeightHistogram()
    if inverse:
        for step, choice in enumerate((0, 0, 1, 2)):
            decisions.append(step, choice, (0.5, 0.6, 0.7))
        first.add(np.array([0.4, 0.6]))
        last.add(np.array([0.1, 0.9, 0.9, 0.9]))
    return RunRecord(name, name, {}, [], decisions, first, last, None)


def test_each_run_is_a_panel_of_what_it_has() -> None:
    figures = run_figures([record("a", inverse=True), record("plain", inverse=False), record("b", inverse=True)])
    assert {name: [chart.title for chart in charts] for name, charts in figures.items()} == {
        "figure_3": ["a: first round", "b: first round"],
        "figure_4": ["a: last round", "b: last round"],
        "figure_5": ["a: training-test loss of the chosen update", "b: training-test loss of the chosen update"],
    }
    assert [charts[0].note for charts in figures.values()][:2] == [
        "2 pairs, 50.0% of them at ½ or above",
        "4 pairs, 75.0% of them at ½ or above",
    ]
    assert [key.name for key in figures["figure_5"][0].legend] == ["direct 50.0%", "skip 25.0%", "inverse 25.0%"]


def test_figure_6_is_what_the_study_has_found() -> None:
    charts = study_figure(str(STUDY))
    assert [chart.title for chart in charts] == [f"Training-test loss, α = {m} γ" for m in (1, 10, 50, 100)]
    measured = json.loads(STUDY.read_text())["figures"]
    for multiple, chart in zip((1, 10, 50, 100), charts, strict=True):
        shares = [measured[f"alpha_{multiple}_share_{name}"]["median"] for name in ("direct", "skip", "inverse")]
        assert [key.name.split()[1] for key in chart.legend] == [f"{share:.1%}" for share in shares]


def test_figures_are_files_for_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", SAVED, f"--figures={tmp_path}"]) == 0
    written = [tmp_path / f"figure_{number}.{kind}" for number in (3, 4, 5) for kind in ("pdf", "svg")]
    assert capsys.readouterr().out.splitlines() == [f"Figure: {path}" for path in written]
    assert sorted(tmp_path.iterdir()) == written
    for path in written:
        if path.suffix == ".svg":
            root = ElementTree.parse(path).getroot()
            assert root.tag.endswith("svg")
            # Outlines: the font of another machine would move the words.
            assert root.findall(".//{http://www.w3.org/2000/svg}text") == []
        else:
            assert path.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_the_same_chart_is_the_same_file(kind: Any) -> None:
    chart = weight_chart("First round", record("a", inverse=True).first_weights)
    assert figure_file([chart], kind) == figure_file([chart], kind)


OTHER_CHOICE = {"details": {"curves": {"1": {"steps": [1], "losses": [1.0], "choices": [3]}}}}


@pytest.mark.parametrize("content", ["{}", json.dumps(OTHER_CHOICE)])
def test_another_file_is_no_study(content: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(UserError, match="give the JSON file that `python -m benchmarks.alpha_study` has written"):
        study_figure(str(tmp_path / "study.json"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([SAVED], "say where to: --output=page.html for the page, --figures=DIR"),
        ([], "say which runs"),
        ([SAVED, "--output=p.html", "--alpha_study=x.json"], "say where to: --figures=DIR"),
    ],
)
def test_what_is_missing_is_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *arguments]) == 2
    assert told in capsys.readouterr().err
