"""The pictures of a run: weight distributions (the paper's Figures 3 and 4) and the decision curve (Figure 5)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.training.monitor.histories import NAMES, WeightHistogram

Picture = NDArray[np.uint8]
# Okabe and Ito's colours, told apart by every kind of eye; the markers differ as well.
COLOURS = {"direct": "#0072B2", "skip": "#009E73", "inverse": "#D55E00"}
MARKERS = {"direct": "v", "skip": "o", "inverse": "^"}
MOST_MARKS = 300
FEW_POINTS = 200
MEANS = 50


def weight_distribution_figure(first: WeightHistogram, last: WeightHistogram) -> Picture | None:
    """Draws how w1, the weight that an unlabelled pair's label 1 gets, moved between first and last round.

    Each panel has its own height: the first round's narrow peak would flatten the last round's spread.

    Args:
        first: Weights of the first round.
        last: Weights of the last one.

    Returns:
        RGB uint8 [height, width, 3]; None, with a warning, where matplotlib is missing.
    """
    figure = _figure((8.0, 3.8))
    if figure is None:
        return None
    for axis, histogram, name in zip(figure.subplots(1, 2), (first, last), ("First round", "Last round"), strict=True):
        _draw_weights(axis, histogram, name)
    figure.suptitle("Weights of the inverse dual loss")
    return _pixels(figure)


def decision_curve_figure(
    steps: NDArray[np.int64], losses: NDArray[np.float64], choices: NDArray[np.int8], *, shares: Mapping[str, float]
) -> Picture | None:
    """Draws the training-test loss of each inverse step's winner, marked by what was decided.

    A line joins the points while they are few; past that it joins means of neighbours, and of each decision at most
    300 points, evenly spread, are marked.

    Args:
        steps: Optimiser steps, int64 [n].
        losses: Of the chosen candidate, float64 [n].
        choices: 0 direct, 1 skip, 2 inverse, int8 [n].
        shares: Share of each decision in the whole run, for the legend.

    Returns:
        RGB uint8 [height, width, 3]; None, with a warning, where matplotlib is missing.
    """
    figure = _figure((9.0, 4.4))
    if figure is None:
        return None
    axis = figure.subplots()
    if len(steps) <= FEW_POINTS:
        axis.plot(steps, losses, color="#999999", linewidth=0.9, zorder=1)
    else:
        # Over the common decisions, under the rare ones.
        axis.plot(*_means(steps, losses), color="#222222", linewidth=1.5, label="mean of neighbours", zorder=2.75)
    _mark_decisions(axis, steps, losses, choices, shares)
    axis.set(xlabel="optimiser step", ylabel="log loss of the chosen candidate")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.xaxis.get_major_locator().set_params(integer=True)
    if len(np.unique(steps)) == 1:
        axis.set_xlim(steps[0] - 2, steps[0] + 2)  # a single step would otherwise get a scale of fractions
    axis.grid(color="#eeeeee", zorder=0)
    figure.suptitle("Training-test loss and decisions")
    # Above the axes, where no point can lie under it.
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, markerscale=1.5)
    return _pixels(figure)


def _draw_weights(axis: Any, histogram: WeightHistogram, name: str) -> None:
    counts, total = histogram.counts, histogram.total
    axis.set(xlabel="w1, weight of label 1", xlim=(0, 1))
    if not total:
        axis.set_title(name, fontsize="medium")
        axis.set_yticks([])
        axis.text(0.5, 0.5, "no unlabelled pairs", ha="center", va="center", transform=axis.transAxes)
        return
    above = float(counts[histogram.edges[:-1] >= 0.5].sum()) / total
    axis.set_title(f"{name}: {total:,} pairs,\n{_percent(above)} of them at ½ or above", fontsize="medium")
    axis.bar(
        histogram.edges[:-1], counts / total, width=np.diff(histogram.edges), align="edge", color=COLOURS["direct"]
    )
    axis.axvline(0.5, color="#444444", linewidth=0.8, linestyle=":")
    axis.set_ylabel("share of unlabelled pairs")
    axis.yaxis.set_major_formatter(lambda share, _: f"{share:.3g}")


def _mark_decisions(
    axis: Any,
    steps: NDArray[np.int64],
    losses: NDArray[np.float64],
    choices: NDArray[np.int8],
    shares: Mapping[str, float],
) -> None:
    size = 28 if len(steps) <= FEW_POINTS else 14
    for code, name in enumerate(NAMES):
        places = np.flatnonzero(choices == code)
        # The rarer a decision, the nearer to the eye, so that the others don't hide it.
        nearness = 2 + 0.9 * (1 - len(places) / max(len(choices), 1))
        if places.size > MOST_MARKS:
            places = places[np.linspace(0, places.size - 1, MOST_MARKS).astype(np.int64)]
        axis.scatter(
            steps[places],
            losses[places],
            s=size,
            marker=MARKERS[name],
            color=COLOURS[name],
            label=f"{name} {_percent(shares[name])}",
            zorder=nearness,
            linewidths=0,
        )


def _means(steps: NDArray[np.int64], losses: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of steps and losses over up to 50 runs of neighbouring points."""
    starts = np.unique(np.linspace(0, len(steps), MEANS, endpoint=False).astype(np.int64))
    sizes = np.diff(np.append(starts, len(steps)))
    return np.add.reduceat(steps.astype(np.float64), starts) / sizes, np.add.reduceat(losses, starts) / sizes


def _percent(share: float) -> str:
    """Whole percent, but never 0 for what did happen nor 100 for what happened not always."""
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def _figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        warnings.warn("matplotlib is missing, so no figures are drawn: pip install distributed-il[plots]", stacklevel=3)
        return None
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Any) -> Picture:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:, :, :3].copy()
