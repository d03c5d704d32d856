"""The outcome of a sweep: the best trial, and what the page says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from distributed_il.core.config import DataConfig, RunConfig, SelectBy, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.runtime.sweep.draw import with_settings
from distributed_il.runtime.sweep.outcome import Outcome, Trial, best_of, table_ends, trial_table
from distributed_il.runtime.sweep.space import Domain, Space
from distributed_il.runtime.sweep.sweep_page import render_sweep
from distributed_il.runtime.sweep.verdict import verdict

PLAIN = {"method.name": "none"}


def trial(
    name: str,
    losses: Sequence[float],
    failed: str | None = None,
    settings: Mapping[str, Any] = PLAIN,
    select_by: SelectBy = "calibrated_logloss",
) -> Trial:
    """A trial; its AUC on validation is the round's number over 10."""
    config = TrainConfig(data=DataConfig(path="data"), run=RunConfig(dir=f"run/trials/{name}", select_by=select_by))
    history = [{"calibrated_logloss": loss, "auc": number / 10, "gauc": 0.5} for number, loss in enumerate(losses, 1)]
    return Trial(name, settings, config, history, failed)


def outcome(best: Trial, reference: Trial | None, *others: Trial) -> Outcome:
    """An outcome whose AUC on test is 0.8 for the reference and 0.81234 for any other best."""
    trials = [one for one in (reference, best, *others) if one is not None]
    results = {
        one.name: {"test": {"auc": 0.8 if one is reference else 0.81234, "logloss": 0.5}, "trivial": {"item_mean": {}}}
        for one in (best, reference)
        if one is not None
    }
    return Outcome(list(dict.fromkeys(trials)), best, reference, results)


def test_the_best_trial_is_that_of_lowest_validation_loss() -> None:
    trials = [trial("0", [0.7, 0.6, 0.65]), trial("1", [0.8, 0.5]), trial("2", [], "diverged"), trial("3", [0.5])]
    assert best_of(trials).name == "1"
    table = trial_table(trials, ["method.name", "b"])
    assert [row[0] for row in table] == ["1", "3", "0", "2"]
    assert table[0] == ["1", "none", "–", "0.5000", "0.2000", "0.5000", "2", "2", "stopped early"]
    assert table[-1] == ["2", "none", "–", "–", "–", "–", "–", "0", "failed"]
    assert trial("", [0.7, 0.8, 0.9, 1.0]).ended == "patience"
    assert trial("", [0.7] * 30).ended == "all rounds"
    with pytest.raises(UserError, match="no trial of the sweep has a model: diverged"):
        best_of(trials[2:3])


def test_words_say_what_won_and_by_how_much() -> None:
    plain, better = trial("000", [0.6, 0.55]), trial("001", [0.7, 0.5], settings={"method.name": "idl", "a": 0.25})
    won = outcome(better, plain)
    assert list(won.tested) == ["trial 001", "trial 000", "item_mean"]
    assert verdict(won) == (
        "Trial 001 (method.name idl, a 0.25) wins: its validation calibrated log loss is 0.5000, in round 2, 0.0500 "
        "below the 0.5500 of Trial 000 (method.name none). On the test split, which was read after the choice and of "
        "these two alone: AUC 0.8123 (+0.0123), log loss 0.5000 (+0.0000), the difference to the latter in brackets."
    )
    tuned = trial("002", [0.54], settings=PLAIN | {"a": 1.5})
    assert verdict(outcome(better, plain, tuned)).endswith(
        "Of the 2 trials with the latter's settings the best is Trial 002 (method.name none, a 1.5), 0.5400."
    )
    assert verdict(outcome(tuned, plain)).endswith("in brackets.")
    config = with_settings(plain.config, PLAIN | {"model.factors": 0})
    assert "Trial 000, plain log loss (method.name none)" in verdict(outcome(better, replace(plain, config=config)))
    worse = trial("001", [0.7, 0.56], settings={"method.name": "idl"})
    assert verdict(outcome(plain, plain, worse, trial("002", [], "diverged"))) == (
        "Nothing that was tried is better than Trial 000 (method.name none): its validation calibrated log loss is "
        "0.5500, in round 2. The nearest is Trial 001 (method.name idl), 0.5600."
    )
    assert verdict(outcome(better, None)).startswith(
        "Trial 001 (method.name idl, a 0.25) has the lowest validation calibrated log loss, 0.5000 in round 2"
    )


def test_the_highest_auc_wins() -> None:
    shorter, longer = trial("0", [0.1], select_by="auc"), trial("1", [0.8, 0.9], select_by="auc")
    assert best_of([shorter, longer]) is longer
    assert table_ends(longer.selection)[:2] == ["valid AUC", "GAUC"]
    rows = trial_table([shorter, longer], [])
    assert rows == [
        ["1", "0.2000", "0.5000", "2", "2", "stopped early"],
        ["0", "0.1000", "0.5000", "1", "1", rows[1][5]],
    ]
    words = "wins: its validation AUC is 0.2000, in round 2, 0.1000 above the 0.1000 of Trial 0"
    assert words in verdict(outcome(longer, shorter))


def test_a_page_shows_the_best_beside_the_first_and_conditions_of_the_space() -> None:
    space = Space(
        (
            Domain("method.name", "choice", ("none", "idl")),
            Domain("method.unlabelled_weight", "uniform", (0.1, 1.0), {"method.name": ("idl",)}),
        ),
        first=PLAIN,
    )
    plain = trial("000", [0.6, 0.55])
    better = trial("001", [0.7, 0.5], settings={"method.name": "idl", "method.unlabelled_weight": 0.25})
    page = render_sweep(space, outcome(better, plain, trial("002", [], "diverged")))
    assert "wins: its validation calibrated log loss is 0.5000" in page
    assert "distributed-il report run/trials/000 run/trials/001 --output=page.html" in page
    assert "Lowest calibrated log loss by method.unlabelled_weight where method.name is idl" in page
    assert "uniform, 0.1 to 1 where method.name is idl" in page


def test_ranges_that_are_logarithmic_have_their_own_values_at_the_ticks_and_the_best_run_is_linked() -> None:
    space = Space((Domain("optimizer.learning_rate", "loguniform", (1e-4, 1e-2)),))
    settings = [{"optimizer.learning_rate": rate} for rate in (2e-4, 1e-3, 9e-3)]
    trials = [trial(f"{n:03d}", [0.6, 0.5 + n / 10], settings=given) for n, given in enumerate(settings)]
    page = render_sweep(space, outcome(trials[0], None, *trials[1:]))
    assert "log₁₀" not in page
    ticks = re.findall(r"<text[^>]*>([^<]+)</text>", page)
    assert {"0.0005", "0.001", "0.002", "0.005"} <= set(ticks)
    assert 'href="trials/000/metrics.json"' in page


def test_baselines_have_the_names_of_the_report() -> None:
    results = {"000": {"test": {"auc": 0.8}, "trivial": {"user_item_bias": {"auc": 0.7}}}}
    best = trial("000", [0.6, 0.5])
    assert "user + item bias" in render_sweep(Space(()), Outcome([best], best, None, results))
