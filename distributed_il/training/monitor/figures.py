"""The charts of a run: weight distributions (the paper's Figures 3 and 4) and the decision curve (5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.charts import Series, bar_chart, scatter_chart
from distributed_il.core.drawing import Chart
from distributed_il.training.monitor.histories import DecisionHistory, WeightHistogram

MARKERS = {"direct": "v", "skip": "o", "inverse": "^"}
STYLES = {"direct": 0, "skip": 2, "inverse": 1}
MOST_MARKS = 300
FEW_POINTS = 200
MEANS = 50


def weight_chart(title: str, histogram: WeightHistogram) -> Chart:
    """Draws how w1, the weight that an unlabelled pair's label 1 gets, is distributed in a round.

    Each chart has its own height: the first round's narrow peak would flatten the last round's spread.
    """
    shares = histogram.counts / max(histogram.total, 1)
    above = float(shares[histogram.edges[:-1] >= 0.5].sum())
    note = f"{histogram.total:,} pairs, {_percent(above)} of them at ½ or above" if histogram.total else "no pairs"
    edges = histogram.edges.tolist()
    return bar_chart(title, edges, shares.tolist(), x_label="w1, weight of label 1", mark=0.5, note=note)


def decision_chart(history: DecisionHistory) -> Chart:
    """Draws the training-test loss of each inverse step's winner, marked by what was decided.

    A line joins the points while they are few; past that it joins means of neighbours, and of each decision at most
    300 points, evenly spread, are marked.
    """
    steps, losses, choices = history.curve()
    groups: list[Series] = []
    for code, (name, share) in enumerate(history.shares().items()):
        places = np.flatnonzero(choices == code)
        if places.size > MOST_MARKS:
            places = places[np.linspace(0, places.size - 1, MOST_MARKS).astype(np.int64)]
        title = f"{name} {_percent(share)}"
        groups.append(Series(title, steps[places].tolist(), losses[places].tolist(), STYLES[name], MARKERS[name]))
    note = ""
    if len(steps) > FEW_POINTS:
        steps, losses = _means(steps, losses)
        note = f"The line joins means of neighbours; of each decision at most {MOST_MARKS} are marked, evenly spread."
    line = Series("", steps.tolist(), losses.tolist(), 0)
    title = "Training-test loss of the chosen update"
    return scatter_chart(title, groups, x_label="optimiser step", line=line, note=note)


def alpha_charts(decisions: Mapping[str, DecisionHistory]) -> list[Chart]:
    """Draws Figure 6: what `decision_chart` does, for each α, named by its multiple of γ."""
    charts = {multiple: decision_chart(history) for multiple, history in decisions.items()}
    return [replace(one, title=f"Training-test loss, α = {multiple} γ", note="") for multiple, one in charts.items()]


def _means(steps: NDArray[np.int64], losses: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of steps and losses over up to 50 runs of neighbouring points."""
    starts = np.unique(np.linspace(0, len(steps), MEANS, endpoint=False).astype(np.int64))
    sizes = np.diff(np.append(starts, len(steps)))
    return np.add.reduceat(steps.astype(np.float64), starts) / sizes, np.add.reduceat(losses, starts) / sizes


def _percent(share: float) -> str:
    """Tenths of a percent, but never 0 for what did happen nor 100 for what happened not always."""
    if 0 < share < 0.001:
        return "<0.1%"
    return ">99.9%" if 0.999 < share < 1 else f"{share:.1%}"
