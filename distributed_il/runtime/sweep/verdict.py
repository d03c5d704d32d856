"""What a sweep found, in words."""

from __future__ import annotations

from distributed_il.core.method_config import NoneConfig
from distributed_il.evaluation.metric_columns import METRICS, metric_text
from distributed_il.report.render import setting_text
from distributed_il.runtime.sweep.outcome import Outcome, Trial, best_of

BESIDE = ("auc", "gauc", "logloss")
"""Metrics of the test split that the words name."""


def verdict(outcome: Outcome) -> str:
    """Says which trial won and by how much over the one that the space puts first, where it does."""
    best, reference = outcome.best, outcome.reference
    metric = best.selection.name
    if reference is None:
        found = f"{best.selection.superlative} validation {metric}, {best.best_value:.4f}"
        return f"{_named(best)} has the {found} in round {best.best_round}."
    if reference is best:
        others = [trial for trial in outcome.trials if trial is not best and trial.best_round]
        second = f" The nearest is {_named(best_of(others))}, {best_of(others).best_value:.4f}." if others else ""
        return (
            f"Nothing that was tried is better than {_named(best)}: its validation {metric} is {best.best_value:.4f}, "
            f"in round {best.best_round}.{second}"
        )
    tested, beside = (outcome.results[trial.name]["test"] for trial in (best, reference))
    differences = [
        f"{METRICS[key]} {metric_text(tested[key])} ({metric_text(tested[key] - beside[key], '+')})"
        for key in BESIDE
        if tested.get(key) is not None and beside.get(key) is not None
    ]
    return (
        f"{_named(best)} wins: its validation {metric} is {best.best_value:.4f}, in round {best.best_round}, "
        f"{reference.cost - best.cost:.4f} {'below' if best.selection.lowest else 'above'} the "
        f"{reference.best_value:.4f} of {_named(reference)}. "
        f"On the test split, which was read after the choice and of these two alone: {', '.join(differences)}, the "
        f"difference to the latter in brackets.{_tuned(outcome)}"
    )


def _tuned(outcome: Outcome) -> str:
    """Says how far the settings of the reference come where the others are tuned too, unless that is what won."""
    reference = outcome.reference
    assert reference is not None
    alike = [one for one in outcome.trials if reference.settings.items() <= one.settings.items() and one.best_round]
    tuned = best_of(alike)
    if tuned in (reference, outcome.best):
        return ""
    return (
        f" Of the {len(alike)} trials with the latter's settings the best is {_named(tuned)}, {tuned.best_value:.4f}."
    )


def _named(trial: Trial) -> str:
    settings = ", ".join(f"{key} {setting_text(value)}" for key, value in trial.settings.items())
    plain = trial.config.model.factors == 0 and trial.config.method == NoneConfig()
    return f"Trial {trial.name}{', plain log loss' if plain else ''} ({settings})"
