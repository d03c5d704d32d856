"""Pictures as SVG, written by hand so that they take the colours of the page, light or dark, and need no package."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from distributed_il.report.html.frame import HEIGHT, LETTER, WIDTH, Series, axis, colour, figure, stroke, value_rows
from distributed_il.report.html.html import Markup
from distributed_il.report.html.scale import Scale, short, span


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the interval around it."""

    name: str
    value: float
    low: float
    high: float
    style: int


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    x_names: Sequence[str] = (),
    whole: bool = True,
    legend: Sequence[Series] | None = None,
    note: str = "",
) -> Markup:
    """Lines over a common axis, with a mark at each point where there are few.

    Args:
        title: What is shown.
        series: The lines.
        x_label: What the axis counts.
        x_names: Names of the places 0, 1, … in the place of numbers.
        whole: Whether the axis counts whole things.
        legend: What the legend names; None for every line.
        note: A line under the picture.
    """
    drawn = [one for one in series if one.points()]
    if not drawn:
        return Markup("")
    points = [point for one in drawn for point in one.points()]
    x = Scale(*span([x for x, _ in points], margin=0.03 if not x_names else 0.1), 52, WIDTH - 10)
    y = Scale(*span([y for _, y in points]), HEIGHT - 42, 10)
    parts = [value_rows(y), axis(x, _cut(x_names, x), x_label, whole)]
    for one in drawn:
        places = [(x(a), y(b)) for a, b in one.points()]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts.append(f'<path class="curve" d="{path}" {stroke(one.style)}/>')
        if len(places) <= 40:
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour(one.style)}"/>' for a, b in places]
    named = [one for one in (drawn if legend is None else legend) if one.points()]
    told = "; ".join(f"{one.name} from {one.points()[0][1]:.4g} to {one.points()[-1][1]:.4g}" for one in named)
    return figure(title, f"Lines over {x_label}: {told}.", "".join(parts), legend=named, note=note)


def bar_chart(title: str, edges: Sequence[float], shares: Sequence[float], *, x_label: str, note: str = "") -> Markup:
    """Bars between edges.

    Args:
        title: What is shown.
        edges: Ascending, one more than bars.
        shares: Heights, from 0 up.
        x_label: What the axis measures.
        note: A line under the picture.
    """
    top = max(shares, default=0.0)
    x, y = Scale(edges[0], edges[-1], 52, WIDTH - 10), Scale(0, top * 1.05 or 1.0, HEIGHT - 42, 10)
    parts = [value_rows(y), axis(x, (), x_label, whole=False)]
    for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True):
        parts.append(
            f'<rect x="{x(left):.1f}" y="{y(share):.1f}" width="{max(x(right) - x(left) - 1, 0.5):.1f}" '
            f'height="{y(0) - y(share):.1f}" fill="{colour(0)}"/>'
        )
    highest = max(range(len(shares)), key=lambda number: shares[number])
    told = f"Bars over {x_label}; the highest, {top:.1%}, from {edges[highest]:g} to {edges[highest + 1]:g}."
    return figure(title, told, "".join(parts), note=note)


def column_chart(title: str, edges: Sequence[str], series: Sequence[Series], *, x_label: str, note: str = "") -> Markup:
    """Columns side by side, each a stack of counts.

    Args:
        title: What is shown.
        edges: Name of the edge at the left of each column; the last column is open.
        series: From the bottom up, a height for each column.
        x_label: What the axis measures.
        note: A line under the picture.
    """
    totals = [sum(heights) for heights in zip(*(one.ys for one in series), strict=True)]
    x, y = Scale(0, len(edges), 52, WIDTH - 10), Scale(0, max([*totals, 1]) * 1.05, HEIGHT - 42, 10)
    every = math.ceil(LETTER * (max(map(len, edges)) + 0.3) / (x(1) - x(0)))
    named = [edge if place % every == 0 else "" for place, edge in enumerate(edges)]
    parts = [value_rows(y), axis(x, named, x_label, whole=False)]
    for place, edge in enumerate(edges):
        floor = 0.0
        for one in series:
            top = floor + one.ys[place]
            parts.append(
                f'<rect x="{x(place) + 1:.1f}" y="{y(top):.1f}" width="{x(place + 1) - x(place) - 2:.1f}" '
                f'height="{y(floor) - y(top):.1f}" fill="{colour(one.style)}">'
                f"<title>{escape(f'from {edge}, {one.name}: {one.ys[place]:,.0f}')}</title></rect>"
            )
            floor = top
    told = "; ".join(f"from {edge}: {total:,.0f}" for edge, total in zip(edges, totals, strict=True))
    return figure(title, f"Columns over {x_label}; {told}.", "".join(parts), legend=series, note=note, swatches=True)


def interval_chart(title: str, intervals: Sequence[Interval], *, note: str = "") -> Markup:
    """A dot for each value, and a line for its interval, one under the other.

    Args:
        title: What is shown.
        intervals: From top to bottom.
        note: A line under the picture.
    """
    left = 20 + LETTER * max(len(one.name) for one in intervals)
    height = 34 + 26 * len(intervals)
    x = Scale(*span([value for one in intervals for value in (one.low, one.value, one.high)]), left, WIDTH - 16)
    parts = [
        f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="4" y2="{height - 26}"/>'
        f'<text x="{x(tick):.1f}" y="{height - 8}" text-anchor="middle">{short(tick)}</text>'
        for tick in x.ticks(6)
    ]
    for number, one in enumerate(intervals):
        y, dot = 18 + 26 * number, colour(one.style)
        parts.append(
            f'<text class="strong" x="{left - 14:.0f}" y="{y + 4}" text-anchor="end">{escape(one.name)}</text>'
        )
        if math.isfinite(one.low):
            parts.append(
                f'<line x1="{x(one.low):.1f}" x2="{x(one.high):.1f}" y1="{y}" y2="{y}" stroke="{dot}" '
                'stroke-width="2.5" stroke-linecap="round"/>'
            )
        parts.append(f'<circle cx="{x(one.value):.1f}" cy="{y}" r="4.5" fill="{dot}"/>')
    told = "; ".join(f"{one.name} {one.value:.4f}, from {one.low:.4f} to {one.high:.4f}" for one in intervals)
    return figure(title, f"{told}.", "".join(parts), height=height, note=note)


def share_bar(title: str, shares: Mapping[str, float], *, styles: Sequence[int] = (), note: str = "") -> Markup:
    """One bar, cut into shares of a whole.

    Args:
        title: What is shown.
        shares: By name, with a sum of 1.
        styles: Of each share; empty for 0, 1, ….
        note: A line under the picture.
    """
    x, place, parts = Scale(0, 1, 0, WIDTH), 0.0, list[str]()
    styles = styles or range(len(shares))
    for number, share in zip(styles, shares.values(), strict=True):
        width = x(share)
        parts.append(
            f'<rect x="{x(place):.1f}" y="2" width="{max(width - 1, 0):.1f}" height="34" rx="2" '
            f'fill="{colour(number)}"/>'
        )
        if width > 44:
            parts.append(
                f'<text class="inside" x="{x(place) + width / 2:.1f}" y="24" text-anchor="middle">{share:.1%}</text>'
            )
        place += share
    entries = [
        Series(f"{name} {share:.1%}", (), (), number)
        for number, (name, share) in zip(styles, shares.items(), strict=True)
    ]
    told = ", ".join(entry.name for entry in entries)
    return figure(title, f"{told}.", "".join(parts), legend=entries, height=40, note=note, swatches=True)


def scatter_chart(
    title: str,
    groups: Sequence[Series],
    *,
    x_label: str,
    x_names: Sequence[str] = (),
    whole: bool = True,
    line: Series | None = None,
    note: str = "",
) -> Markup:
    """Points of several kinds, over a line where one is given.

    Args:
        title: What is shown.
        groups: The kinds of points.
        x_label: What the axis counts.
        x_names: Names of the places 0, 1, … in the place of numbers.
        whole: Whether the axis counts whole things.
        line: Such as means of the points.
        note: A line under the picture.
    """
    points = [point for one in (*groups, *([line] if line else [])) for point in one.points()]
    x = Scale(*span([x for x, _ in points] if not x_names else [0, len(x_names) - 1], margin=0.05), 52, WIDTH - 10)
    y = Scale(*span([y for _, y in points]), HEIGHT - 42, 10)
    parts = [value_rows(y), axis(x, _cut(x_names, x), x_label, whole)]
    if line is not None:
        path = "M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in line.points())
        parts.append(f'<path class="curve" d="{path}" stroke="var(--line)"/>')
    size = 2.6 if len(points) > 100 else 4
    for one in groups:
        dots = "".join(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="{size}"/>' for a, b in one.points())
        parts.append(f'<g fill="{colour(one.style)}" fill-opacity=".75">{dots}</g>')
    told = ", ".join(f"{one.name}: {len(one.xs)} points" for one in groups)
    return figure(title, f"{told}.", "".join(parts), legend=groups, note=note, swatches=True)


def _cut(names: Sequence[str], x: Scale) -> list[str]:
    """Names side by side, each cut to what there is room for."""
    room = int((x(1) - x(0)) / LETTER)
    return [name if len(name) <= room else f"{name[: room - 1]}…" for name in names]
