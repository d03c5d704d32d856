"""The paper's Figures 3 to 6 of runs, as files for a paper or a talk: PDF and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, TypedDict

import numpy as np

from distributed_il.core.documents import Count, Within, read_document
from distributed_il.core.drawing import Chart, figure_file
from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem, write_atomically
from distributed_il.report.records import RunRecord, read_records
from distributed_il.training.monitor import DecisionHistory, WeightHistogram
from distributed_il.training.monitor.figures import alpha_charts, decision_chart, weight_chart
from distributed_il.training.monitor.histories import NAMES


class _Curve(TypedDict):
    steps: list[Count]
    losses: list[float]
    choices: list[Annotated[int, Within(0, len(NAMES) - 1)]]


class _Curves(TypedDict):
    curves: dict[str, _Curve]


class _Study(TypedDict):
    details: _Curves


def write_figures(directory: str, run_dirs: Sequence[str], alpha_study: str | None) -> list[str]:
    """Writes the figures of runs and of a study.

    Args:
        directory: Where to, or a pyarrow URI.
        run_dirs: The runs.
        alpha_study: Result of `benchmarks.alpha_study`.

    Returns:
        The paths of what was written; a figure that no run has anything for is left out.

    Raises:
        UserError: There is no such run or study, or the directory can't be written.
    """
    figures = run_figures(read_records(run_dirs)) if run_dirs else {}
    if alpha_study is not None:
        figures["figure_6"] = study_figure(alpha_study)
    fs, root = filesystem(directory)
    written: list[str] = []
    try:
        fs.create_dir(root, recursive=True)
        for name, charts in figures.items():
            for kind in ("pdf", "svg") if charts else ():
                write_atomically(fs, f"{root}/{name}.{kind}", figure_file(charts, kind))
                written.append(f"{directory.rstrip('/')}/{name}.{kind}")
    except OSError as error:
        raise UserError(f"--figures {directory} can't be written ({error}); choose a place you may write to") from error
    return written


def run_figures(runs: Sequence[RunRecord]) -> dict[str, list[Chart]]:
    """Draws Figures 3 and 4, w1 of unlabelled pairs in the first and the last round, and 5, what the checks decided.

    Args:
        runs: Each is a panel of every figure that it has something for.

    Returns:
        The panels of each figure, by its name.
    """

    def titled(run: RunRecord, chart: Chart) -> Chart:
        return replace(chart, title=f"{run.name}: {chart.title[0].lower()}{chart.title[1:]}") if runs[1:] else chart

    def weights(title: str, kept: dict[str, WeightHistogram]) -> list[Chart]:
        return [titled(run, weight_chart(title, kept[run.name])) for run in runs if kept[run.name].total]

    return {
        "figure_3": weights("First round", {run.name: run.first_weights for run in runs}),
        "figure_4": weights("Last round", {run.name: run.weights for run in runs}),
        "figure_5": [titled(run, decision_chart(run.decisions)) for run in runs if run.decisions.total],
    }


def study_figure(path: str) -> list[Chart]:
    """Draws Figure 6, the decisions for each α, of the JSON file that `python -m benchmarks.alpha_study` writes.

    Raises:
        UserError: There is no such file, or it is another one.
    """
    fs, place = filesystem(path)
    try:
        with fs.open_input_stream(place) as stream:
            content = stream.read()
    except OSError as error:
        raise UserError(f"--alpha_study {path} can't be read ({error})") from error
    cure = "give the JSON file that `python -m benchmarks.alpha_study` has written"
    study = read_document(content, _Study, path, cure)
    return alpha_charts({multiple: _history(curve) for multiple, curve in study["details"]["curves"].items()})


def _history(curve: _Curve) -> DecisionHistory:
    choices = np.array(curve["choices"], dtype=np.int8)
    counts = np.bincount(choices, minlength=len(NAMES))
    columns = {"steps": np.array(curve["steps"]), "losses": np.array(curve["losses"]), "choices": choices}
    return DecisionHistory.from_state({"counts": counts, "stride": np.ones(1, dtype=np.int64), **columns})
