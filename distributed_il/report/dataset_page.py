"""The summary of a dataset as one HTML page with charts, which opens without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from distributed_il.core.charts import Series, column_chart, histogram_chart, line_chart, share_bar, short
from distributed_il.core.drawing import Chart
from distributed_il.data.dataset import UNCLEAR
from distributed_il.data.prepare.summary import SET_ASIDE, factors_text
from distributed_il.report.render import plain, render

MOST_DRAWN = 0.97
"""Share of the watches that the picture of watch times shows at least, unless the rest are in its open last bin."""
_STYLES = {"positive": 2, "negative": 1, "unclear": 7}


def summary_page(facts: Mapping[str, Any]) -> str:
    """Renders the facts that `dataset_summary` gathers as HTML."""
    sides = facts["features"] or {}
    settings = {**facts["rule"], **facts["policies"]}
    unread = settings.pop("columns_left_aside", {})
    return render(
        "dataset.html",
        facts=facts,
        feedback_charts=[_shares(facts["classes"]), _watch_time(facts["watch_time"])],
        activity_charts=[_activity(facts[f"train_rows_per_{entity}"], f"{entity}s") for entity in ("user", "item")],
        row_counts=_row_counts(facts),
        split_rows=_split_rows(facts["splits"]),
        feature_rows=[
            [f"{name} of {entity}", f"{values:,}"]
            for entity, side in sides.items()
            for name, values in side["values"].items()
        ],
        entity_rows=[
            [entity, f"{facts[entity]:,}", f"{side['with_features']:,}", f"{side['unused']:,}"]
            for entity, side in sides.items()
        ],
        factors=_factors(facts["factors"]),
        setting_rows=[[name, plain(value)] for name, value in settings.items()],
        unread_rows=[[name, plain(columns)] for name, columns in unread.items()],
    )


def _shares(classes: Mapping[str, int]) -> Chart:
    total = max(sum(classes.values()), 1)
    shares = {f"{name} {rows:,}": rows / total for name, rows in classes.items()}
    return share_bar("Rows of the dataset", shares, styles=[_STYLES[name] for name in classes])


def _row_counts(facts: Mapping[str, Any]) -> list[list[str]]:
    rows = facts["rows"]
    lines = [("read from the source", rows["in"])]
    if rows["from_parent"]:
        lines.append(("taken over from the parent dataset", rows["from_parent"]))
    lines += [(SET_ASIDE[name].format(**facts["policies"]), -count) for name, count in rows["set_aside"].items()]
    if facts["policies"].get("unseen") == "drop" and facts["counts"].get("unseen_rows"):
        lines.append(("of users or items that are not in train", -facts["counts"]["unseen_rows"]))
    lines.append(("in the dataset", rows["out"]))
    return [[name, f"{count:,}".replace("-", "− ")] for name, count in lines]


def _split_rows(splits: Mapping[str, Any]) -> list[list[str]]:
    """Lays out splits: rows, share of positives, users and items, how many of these train lacks, times."""

    def count(split: Mapping[str, Any], key: str) -> str:
        return f"{split[key]:,}" if key in split else "–"

    return [
        [
            name,
            count(split, "rows"),
            "–" if name == UNCLEAR else f"{split['positives'] / split['rows']:.1%}",
            *(count(split, key) for key in ("users", "unseen_users", "items", "unseen_items")),
            *split.get("times", ("–", "–")),
        ]
        for name, split in splits.items()
    ]


def _watch_time(watch_time: Mapping[str, Any] | None) -> Chart | None:
    if not watch_time:
        return None
    names = ("negative", "unclear", "positive")
    edges = watch_time["from_s"]
    totals = np.sum([watch_time[name] for name in names], axis=0)
    # The last bin is open; of the others as many are drawn as it takes for nearly all watches.
    reached = np.cumsum(totals) >= MOST_DRAWN * totals.sum()
    bins = min(max(int(reached.argmax()) + 1, 8), len(edges) - 1)
    series = [Series(name, edges[:bins], watch_time[name][:bins], _STYLES[name]) for name in names]
    longer, without = int(totals[bins:].sum()), watch_time["watches_without_duration"]
    note = "All good rows read; watches per second of watch time, so that an area is a number of watches."
    note += f" {longer:,} are longer than {edges[bins]:g} s." if longer else ""
    note += f" {without:,} have no duration." if without else ""
    return histogram_chart(
        "Watches by watch time", edges[: bins + 1], series, x_label="seconds watched", unit="second", note=note
    )


def _factors(factors: Mapping[str, Any]) -> dict[str, Any]:
    """What the section about exposure factors shows."""
    if not factors["columns"]:
        return {"words": factors_text(factors), "charts": [], "rows": []}
    numbers = range(1, factors["columns"] + 1)
    series = [
        Series("of who watched what", numbers, factors["singular_values"], 0),
        Series("the largest by chance", numbers, [factors["null_edge"]] * factors["columns"], 7),
    ]
    note = "By chance: the items are dealt anew, and every user and item keeps as many watches."
    return {
        "words": factors_text(factors),
        "charts": [line_chart("Singular values", series, x_label="factor", note=note)],
        "rows": [
            ["fingerprint", factors["fingerprint"][:16]],
            ["of what activity and popularity leave unexplained, the factors hold", f"{factors['energy']:.1%}"],
        ],
    }


def _activity(activity: Mapping[str, Any], entities: str) -> Chart:
    edges = activity["from"]
    return column_chart(
        f"{entities.capitalize()} by training rows",
        [_span(low, high) for low, high in zip(edges, [*edges[1:], None], strict=True)],
        [Series(entities, edges, activity["count"], 0)],
        x_label="training rows",
        note=f"The most: {activity['most']:,} rows. Each column reaches twice as far as the one before it.",
    )


def _span(low: int, high: int | None) -> str:
    if high is None:
        return f"≥ {short(low)}" if low > 1 else short(low)
    return short(low) if high == low + 1 else f"{short(low)}–{short(high - 1)}"
