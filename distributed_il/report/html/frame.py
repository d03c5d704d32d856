"""What all pictures have: lines across with values, an axis, a title, a legend and a note, in the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from distributed_il.report.html.html import Markup
from distributed_il.report.html.scale import Scale, short

WIDTH, HEIGHT = 560, 260
COLOURS = 8
DASHES = ("", "7 4", "2 4", "9 3 2 3")
"""Lines differ in dashes as well as in colour, for eyes that do not tell the colours apart."""
LETTER = 7.8
"""Width of a letter of a name as a narrow screen shows it, where the style makes letters larger."""


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


def value_rows(y: Scale) -> str:
    """Lines across the picture, with their values.

    Args:
        y: From values to heights.
    """
    return "".join(
        f'<line class="grid" x1="52" x2="{WIDTH - 10}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="45" y="{y(tick) + 4:.1f}" text-anchor="end">{short(tick)}</text>'
        for tick in y.ticks(6)
    )


def axis(x: Scale, names: Sequence[str], label: str, whole: bool) -> str:
    """The line at the bottom with its marks and what it counts.

    Args:
        x: From values to places.
        names: Names of the places 0, 1, … in the place of numbers.
        label: What the axis counts.
        whole: Whether it counts whole things.
    """
    base = HEIGHT - 42
    kind = "name" if names else "number"
    marks = list(enumerate(names)) if names else [(tick, short(tick)) for tick in x.ticks(8, whole=whole)]
    return (
        f'<line class="axis" x1="52" x2="{WIDTH - 10}" y1="{base}" y2="{base}"/>'
        + "".join(
            f'<text class="{kind}" x="{x(place):.1f}" y="{base + 17}" text-anchor="middle">{escape(name)}</text>'
            for place, name in marks
        )
        + f'<text x="{(WIDTH + 42) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(label)}</text>'
    )


def figure(
    title: str,
    told: str,
    content: str,
    *,
    legend: Sequence[Series] = (),
    height: int = HEIGHT,
    note: str = "",
    swatches: bool = False,
) -> Markup:
    """A picture with its title above and its legend and note below.

    Args:
        title: What is shown.
        told: The same in words, for those who can't see it.
        content: SVG.
        legend: Names and styles; one alone needs none.
        height: Of the picture.
        note: A line under it.
        swatches: Whether the legend shows patches of colour in the place of lines.
    """
    entries = "".join(f"<li>{_key(one.style, swatches)}{escape(one.name)}</li>" for one in legend)
    shown = f'<ul class="legend">{entries}</ul>' if len(legend) > 1 else ""
    words = f"<figcaption>{escape(note)}</figcaption>" if note else ""
    return Markup(
        f'<figure><h4>{escape(title)}</h4><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(f"{title}. {told}")}">{content}</svg>'
        f"{shown}{words}</figure>\n"
    )


def _key(style: int, swatch: bool) -> str:
    if swatch:
        patch = f'<rect y="1" width="11" height="11" rx="2" fill="{colour(style)}"/>'
        return f'<svg class="patch" viewBox="0 0 12 12" aria-hidden="true">{patch}</svg>'
    return f'<svg viewBox="0 0 26 12" aria-hidden="true"><path class="curve" d="M1 6L25 6" {stroke(style)}/></svg>'


def colour(style: int) -> str:
    """The page's colour of a style."""
    return f"var(--c{style % COLOURS})"


def stroke(style: int) -> str:
    """Colour and dashes of a style's line."""
    dashes = DASHES[style % len(DASHES)] if style else ""
    return f'stroke="{colour(style)}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
