"""The comparison as people read it: a table for each log, and curves by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imsave

from benchmarks.noise.comparison import CURVE, METRICS
from distributed_il.core.charts import Series, line_chart
from distributed_il.core.drawing import pixels

Report = Mapping[str, Any]
_WORDS = {"none_clean": "none, without the noise", "item_co_occurrence": "item co-occurrence"}


def values_of(report: Report, log: str, row: str, metric: str) -> list[float]:
    """A test metric of a row, seed by seed.

    Args:
        report: From `compare`.
        log: Name of the log.
        row: Name of the row.
        metric: One of METRICS, or `gauc`.
    """
    return [run["test"][metric] for run in report[log]["rows"][row]["runs"]]


def table(report: Report, log: str) -> str:
    """A Markdown table of a log, with gains over `none` paired by seed where that is there."""
    about, rows = report[log]["about"], report[log]["rows"]
    heading = ["row", *METRICS, "recall@20 over none", "GAUC, clean over noise", "best round", "s a run", "chosen"]
    lines = [
        f"## {log}",
        "",
        f"{about['train_rows']:,} training interactions, {about['noise'] / about['train_rows']:.1%} of them noise; "
        f"{about['valid_rows']:,} rows of valid, {about['test_rows']:,} of test.",
        "",
        _line(heading),
        "|---" * len(heading) + "|",
    ]
    for name, runs in report[log]["trivial"].items():
        cells = [_spread([run[metric] for run in runs]) for metric in METRICS]
        lines.append(_line([_words(name), *cells, *["–"] * (len(heading) - 1 - len(METRICS))]))
    for name, row in rows.items():
        runs = row["runs"]
        cells = [_words(name), *(_spread(values_of(report, log, name, metric)) for metric in METRICS)]
        cells += [_gain(report, log, name), _spread(values_of(report, log, name, "gauc"))]
        cells += [", ".join(str(run["best_round"]) for run in runs), f"{np.mean([run['seconds'] for run in runs]):.0f}"]
        lines.append(_line([*cells, _describe(row["setting"])]))
    return "\n".join(lines)


def draw_curves(report: Report, path: Path) -> None:
    """Draws the mean of CURVE on valid by round, a chart for each log one below the other, as a PNG file."""
    charts = [
        line_chart(
            f"{CURVE} of clean validation rows, {log}",
            [
                Series(_words(name), range(1, len(curve) + 1), curve.tolist(), style)
                for style, (name, row) in enumerate(found["rows"].items())
                for curve in [np.mean([run["curve"] for run in row["runs"]], axis=0)]
            ],
            x_label="round",
            note="mean over seeds",
        )
        for log, found in report.items()
    ]
    imsave(path, np.concatenate([pixels(chart) for chart in charts if chart is not None]))


def _words(row: str) -> str:
    return _WORDS.get(row, row)


def _gain(report: Report, log: str, row: str) -> str:
    if row == "none" or "none" not in report[log]["rows"]:
        return "–"
    gains = np.subtract(values_of(report, log, row, CURVE), values_of(report, log, "none", CURVE))
    return _spread(gains.tolist(), "+.4f")


def _spread(values: Sequence[float], form: str = ".4f") -> str:
    deviation = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{deviation}"


def _describe(setting: Mapping[str, Any]) -> str:
    optimizer, method = setting["optimizer"], setting["method"]
    parts = [f"γ {optimizer['learning_rate']:g}", f"L2 {optimizer['weight_decay']:g}"]
    parts += [f"{name} {value:g}" for name, value in method.items() if not isinstance(value, str)]
    return ", ".join(parts)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
