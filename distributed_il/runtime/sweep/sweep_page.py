"""The page of a sweep: its best trial, all trials, and how the loss follows each setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from distributed_il import __version__
from distributed_il.evaluation.metric_columns import METRICS, metric_rows
from distributed_il.report.html.charts import line_chart, scatter_chart
from distributed_il.report.html.frame import Series
from distributed_il.report.html.html import Markup, figures, joined, page, paragraph, table
from distributed_il.runtime.sweep.outcome import TABLE_ENDS, Trial, shown, trial_table
from distributed_il.runtime.sweep.space import Domain

BEST, OTHERS = 0, 7


def sweep_page(space: Sequence[Domain], trials: Sequence[Trial], best: Trial, result: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        space: What was drawn from.
        trials: All of them.
        best: The one of lowest validation loss.
        result: What its metrics.json holds.
    """
    keys = [domain.key for domain in space]
    rows = metric_rows({f"trial {best.name}": result["test"], **result["trivial"]})
    text = (
        f"Trial {best.name} has the lowest validation log loss, {best.best_loss:.4f} in round {best.best_round}. It "
        "alone was measured on the test split, after the choice."
    )
    chosen = table(["setting", "value"], [[key, shown(value)] for key, value in best.settings.items()], texts=2)
    results = table(["test", *METRICS.values()], rows, marked=range(1, len(rows)))
    spans = table(["setting", "drawn from"], [[domain.key, _words(domain)] for domain in space], texts=2)
    table_rows = trial_table(trials, keys)
    sections = {
        "Best trial": joined(paragraph(text), chosen, results),
        "Validation loss by round": figures(_curves(trials, best)),
        "Settings": figures(*(_by_setting(domain, trials, best) for domain in space)),
        "All trials": table(["trial", *keys, *TABLE_ENDS], table_rows, marked=[0]),
        "Search space": spans,
    }
    lead = f"{len(trials)} trials on {best.config.data.path}"
    return page("Sweep", lead, sections, f"distributed_il {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


def _curves(trials: Sequence[Trial], best: Trial) -> Markup:
    lines = [
        Series(
            f"trial {trial.name}, the best" if trial is best else "other trials",
            range(1, len(trial.losses) + 1),
            trial.losses,
            BEST if trial is best else OTHERS,
        )
        for trial in [*(trial for trial in trials if trial is not best), best]
    ]
    legend = [lines[-1], *lines[:1]] if len(lines) > 1 else lines
    note = "A line that ends early was stopped by the sweep, or by its own patience."
    return line_chart("Validation log loss", lines, x_label="round", legend=legend, note=note)


def _by_setting(domain: Domain, trials: Sequence[Trial], best: Trial) -> Markup:
    """Lowest loss of each trial over the values of one setting."""
    known = [trial for trial in trials if domain.key in trial.settings and math.isfinite(trial.best_loss)]
    if not known:
        return Markup("")
    names = [shown(value) for value in domain.values] if domain.kind == "choice" else []

    def place(trial: Trial) -> float:
        value = trial.settings[domain.key]
        if domain.kind == "choice":
            return domain.values.index(value)
        return math.log10(value) if domain.kind == "loguniform" else value

    groups = [
        Series(name, [place(trial) for trial in some], [trial.best_loss for trial in some], style)
        for name, some, style in (
            ("other trials", [trial for trial in known if trial is not best], OTHERS),
            (f"trial {best.name}, the best", [trial for trial in known if trial is best], BEST),
        )
        if some
    ]
    label = f"log₁₀ of {domain.key}" if domain.kind == "loguniform" else domain.key
    whole = domain.kind == "randint"
    return scatter_chart(f"Lowest loss by {domain.key}", groups, x_label=label, x_names=names, whole=whole)


def _words(domain: Domain) -> str:
    values = [shown(value) for value in domain.values]
    return f"one of {', '.join(values)}" if domain.kind == "choice" else f"{domain.kind}, {values[0]} to {values[1]}"
