"""The account of a dataset as one HTML page with pictures, which opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from distributed_il.prepare.account import SET_ASIDE

_COLOURS = {"positive": "#2a9d8f", "negative": "#e76f51", "unclear": "#a8b0b8", "count": "#4c78a8"}
_WIDTH, _HEIGHT, _MARGIN = 640, 200, 34
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p, figcaption { color: #52606d; margin: .2rem 0; } figure { margin: 0; }
.numbers { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.2rem 0; }
.numbers div { background: #f3f5f7; border-radius: 8px; padding: .6rem 1rem; }
.numbers b { display: block; font-size: 1.25rem; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .25rem .6rem .25rem 0; text-align: left;
  border-bottom: 1px solid #e4e8ec; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: #52606d; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 1em; }
code { background: #f3f5f7; padding: .1em .3em; border-radius: 4px; overflow-wrap: anywhere; }
"""


def summary_page(facts: Mapping[str, Any]) -> str:
    """The page.

    Args:
        facts: From `account`.

    Returns:
        HTML.
    """
    title = escape(str(facts["name"]))
    parts = [
        f"<h1>{title}</h1><p>Prepared by the rule <b>{escape(facts['rule'].get('name', ''))}</b> · "
        f"<code>{facts['fingerprint'][:16]}</code></p>",
        _numbers(facts),
        "<h2>What the feedback is</h2>",
        _shares(facts["classes"]),
        "<h2>Where the rows went</h2>",
        _rows_table(facts),
        "<h2>Splits</h2>",
        _splits_table(facts["splits"]),
    ]
    if facts["watch_time"]:
        parts += ["<h2>Watch time, all good rows read</h2>", _watch_time(facts["watch_time"])]
    for entity in ("user", "item"):
        parts += [f"<h2>Training rows per {entity}</h2>", _activity(facts[f"train_rows_per_{entity}"], f"{entity}s")]
    if facts["features"]:
        parts += ["<h2>Side features</h2>", _features(facts)]
    parts += ["<h2>Rule and policies</h2>", _settings({**facts["rule"], **facts["policies"]})]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _numbers(facts: Mapping[str, Any]) -> str:
    shown = {
        "rows in": f"{facts['rows']['in']:,}",
        "rows out": f"{facts['rows']['out']:,}",
        "users": f"{facts['users']:,}",
        "items": f"{facts['items']:,}",
        "of all pairs labelled": f"{facts['density']:.3%}",
    }
    return f'<div class="numbers">{"".join(f"<div><b>{value}</b>{name}</div>" for name, value in shown.items())}</div>'


def _shares(classes: Mapping[str, int]) -> str:
    total = max(sum(classes.values()), 1)
    bars, key, x = "", "", 0.0
    for name, rows in classes.items():
        width = _WIDTH * rows / total
        bars += f'<rect x="{x:.1f}" y="0" width="{width:.1f}" height="26" fill="{_COLOURS[name]}"/>'
        key += f'<i style="background:{_COLOURS[name]}"></i>{name} {rows:,} ({rows / total:.1%})'
        x += width
    return f'<figure><svg viewBox="0 0 {_WIDTH} 26" role="img">{bars}</svg><p class="key">{key}</p></figure>'


def _rows_table(facts: Mapping[str, Any]) -> str:
    rows = facts["rows"]
    lines = [("read from the source", rows["in"])]
    if rows["from_parent"]:
        lines.append(("taken over from the parent dataset", rows["from_parent"]))
    lines += [(SET_ASIDE[name].format(**facts["policies"]), -count) for name, count in rows["set_aside"].items()]
    if facts["policies"].get("unseen") == "drop" and facts["counts"].get("unseen_rows"):
        lines.append(("of users or items that are not in train", -facts["counts"]["unseen_rows"]))
    lines.append(("in the dataset", rows["out"]))
    return _table(("rows", ""), [(f"{count:,}".replace("-", "− "), name) for name, count in lines])


def _splits_table(splits: Mapping[str, Mapping[str, int]]) -> str:
    lines = [
        (f"{split['rows']:,}", name, "" if name == "unclear" else f"{split['positives'] / split['rows']:.1%} positive")
        for name, split in splits.items()
    ]
    return _table(("rows", "split", ""), lines)


def _features(facts: Mapping[str, Any]) -> str:
    lines = [
        (f"{values:,}", f"{name} of {entity}")
        for entity, side in facts["features"].items()
        for name, values in side["values"].items()
    ]
    notes = "".join(
        f"<p>{side['with_features']:,} of {facts[entity]:,} {entity} have some; {side['unused']:,} of the file are not "
        "in the log.</p>"
        for entity, side in facts["features"].items()
    )
    return _table(("values", ""), lines) + notes


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        first, *rest = (escape(cell) for cell in cells)
        others = "".join(f"<{tag}>{cell}</{tag}>" for cell in rest)
        return f'<tr><{tag} class="n">{first}</{tag}>{others}</tr>'

    return f"<table>{row(header, 'th')}{''.join(row(line, 'td') for line in lines)}</table>"


def _settings(settings: Mapping[str, Any]) -> str:
    return _table(("setting", "value"), [(name, str(value)) for name, value in settings.items()])


def _watch_time(watch_time: Mapping[str, Any]) -> str:
    series = {name: watch_time[name] for name in ("negative", "unclear", "positive")}
    key = "".join(f'<i style="background:{_COLOURS[name]}"></i>{name}' for name in series)
    without = watch_time["watches_without_duration"]
    caption = f" · {without:,} watches without a duration" if without else ""
    labels = [f"{edge:g}" for edge in watch_time["from_s"]]
    return f'{_bars(labels, series, "seconds, from")}<p class="key">{key}{caption}</p>'


def _activity(activity: Mapping[str, Any], entities: str) -> str:
    labels = [f"{edge:,}" for edge in activity["from"]]
    caption = f"<figcaption>most: {activity['most']:,} rows</figcaption>"
    bars = _bars(labels, {"count": activity["count"]}, f"{entities} with so many rows, from")
    return f"<figure>{bars}{caption}</figure>"


def _bars(labels: Sequence[str], series: Mapping[str, Sequence[int]], axis: str) -> str:
    """Stacked bars of counts."""
    totals = [sum(values) for values in zip(*series.values(), strict=True)]
    top, step = max([*totals, 1]), (_WIDTH - _MARGIN) / len(labels)
    floor = _HEIGHT - _MARGIN
    shapes = f'<text x="0" y="12">{top:,}</text><line x1="0" y1="{floor}" x2="{_WIDTH}" y2="{floor}" stroke="#c5ccd3"/>'
    for place, label in enumerate(labels):
        x, y = _MARGIN + place * step, float(floor)
        for name, values in series.items():
            height = (floor - 18) * values[place] / top
            y -= height
            shapes += (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{step * 0.86:.1f}" height="{height:.1f}" '
                f'fill="{_COLOURS[name]}"><title>{name} {values[place]:,}</title></rect>'
            )
        shapes += f'<text x="{x:.1f}" y="{floor + 14}">{label}</text>'
    shapes += f'<text x="{_MARGIN}" y="{_HEIGHT - 4}">{escape(axis)}</text>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{shapes}</svg>'
