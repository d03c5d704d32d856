"""The comparison as people read it: tables, and a picture of gains over the share of labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imsave

from benchmarks.feedback_value.gains import Gain, gains_over, holm
from benchmarks.feedback_value.measuring import METRICS
from benchmarks.feedback_value.rows import BASELINES
from distributed_il.core.charts import Series, line_chart
from distributed_il.core.drawing import pixels

Report = Mapping[str, Any]
TITLES = {"auc": "AUC", "gauc": "GAUC", "ndcg@10": "NDCG@10"}
PROBES = {"clear": "AUC of clear test rows", "hidden": "AUC of hidden labels"}
DRAWN = ("factors_ordinal", "factors", "ordinal", "factors_shuffled", "ig_rounds", "ig_logged", "idl_logged")
"""Rows in the picture; the others are in the tables."""


def measured(report: Report, kind: str, metric: str, part: str = "test") -> dict[str, list[float]]:
    """A metric of every row of a setting that was measured, seed by seed.

    Args:
        report: From `compare`.
        kind: Name of the setting.
        metric: One of `METRICS`.
        part: `test`, or the name of a probe.
    """
    return {
        name: [run[part][metric] for run in row["runs"]]
        for name, row in report[kind]["rows"].items()
        if "runs" in row and part in row["runs"][0]
    }


def auc_gains(report: Report) -> dict[str, dict[str, Gain]]:
    """Gains in test AUC, by setting and row."""
    return {kind: gains_over(measured(report, kind, "auc"), BASELINES) for kind in report}


def marked(report: Report, gains: Mapping[str, Mapping[str, Gain]]) -> dict[tuple[str, str], float]:
    """p of the cells that have a target, adjusted together, by setting and row."""
    return holm(
        {
            (kind, row): gains[kind][row].p
            for kind in report
            for row in report[kind]["about"]["targets"]
            if row in gains[kind]
        }
    )


def tables(report: Report) -> list[str]:
    """A Markdown table for each setting."""
    gains = auc_gains(report)
    adjusted = marked(report, gains)
    return [_table(report, kind, gains[kind], adjusted) for kind in report]


def draw_gains(report: Report, path: Path) -> bool:
    """Draws gains in AUC over the share of labels, a chart for each family of settings one below the other.

    Args:
        report: From `compare`.
        path: A PNG file to write.

    Returns:
        Whether there was anything to draw.
    """
    gains, families = auc_gains(report), dict[str, list[str]]()
    for kind in sorted(report, key=lambda kind: report[kind]["about"]["share"]):
        if report[kind]["about"]["family"]:
            families.setdefault(report[kind]["about"]["family"], []).append(kind)
    charts = [
        line_chart(
            f"Gain in test AUC, {family}",
            [
                Series(
                    _words(row),
                    range(len(kinds)),
                    [gains[kind][row].mean if row in gains[kind] else math.nan for kind in kinds],
                    style,
                )
                for style, row in enumerate(DRAWN)
            ],
            x_label="share of labels",
            x_names=[f"{report[kind]['about']['share']:.0%}" for kind in kinds],
            note="over the stronger of none and user + item bias",
        )
        for family, kinds in families.items()
    ]
    images = [pixels(chart) for chart in charts if chart is not None]
    if images:
        imsave(path, np.concatenate(images))
    return bool(images)


def _table(report: Report, kind: str, gains: Mapping[str, Gain], adjusted: Mapping[tuple[str, str], float]) -> str:
    about, rows = report[kind]["about"], report[kind]["rows"]
    probes = [name for name in PROBES if measured(report, kind, "auc", name)]
    over = next((gain.over for gain in gains.values()), "")
    lines = [f"## {kind}{': ' + about['family'] if about['family'] else ''}", "", _about(about), ""]
    heading = ["row", *TITLES.values(), *(PROBES[name] for name in probes)]
    heading += [f"AUC over {_words(over)}" if over else "AUC gain", "p", "p, Holm", "target", "seconds a run", "chosen"]
    lines += [_line(heading), "|---" * len(heading) + "|"]
    for name in sorted(rows, key=lambda name: name != "item_mean"):
        row = rows[name]
        if "runs" not in row:
            lines.append(_line([_words(name), "diverged", *["–"] * (len(heading) - 2)]))
            continue
        cells = [_words(name), *(_spread(measured(report, kind, metric)[name]) for metric in METRICS)]
        cells += [_spread(measured(report, kind, "auc", probe)[name]) for probe in probes]
        cells += _gain(gains.get(name), adjusted.get((kind, name)), about["targets"].get(name))
        cells += [f"{row['seconds']:.0f}" if "seconds" in row else "–", _describe(row.get("setting"))]
        lines.append(_line(cells))
    return "\n".join(lines)


def _about(about: Mapping[str, Any]) -> str:
    text = f"{about['train_rows']:,} labelled and {about['unclear_rows']:,} unclear training rows, "
    text += f"{about['valid_rows']:,} of valid, {about['test_rows']:,} of test; "
    if "factors" in about:
        text += f"{about['factors']} exposure factors, first singular value {about['first_singular_value']:.3f}, "
        text += f"by chance {about['null_edge']:.3f}; "
    return text + f"{about['seeds']} seeds."


def _gain(gain: Gain | None, adjusted: float | None, target: float | None) -> list[str]:
    if gain is None:
        return ["–"] * 4
    met = "" if target is None else f"≥ {target:+.3f}: {'met' if gain.mean >= target else '**missed**'}"
    return [
        _spread(gain.gains, "+.4f"),
        _p(gain.p),
        "–" if adjusted is None else _p(adjusted),
        met or "–",
    ]


def _spread(values: Sequence[float], form: str = ".4f") -> str:
    deviation = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{deviation}"


def _p(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1e}" if value < 0.001 else f"{value:.3f}"


def _describe(setting: Mapping[str, Any] | None) -> str:
    if setting is None:
        return "–"
    optimizer, model, method = setting["optimizer"], setting["model"], setting["method"]
    parts = [f"γ {optimizer['learning_rate']:g}", f"L2 {optimizer['weight_decay']:g}"]
    parts += [f"{name} {model[name]:g}" for name in ("factor_scale", "factor_decay") if name in model]
    parts += [f"{name} {value:g}" for name, value in method.items() if not isinstance(value, str)]
    return ", ".join(parts)


def _words(row: str) -> str:
    return {"factors_ordinal": "factors + ordinal", "bias": "user + item bias"}.get(row, row.replace("_", " "))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
