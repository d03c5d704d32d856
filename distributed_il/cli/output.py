"""What commands print of their results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distributed_il.evaluation.metric_columns import METRICS, metric_rows, ranking_note, ranking_rows


def metric_table(split: str, predictors: Mapping[str, Mapping[str, Any]]) -> str:
    """Lays out metrics in columns, the model's first, and under them how many rows and users they rest on."""
    rows = [[split, *METRICS], *metric_rows(predictors)]
    width = max(len(name) for name, *_ in rows)
    lines = [f"{name:<{width}}" + "".join(f"{value:>9}" for value in values) for name, *values in rows]
    model = next(iter(predictors.values()))
    if "rows" in model:
        lines.append(
            f"{model['rows']:,} rows, {model['positives_share']:.1%} positive; {model['users']:,} users, and "
            f"{model['users_left_out']:,} left out of per-user metrics, whose rows are all of one class"
        )
    return "\n".join(lines)


def ranking_table(model: str, ranking: Mapping[str, Any]) -> str:
    """Lays out `ranking` of metrics.json, a line for each k, the model's first, and below whose rankings they are."""
    rows = ranking_rows({model: ranking, **ranking["trivial"]})
    width = max(len(name) for name, *_ in rows)
    lines = [f"{name:<{width}}{k:>4}" + "".join(f"{value:>11}" for value in values) for name, k, *values in rows]
    return "\n".join([*lines, f"rankings {ranking_note(ranking)}"])


def result_line(output: str, counts: Mapping[str, int]) -> str:
    """Says how many rows a result has, how many of them come from which fallback, and where they lie."""
    fallbacks = {name: rows for name, rows in counts.items() if name not in ("rows", "model") and rows}
    answered = "".join(f", {rows:,} of them answered by {name.replace('_', ' ')}" for name, rows in fallbacks.items())
    return f"{output}: {counts['rows']:,} rows{answered}"
