"""Draws the summary of a dataset as one HTML page with pictures, which opens without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distributed_il import __version__
from distributed_il.data.prepare.summary import SET_ASIDE
from distributed_il.report.html.charts import column_chart, share_bar
from distributed_il.report.html.frame import Series
from distributed_il.report.html.html import Markup, details, figures, joined, numbers, page, table, words
from distributed_il.report.html.scale import short

_STYLES = {"positive": 2, "negative": 1, "unclear": 7}


def summary_page(facts: Mapping[str, Any]) -> str:
    """The page.

    Args:
        facts: From `dataset_summary`.

    Returns:
        HTML.
    """
    rows = facts["rows"]
    sections = {
        "What the feedback is": joined(
            numbers(
                {
                    "rows in": f"{rows['in']:,}",
                    "rows out": f"{rows['out']:,}",
                    "users": f"{facts['users']:,}",
                    "items": f"{facts['items']:,}",
                    "of all pairs labelled": f"{facts['density']:.3%}",
                }
            ),
            figures(_shares(facts["classes"]), _watch_time(facts["watch_time"])),
        ),
        "Where the rows went": _rows_table(facts),
        "Splits": _splits_table(facts["splits"]),
        "Activity": figures(
            *(_activity(facts[f"train_rows_per_{entity}"], f"{entity}s") for entity in ("user", "item"))
        ),
        **({"Side features": _features(facts)} if facts["features"] else {}),
        "Rule and policies": _settings(facts),
    }
    lead = f"Prepared by the rule {facts['rule'].get('name', '')}, fingerprint {facts['fingerprint'][:16]}"
    return page(str(facts["name"]), lead, sections, f"distributed_il {__version__}")


def _shares(classes: Mapping[str, int]) -> Markup:
    total = max(sum(classes.values()), 1)
    shares = {f"{name} {rows:,}": rows / total for name, rows in classes.items()}
    return share_bar("Rows of the dataset", shares, styles=[_STYLES[name] for name in classes])


def _rows_table(facts: Mapping[str, Any]) -> Markup:
    rows = facts["rows"]
    lines = [("read from the source", rows["in"])]
    if rows["from_parent"]:
        lines.append(("taken over from the parent dataset", rows["from_parent"]))
    lines += [(SET_ASIDE[name].format(**facts["policies"]), -count) for name, count in rows["set_aside"].items()]
    if facts["policies"].get("unseen") == "drop" and facts["counts"].get("unseen_rows"):
        lines.append(("of users or items that are not in train", -facts["counts"]["unseen_rows"]))
    lines.append(("in the dataset", rows["out"]))
    cells = [(name, f"{count:,}".replace("-", "− ")) for name, count in lines]
    return table(("", "rows"), cells, marked=[len(cells) - 1])


def _splits_table(splits: Mapping[str, Mapping[str, int]]) -> Markup:
    cells = [
        (name, f"{split['rows']:,}", "–" if name == "unclear" else f"{split['positives'] / split['rows']:.1%}")
        for name, split in splits.items()
    ]
    return table(("split", "rows", "positive"), cells)


def _features(facts: Mapping[str, Any]) -> Markup:
    cells = [
        (f"{name} of {entity}", f"{values:,}")
        for entity, side in facts["features"].items()
        for name, values in side["values"].items()
    ]
    given = [
        (entity, f"{facts[entity]:,}", f"{side['with_features']:,}", f"{side['unused']:,}")
        for entity, side in facts["features"].items()
    ]
    return joined(
        table(("feature", "values"), cells),
        table(("whose", "in the log", "with features", "of the file, not in the log"), given),
    )


def _watch_time(watch_time: Mapping[str, Any] | None) -> Markup:
    if not watch_time:
        return Markup("")
    edges = watch_time["from_s"]
    series = [Series(name, edges, watch_time[name], _STYLES[name]) for name in ("negative", "unclear", "positive")]
    without = watch_time["watches_without_duration"]
    note = "All good rows read" + (f"; {without:,} watches have no duration." if without else ".")
    return column_chart("Watches by watch time", [f"{edge:g}" for edge in edges], series, x_label="seconds", note=note)


def _activity(activity: Mapping[str, Any], entities: str) -> Markup:
    edges = activity["from"]
    return column_chart(
        f"{entities.capitalize()} by training rows",
        [short(edge) for edge in edges],
        [Series(entities, edges, activity["count"], 0)],
        x_label="training rows",
        note=f"The most: {activity['most']:,} rows.",
    )


def _settings(facts: Mapping[str, Any]) -> Markup:
    settings = {**facts["rule"], **facts["policies"]}
    unread = settings.pop("columns_left_aside", {})
    shown = table(("setting", "value"), [(name, words(value)) for name, value in settings.items()], texts=2)
    if not unread:
        return shown
    files = table(("file", "columns"), [(name, words(columns)) for name, columns in unread.items()], texts=2)
    return joined(shown, details("Columns that were not read", files))
