"""Rows a second up to many workers as a cost model says, where two ways of keeping tables cross, and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from benchmarks.steps.rank_steps import Case, Catalogue, Tables
from benchmarks.steps.step_model import Network, StepModel
from benchmarks.steps.step_traffic import touched_rows, traffic

INVERSE_SHARE = 0.1
"""Of the rows of a round of inverse gradient; the others take plain steps."""
TABLES: tuple[Tables, ...] = get_args(Tables)
Curve = dict[int, float]
"""Rows a second over all workers, by workers."""


def predicted_curve(
    model: StepModel,
    catalogue: Catalogue,
    backbone: str,
    batch: int,
    tables: Tables,
    tower: int,
    network: Network,
    workers: Sequence[int],
) -> Curve:
    """Rows a second of a round of inverse gradient, with a core for every worker.

    Args:
        model: Fitted, with both kinds of step at this batch.
        catalogue: What ids are drawn from.
        backbone: `gmf` or `neumf`.
        batch: Labelled rows of a worker and step.
        tables: Where rows are kept.
        tower: P, parameters of the tower.
        network: What lies between workers.
        workers: For which numbers.
    """
    curve: Curve = {}
    for world_size in workers:
        seconds = 0.0
        for case, share in (
            (Case(backbone, "plain", batch), 1 - INVERSE_SHARE),
            (Case(backbone, "inverse", batch), INVERSE_SHARE),
        ):
            rows = touched_rows(catalogue, case.batch, world_size, samples=1)
            step = traffic(case, tables, world_size, tower, *rows)
            seconds += share * model.step_s(case, step, world_size, network)
        curve[world_size] = world_size * batch / seconds
    return curve


def crossing(replicated: Curve, sharded: Curve) -> int | None:
    """The least number of workers, two or more, from which on sharded tables are the faster ones; None if none is.

    Args:
        replicated: Rows a second by workers.
        sharded: The same numbers of workers.
    """
    slower = [workers for workers in replicated if workers > 1 and sharded[workers] < replicated[workers]]
    beyond = [workers for workers in replicated if workers > max(slower, default=1)]
    return min(beyond, default=None)


def draw_curves(curves: Mapping[str, Mapping[Tables, Curve]], path: Path) -> None:
    """Draws panels of rows a second over workers, both axes logarithmic.

    Args:
        curves: By panel and by where tables are kept.
        path: A PNG file to write.

    Raises:
        ModuleNotFoundError: matplotlib is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 4
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.6 * rows), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for place, (title, ways) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        for tables, curve in ways.items():
            axes.loglog(list(curve), list(curve.values()), label=tables, base=2)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("workers", fontsize=8)
        axes.set_ylabel("rows/s", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    canvas.print_png(str(path))
