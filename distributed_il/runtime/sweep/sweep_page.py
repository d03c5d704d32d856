"""The page of a sweep: its best trial, all trials, and how what they are chosen by follows each setting."""

from __future__ import annotations

from collections.abc import Sequence

from distributed_il.core.charts import Series, line_chart, scatter_chart
from distributed_il.core.drawing import Chart
from distributed_il.evaluation.metric_columns import METRICS, metric_rows
from distributed_il.report.render import render, setting_text
from distributed_il.runtime.sweep.outcome import Outcome, Trial, table_ends, trial_table
from distributed_il.runtime.sweep.space import Domain, Space
from distributed_il.runtime.sweep.verdict import verdict

BEST, OTHERS = 0, 7
"""Styles of the best trial and of the others."""


def render_sweep(space: Space, outcome: Outcome) -> str:
    """Renders the page."""
    trials, best, tested = outcome.trials, outcome.best, outcome.tested
    return render(
        "sweep.html",
        best=best,
        verdict=verdict(outcome),
        best_settings=[[key, setting_text(value)] for key, value in best.settings.items()],
        headings=list(METRICS.values()),
        results=metric_rows(tested),
        best_dir=f"trials/{best.name}",
        models=sum(name.startswith("trial") for name in tested),
        compared=[trial.config.run.dir for trial in (outcome.reference, best) if trial is not None],
        metric=best.selection.name,
        curves=_curves(trials, best),
        setting_charts=[_by_setting(domain, trials, best) for domain in space.domains],
        trial_columns=["trial", *space.keys, *table_ends(best.selection)],
        trial_rows=trial_table(trials, space.keys),
        space=[[domain.key, _words(domain)] for domain in space.domains],
    )


def _curves(trials: Sequence[Trial], best: Trial) -> Chart | None:
    lines = [
        Series(
            f"trial {trial.name}, the best" if trial is best else "other trials",
            range(1, len(trial.history) + 1),
            trial.values,
            BEST if trial is best else OTHERS,
        )
        for trial in [*(trial for trial in trials if trial is not best), best]
    ]
    legend = [lines[-1], *lines[:1]] if len(lines) > 1 else lines
    note = "A line that ends early was stopped by the sweep, or by its own patience."
    return line_chart(f"Validation {best.selection.name}", lines, x_label="round", legend=legend, note=note)


def _by_setting(domain: Domain, trials: Sequence[Trial], best: Trial) -> Chart | None:
    """Draws the best value of each trial over the values of one setting."""
    known = [
        trial for trial in trials if domain.key in trial.settings and domain.holds(trial.settings) and trial.best_round
    ]
    if not known:
        return None
    selection = best.selection

    def place(trial: Trial) -> float:
        value = trial.settings[domain.key]
        return domain.values.index(value) if domain.kind == "choice" else value

    groups = [
        Series(name, [place(trial) for trial in some], [trial.best_value for trial in some], style)
        for name, some, style in (
            ("other trials", [trial for trial in known if trial is not best], OTHERS),
            (f"trial {best.name}, the best", [trial for trial in known if trial is best], BEST),
        )
        if some
    ]
    return scatter_chart(
        f"{selection.superlative.capitalize()} {selection.name} by {domain.key}{_conditions(domain)}",
        groups,
        x_label=f"{domain.key}, logarithmic" if domain.kind == "loguniform" else domain.key,
        x_names=[setting_text(value) for value in domain.values] if domain.kind == "choice" else [],
        whole=domain.kind == "randint",
        log=domain.kind == "loguniform",
    )


def _words(domain: Domain) -> str:
    values = [setting_text(value) for value in domain.values]
    drawn = f"one of {', '.join(values)}" if domain.kind == "choice" else f"{domain.kind}, {values[0]} to {values[1]}"
    return drawn + _conditions(domain)


def _conditions(domain: Domain) -> str:
    wanted = [f"{key} is {' or '.join(map(setting_text, values))}" for key, values in domain.when.items()]
    return f" where {' and '.join(wanted)}" if wanted else ""
