"""The kinds of charts that pages and TensorBoard show, on matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from distributed_il.core.drawing import COLOURS, HEIGHT, INK, LINE, MARGINS, PAPER, SOFT, WIDTH, Chart, Key

SYMBOLS = {"o": "●", "v": "▼", "^": "▲", "s": "■"}
LETTER = 7.8
"""Width of a letter of a name as a narrow screen shows it, where the page makes letters larger."""
_MOST_MARKED, _MANY = 40, 100


@dataclass(frozen=True, slots=True)
class Series:
    """One line or kind of points of a chart.

    Attributes:
        name: For the legend.
        xs: Values along the axis, ascending.
        ys: Their heights; what is not finite is left out.
        style: Number of its colour and dashes, the same wherever this name appears.
        marker: Of its points, one of `SYMBOLS`.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: int
    marker: str = "o"

    def points(self) -> list[tuple[float, float]]:
        """Returns the points that can be drawn."""
        return [(x, y) for x, y in zip(self.xs, self.ys, strict=True) if math.isfinite(y)]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the interval around it; no interval where `low` is not finite."""

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
    legend: Sequence[Series] | None = None,
    note: str = "",
) -> Chart | None:
    """Draws lines over an axis of whole numbers, with a mark at each point where there are few; None for no lines.

    `x_names` name the places 0, 1, … in the place of numbers; the legend names every line, or those of `legend` alone.
    """
    drawn = [one for one in series if one.points()]
    if not drawn:
        return None

    def draw(axes: Axes) -> None:
        for one in drawn:
            points = one.points()
            marker = one.marker if len(points) <= _MOST_MARKED else ""
            key = Key(one.name, one.style)
            lengths = tuple(map(float, key.dashes.split()))
            dashes = (0, lengths) if lengths else "-"
            axes.plot(
                *zip(*points, strict=True),
                label=one.name,
                color=COLOURS[key.colour],
                linestyle=dashes,
                linewidth=2,
                ms=6,
                marker=marker,
            )
        _finish(axes, x_label, x_names)

    named = [one for one in (drawn if legend is None else legend) if one.points()]
    told = "; ".join(f"{one.name} from {one.points()[0][1]:.4g} to {one.points()[-1][1]:.4g}" for one in named)
    keys = [Key(one.name, one.style) for one in named]
    lower = 18 * max((name.count("\n") for name in x_names), default=0)  # names of several lines
    left, right, bottom, top = MARGINS
    margins, height = (left, right, bottom + lower, top), HEIGHT + lower
    return Chart(title, f"Lines over {x_label}: {told}.", draw, keys, note, height, margins)


def scatter_chart(
    title: str,
    groups: Sequence[Series],
    *,
    x_label: str,
    x_names: Sequence[str] = (),
    whole: bool = True,
    log: bool = False,
    line: Series | None = None,
    note: str = "",
) -> Chart:
    """Draws points of several kinds, the rarer kinds over the others, and a line where one is given, such as means.

    `x_names` name the places 0, 1, … in the place of numbers; `whole` says whether the axis counts whole things, `log`
    whether it is logarithmic.
    """
    count = sum(len(one.xs) for one in groups)

    def draw(axes: Axes) -> None:
        # Of many points the line is seen over the commonest kind alone; of few it lies under all.
        if line is not None:
            axes.plot(line.xs, line.ys, color=SOFT, linewidth=1.5, zorder=2.5 if count > _MANY else 1.5)
        for number, one in enumerate(sorted(groups, key=lambda one: -len(one.xs))):
            axes.plot(
                one.xs,
                one.ys,
                color=COLOURS[one.style % len(COLOURS)],
                label=one.name,
                linestyle="none",
                marker=one.marker,
                ms=5 if count > _MANY else 8,
                zorder=2 + number,
            )
        _finish(axes, x_label, x_names, whole=whole)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if _decades(groups) < 3 else (1,)))
            axes.xaxis.set_major_formatter(short)
            axes.xaxis.set_minor_locator(NullLocator())

    told = ", ".join(f"{one.name}: {len(one.xs)} points" for one in groups)
    return Chart(title, f"{told}.", draw, [Key(one.name, one.style, SYMBOLS[one.marker]) for one in groups], note)


def histogram_chart(
    title: str, edges: Sequence[float], series: Sequence[Series], *, x_label: str, unit: str, note: str = ""
) -> Chart:
    """Draws stacks of counts between ascending edges, one more than bins, each as wide as its bin.

    A stack's area is its count, so that bins of another width are no higher for it: heights are counts per `unit`. A
    pointer over a part reads out its count. `series`, from the bottom up, hold a count for each bin.
    """
    widths = np.diff(edges)
    totals = np.sum([one.ys for one in series], axis=0)

    def draw(axes: Axes) -> None:
        floor = np.zeros(len(widths))
        for one in series:
            heights = np.asarray(one.ys) / widths
            bars = axes.bar(edges[:-1], heights, widths, floor, align="edge", color=COLOURS[one.style])
            for bar, low, high, count in zip(bars, edges[:-1], edges[1:], one.ys, strict=True):
                bar.set_gid(f"title:from {low:g} to {high:g}, {one.name}: {count:,.0f}")
            floor += heights
        _finish(axes, x_label, whole=False)
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, max(*floor, 1e-9) * 1.05))

    spans = zip(edges[:-1], edges[1:], totals, strict=True)
    told = "; ".join(f"from {low:g} to {high:g}: {total:,.0f}" for low, high, total in spans)
    keys = [Key(one.name, one.style, SYMBOLS["s"]) for one in series]
    return Chart(title, f"Heights are counts per {unit} over {x_label}; counts {told}.", draw, keys, note)


def bar_chart(
    title: str, edges: Sequence[float], shares: Sequence[float], *, x_label: str, mark: float, note: str = ""
) -> Chart:
    """Draws bars of heights from 0 up between ascending edges, one more than bars; a dotted line points out `mark`."""
    highest = max(range(len(shares)), key=lambda number: shares[number])

    def draw(axes: Axes) -> None:
        axes.bar(edges[:-1], shares, width=0.94 * np.diff(edges), align="edge", color=COLOURS[0])
        axes.axvline(mark, color=SOFT, linewidth=1, linestyle=":")
        _finish(axes, x_label, whole=False)
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, shares[highest] * 1.05 or 1))

    span = f"from {edges[highest]:g} to {edges[highest + 1]:g}"
    return Chart(title, f"Bars over {x_label}; the highest, {shares[highest]:.1%}, {span}.", draw, note=note)


def column_chart(title: str, edges: Sequence[str], series: Sequence[Series], *, x_label: str, note: str = "") -> Chart:
    """Draws columns side by side, each a stack of counts that a pointer over it reads out.

    `edges` name the left edge of each column, the last of which is open; `series`, from the bottom up, hold a height
    for each column.
    """
    totals = np.sum([one.ys for one in series], axis=0)
    every = math.ceil(LETTER * (max(map(len, edges)) + 0.3) * len(edges) / (WIDTH - 62))

    def draw(axes: Axes) -> None:
        floor = np.zeros(len(edges))
        for one in series:
            bars = axes.bar(range(len(edges)), one.ys, 0.95, floor, align="edge", color=COLOURS[one.style])
            for bar, edge, height in zip(bars, edges, one.ys, strict=True):
                bar.set_gid(f"title:from {edge}, {one.name}: {height:,.0f}")
            floor += one.ys
        _finish(axes, x_label)
        axes.set_xticks(range(0, len(edges), every), edges[::every])
        axes.set(xlim=(0, len(edges)), ylim=(0, max(*totals, 1) * 1.05))

    told = "; ".join(f"from {edge}: {total:,.0f}" for edge, total in zip(edges, totals, strict=True))
    keys = [Key(one.name, one.style, SYMBOLS["s"]) for one in series]
    return Chart(title, f"Columns over {x_label}; {told}.", draw, keys, note)


def interval_chart(title: str, intervals: Sequence[Interval]) -> Chart | None:
    """Draws a dot for each value and a line for its interval, from top to bottom; None where there are no values."""
    if not intervals:
        return None

    def draw(axes: Axes) -> None:
        for place, one in enumerate(intervals):
            colour = COLOURS[one.style % len(COLOURS)]
            axes.plot((one.low, one.high), (place, place), color=colour, linewidth=2.5, solid_capstyle="round")
            axes.plot(one.value, place, color=colour, marker="o", ms=9)
        _finish(axes, "", whole=False)
        axes.margins(x=0.06)
        axes.grid(visible=False, axis="y")
        axes.grid(axis="x", color=LINE)
        axes.spines["bottom"].set_visible(False)
        axes.set_yticks(range(len(intervals)), [one.name for one in intervals], color=INK, gid="name")
        axes.set_ylim(len(intervals) - 0.5, -0.5)

    told = "; ".join(f"{one.name} {one.value:.4f}, from {one.low:.4f} to {one.high:.4f}" for one in intervals)
    left = 20 + LETTER * max(len(one.name) for one in intervals)
    return Chart(title, f"{told}.", draw, height=34 + 26 * len(intervals), margins=(left, 16, 26, 4))


def share_bar(title: str, shares: Mapping[str, float], *, styles: Sequence[int] = ()) -> Chart:
    """Draws one bar, cut into shares of a whole, whose sum is 1; the shares have the styles 0, 1, … by default."""
    keys = [
        Key(f"{name} {share:.1%}", style, SYMBOLS["s"])
        for style, (name, share) in zip(styles or range(len(shares)), shares.items(), strict=True)
    ]

    def draw(axes: Axes) -> None:
        place = 0.0
        for key, share in zip(keys, shares.values(), strict=True):
            axes.barh(0, max(share - 1 / WIDTH, 0), left=place, color=COLOURS[key.colour])
            if share * WIDTH > 44:
                middle = place + share / 2
                axes.text(middle, 0, f"{share:.1%}", color=PAPER, ha="center", va="center", gid="inside")
            place += share
        axes.set(xlim=(0, 1), ylim=(-0.4, 0.4))
        axes.set_axis_off()

    return Chart(title, f"{', '.join(key.name for key in keys)}.", draw, keys, height=40, margins=(0, 0, 3, 3))


def short(value: float, _: object = None) -> str:
    """Returns a number on an axis: 1,000 and 20k, 0.25, 1e-05."""
    if abs(value) < 1e-12:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:,g}" if abs(value) >= 1e-3 else f"{value:.3g}"


def _finish(axes: Axes, x_label: str, x_names: Sequence[str] = (), *, whole: bool = True) -> None:
    """Gives axes their grid and round numbers, or names each cut to what there is room for."""
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=LINE)
    axes.tick_params(bottom=False, left=False, labelcolor=SOFT, pad=6)
    axes.set_xlabel(x_label, color=SOFT, labelpad=6)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(short)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=whole, min_n_ticks=1))
    axes.xaxis.set_major_formatter(short)
    if x_names:
        room = int((WIDTH - 62) / (len(x_names) - 0.2) / LETTER)
        names = ["\n".join(_cut(line, room) for line in name.split("\n")) for name in x_names]
        axes.set_xticks(range(len(names)), names, gid="name")
        axes.set_xlim(-0.4, len(names) - 0.6)


def _decades(groups: Sequence[Series]) -> float:
    values = [x for one in groups for x in one.xs]
    return math.log10(max(values) / min(values))


def _cut(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 1]}…"
