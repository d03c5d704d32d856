"""Pictures as SVG, written by hand so that they take the colours of the page, light or dark, and need no package."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from distributed_il.pages.html import Markup
from distributed_il.pages.scale import Scale, short, span

WIDTH, HEIGHT = 560, 260
COLOURS = 8
DASHES = ("", "7 4", "2 4", "9 3 2 3")
"""Lines differ in dashes as well as in colour, for eyes that do not tell the colours apart."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart.

    Attributes:
        name: For the legend.
        xs: Values along the axis, ascending.
        ys: Their heights; what is not finite is left out.
        style: Number of its colour and dashes, the same wherever this name appears.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: int

    def points(self) -> list[tuple[float, float]]:
        """The points that can be drawn."""
        return [(x, y) for x, y in zip(self.xs, self.ys, strict=True) if math.isfinite(y)]


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
    parts = [_rows(y), _axis(x, x_names, x_label, whole)]
    for one in drawn:
        places = [(x(a), y(b)) for a, b in one.points()]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts.append(f'<path class="curve" d="{path}" {_stroke(one.style)}/>')
        if len(places) <= 40:
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{_colour(one.style)}"/>' for a, b in places]
    named = [one for one in (drawn if legend is None else legend) if one.points()]
    told = "; ".join(f"{one.name} from {one.points()[0][1]:.4g} to {one.points()[-1][1]:.4g}" for one in named)
    return _figure(title, f"Lines over {x_label}: {told}.", "".join(parts), legend=named, note=note)


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
    parts = [_rows(y), _axis(x, (), x_label, whole=False)]
    for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True):
        parts.append(
            f'<rect x="{x(left):.1f}" y="{y(share):.1f}" width="{max(x(right) - x(left) - 1, 0.5):.1f}" '
            f'height="{y(0) - y(share):.1f}" fill="{_colour(0)}"/>'
        )
    highest = max(range(len(shares)), key=lambda number: shares[number])
    told = f"Bars over {x_label}; the highest, {top:.1%}, from {edges[highest]:g} to {edges[highest + 1]:g}."
    return _figure(title, told, "".join(parts), note=note)


def interval_chart(title: str, intervals: Sequence[Interval], *, note: str = "") -> Markup:
    """A dot for each value, and a line for its interval, one under the other.

    Args:
        title: What is shown.
        intervals: From top to bottom.
        note: A line under the picture.
    """
    left = 20 + 6.6 * max(len(one.name) for one in intervals)
    height = 34 + 26 * len(intervals)
    x = Scale(*span([value for one in intervals for value in (one.low, one.value, one.high)]), left, WIDTH - 16)
    parts = [
        f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="4" y2="{height - 26}"/>'
        f'<text x="{x(tick):.1f}" y="{height - 8}" text-anchor="middle">{short(tick)}</text>'
        for tick in x.ticks(6)
    ]
    for number, one in enumerate(intervals):
        y, colour = 18 + 26 * number, _colour(one.style)
        parts.append(
            f'<text class="strong" x="{left - 14:.0f}" y="{y + 4}" text-anchor="end">{escape(one.name)}</text>'
        )
        if math.isfinite(one.low):
            parts.append(
                f'<line x1="{x(one.low):.1f}" x2="{x(one.high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
                'stroke-width="2.5" stroke-linecap="round"/>'
            )
        parts.append(f'<circle cx="{x(one.value):.1f}" cy="{y}" r="4.5" fill="{colour}"/>')
    told = "; ".join(f"{one.name} {one.value:.4f}, from {one.low:.4f} to {one.high:.4f}" for one in intervals)
    return _figure(title, f"{told}.", "".join(parts), height=height, note=note)


def share_bar(title: str, shares: Mapping[str, float], *, note: str = "") -> Markup:
    """One bar, cut into shares of a whole.

    Args:
        title: What is shown.
        shares: By name, with a sum of 1.
        note: A line under the picture.
    """
    x, place, parts = Scale(0, 1, 0, WIDTH), 0.0, list[str]()
    for number, share in enumerate(shares.values()):
        width = x(share)
        parts.append(
            f'<rect x="{x(place):.1f}" y="2" width="{max(width - 1, 0):.1f}" height="34" rx="2" '
            f'fill="{_colour(number)}"/>'
        )
        if width > 44:
            parts.append(
                f'<text class="inside" x="{x(place) + width / 2:.1f}" y="24" text-anchor="middle">{share:.1%}</text>'
            )
        place += share
    entries = [Series(f"{name} {share:.1%}", (), (), number) for number, (name, share) in enumerate(shares.items())]
    told = ", ".join(entry.name for entry in entries)
    return _figure(title, f"{told}.", "".join(parts), legend=entries, height=40, note=note, swatches=True)


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
    parts = [_rows(y), _axis(x, x_names, x_label, whole)]
    if line is not None:
        path = "M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in line.points())
        parts.append(f'<path class="curve" d="{path}" stroke="var(--line)"/>')
    size = 2.6 if len(points) > 100 else 4
    for one in groups:
        dots = "".join(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="{size}"/>' for a, b in one.points())
        parts.append(f'<g fill="{_colour(one.style)}" fill-opacity=".75">{dots}</g>')
    told = ", ".join(f"{one.name}: {len(one.xs)} points" for one in groups)
    return _figure(title, f"{told}.", "".join(parts), legend=groups, note=note, swatches=True)


def _rows(y: Scale) -> str:
    """Lines across, with their values."""
    return "".join(
        f'<line class="grid" x1="52" x2="{WIDTH - 10}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="45" y="{y(tick) + 4:.1f}" text-anchor="end">{short(tick)}</text>'
        for tick in y.ticks(6)
    )


def _axis(x: Scale, names: Sequence[str], label: str, whole: bool) -> str:
    base = HEIGHT - 42
    marks = list(enumerate(names)) if names else [(tick, short(tick)) for tick in x.ticks(8, whole=whole)]
    return (
        f'<line class="axis" x1="52" x2="{WIDTH - 10}" y1="{base}" y2="{base}"/>'
        + "".join(
            f'<text x="{x(place):.1f}" y="{base + 17}" text-anchor="middle">{escape(name)}</text>'
            for place, name in marks
        )
        + f'<text x="{(WIDTH + 42) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(label)}</text>'
    )


def _figure(
    title: str,
    told: str,
    content: str,
    *,
    legend: Sequence[Series] = (),
    height: int = HEIGHT,
    note: str = "",
    swatches: bool = False,
) -> Markup:
    """A picture with its title above and its legend and note below; `told` is for those who can't see it."""
    entries = "".join(f"<li>{_key(one.style, swatches)}{escape(one.name)}</li>" for one in legend)
    shown = f'<ul class="legend">{entries}</ul>' if len(legend) > 1 else ""
    words = f"<figcaption>{escape(note)}</figcaption>" if note else ""
    return Markup(
        f'<figure><h4>{escape(title)}</h4><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(f"{title}. {told}")}">{content}</svg>'
        f"{shown}{words}</figure>\n"
    )


def _key(style: int, swatch: bool) -> str:
    inside = (
        f'<rect x="14" y="1" width="11" height="11" rx="2" fill="{_colour(style)}"/>'
        if swatch
        else f'<path class="curve" d="M1 6L25 6" {_stroke(style)}/>'
    )
    return f'<svg viewBox="0 0 26 12" aria-hidden="true">{inside}</svg>'


def _colour(style: int) -> str:
    return f"var(--c{style % COLOURS})"


def _stroke(style: int) -> str:
    dashes = DASHES[style % len(DASHES)] if style else ""
    return f'stroke="{_colour(style)}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
