"""What a chart is, and its two outputs: SVG in the colours of the page around it, light or dark, and pixels."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLOURS = ("#0072b2", "#d55e00", "#00805c", "#b0508c", "#9a6b00", "#3d7ea6", "#5e4fa2", "#6b7280")
"""Of styles 0, 1, …; told apart by every kind of eye."""
PAPER, INK, SOFT, LINE = "#ffffff", "#1c2128", "#5b6672", "#d9dfe5"
VARIABLES = {
    **{colour: f"--c{style}" for style, colour in enumerate(COLOURS)},
    **{PAPER: "--paper", INK: "--ink", SOFT: "--soft", LINE: "--line"},
}
"""CSS variable that takes the place of each colour in a page."""
DASHES = ("", "7 4", "2 4", "9 3 2 3")
"""Lines differ in dashes as well as in colour, for eyes that do not tell the colours apart."""
WIDTH, HEIGHT = 560, 260
MARGINS = (52, 10, 42, 10)
_STYLE: dict[Any, Any] = {
    "axes.facecolor": "none",
    "axes.xmargin": 0.03,
    "axes.ymargin": 0.06,
    "font.size": 12.5,
    "lines.dash_capstyle": "round",
    "lines.markeredgewidth": 0,
    "lines.scale_dashes": False,
    "svg.fonttype": "none",
}
_TO_PAGE = (
    (r"<!--.*?-->|\n", " "),
    (r""" id=["']\w[\w.]*_\d+["']""", ""),
    (r"""<g id=(["'])title:(.*?)\1>""", r"<g><title>\2</title>"),
    (r'<g id="(\w+)"', r'<g class="\1"'),
    (r'<text style="(font[^;"]*; ?)+', '<text style="'),
    (r"(fill|stroke): (#[0-9a-f]{6})", lambda found: f"{found[1]}: var({VARIABLES[found[2]]})"),
)
"""Makes SVG of matplotlib's part of a page: its text in the page's font, its colours the page's, no numbered ids."""


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a legend: a coloured symbol, or a piece of a line where there is none."""

    name: str
    style: int
    symbol: str = ""

    @property
    def colour(self) -> int:
        """Number of the colour."""
        return self.style % len(COLOURS)

    @property
    def dashes(self) -> str:
        """Lengths of strokes and gaps of the line; empty for a line without gaps."""
        return DASHES[self.style % len(DASHES)] if self.style else ""


@dataclass(frozen=True, eq=False, slots=True)
class Chart:
    """A chart, drawn when it is asked for.

    Attributes:
        title: What is shown.
        words: The same in words, for those who can't see it.
        draw: Draws on axes.
        legend: Entries; one alone is not shown.
        note: A line under the chart.
        height: In units of which the chart is `WIDTH` wide.
        margins: Left, right, bottom and top of the axes.
    """

    title: str
    words: str
    draw: Callable[[Axes], None]
    legend: Sequence[Key] = ()
    note: str = ""
    height: int = HEIGHT
    margins: tuple[float, float, float, float] = MARGINS

    def svg(self) -> str:
        """Returns the content of an `<svg>` of `WIDTH` × `height` that takes font and colours from the page."""
        left, right, bottom, top = self.margins
        inner = (WIDTH - left - right) / WIDTH, (self.height - bottom - top) / self.height
        # The salt makes ids of symbols that follow from the chart alone, and that differ between charts.
        with mpl.rc_context({**_STYLE, "svg.hashsalt": f"{self.title} {self.words}"}):
            figure = Figure(figsize=(WIDTH / 72, self.height / 72))
            self.draw(figure.add_axes((left / WIDTH, bottom / self.height, *inner)))
            for artist in figure.findobj():
                artist.set_clip_on(False)
            file = io.StringIO()
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        text = file.getvalue()
        text = text[text.index('<g id="figure_1">') : text.rindex("</svg>")]
        for pattern, replacement in _TO_PAGE:
            text = re.sub(pattern, replacement, text)
        return text


def pixels(*charts: Chart) -> NDArray[np.uint8]:
    """Draws charts side by side, from left to right, with titles, notes and legends: RGB uint8 [height, width, 3]."""
    with mpl.rc_context({**_STYLE, "font.size": 10}):
        figure = _panels(charts, columns=len(charts), width=9, height=4.4)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def figure_file(charts: Sequence[Chart], kind: Literal["pdf", "svg", "png"]) -> bytes:
    """Draws charts two beside each other, with titles, notes and legends, as a file that looks the same everywhere."""
    columns = min(len(charts), 2)
    rows = -(-len(charts) // columns)
    outlines: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": ""}
    dates = {"pdf": "CreationDate", "svg": "Date"}
    file = io.BytesIO()
    with mpl.rc_context({**_STYLE, **outlines, "font.size": 9}):
        figure = _panels(charts, columns=columns, width=4.5 * columns, height=3.6 * rows)
        figure.savefig(file, format=kind, dpi=110, metadata={dates[kind]: None} if kind in dates else {})
    return file.getvalue()


def _panels(charts: Sequence[Chart], *, columns: int, width: float, height: float) -> Figure:
    """Draws charts as a figure of that size in inches."""
    rows = -(-len(charts) // columns)
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[len(charts) :]:
        axes.remove()
    for axes, chart in zip(places, charts, strict=False):
        chart.draw(axes)
        axes.set_title(f"{chart.title}\n{chart.note}", fontsize="medium", color=INK)
        if len(chart.legend) > 1:
            # Under its own axes: charts beside each other may give one name other values.
            place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.616 * rows / height)}
            drawn = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
            axes.legend(
                [drawn[key.name] for key in chart.legend],
                [key.name for key in chart.legend],
                **place,
                ncols=4 // columns + 1,
                frameon=False,
                markerscale=1.5,
            )
    return figure
