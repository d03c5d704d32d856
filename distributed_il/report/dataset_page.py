"""The summary of a dataset as one HTML page with charts, which opens without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distributed_il.core.charts import Series, column_chart, line_chart, share_bar, short
from distributed_il.core.drawing import Chart
from distributed_il.data.prepare.summary import SET_ASIDE, factors_text
from distributed_il.report.render import plain, render

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


def _watch_time(watch_time: Mapping[str, Any] | None) -> Chart | None:
    if not watch_time:
        return None
    edges = watch_time["from_s"]
    series = [Series(name, edges, watch_time[name], _STYLES[name]) for name in ("negative", "unclear", "positive")]
    without = watch_time["watches_without_duration"]
    note = "All good rows read" + (f"; {without:,} watches have no duration." if without else ".")
    return column_chart("Watches by watch time", [f"{edge:g}" for edge in edges], series, x_label="seconds", note=note)


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
        [short(edge) for edge in edges],
        [Series(entities, edges, activity["count"], 0)],
        x_label="training rows",
        note=f"The most: {activity['most']:,} rows.",
    )
