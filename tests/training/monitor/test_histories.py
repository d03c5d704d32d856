"""The decisions of a run: exact counts, a curve that stays short, and the way through a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

from distributed_il.training.monitor import DecisionHistory, histories


def made(choices: list[int], history: DecisionHistory | None = None, start: int = 0) -> DecisionHistory:
    """Decision k falls at step 3k; its losses are k, k + 0.25 and k + 0.5."""
    history = DecisionHistory() if history is None else history
    for place, choice in enumerate(choices, start):
        history.append(3 * place, choice, (place, place + 0.25, place + 0.5))
    return history


def random_choices(count: int) -> list[int]:
    return np.random.default_rng(3).integers(0, 3, count).tolist()


def test_points_and_shares_by_hand() -> None:
    history = made([2, 0, 1, 2])
    assert history.total == 4
    assert history.counts.tolist() == [1, 1, 2]
    assert history.shares() == {"direct": 0.25, "skip": 0.25, "inverse": 0.5}
    steps, losses, choices = history.curve()
    assert steps.tolist() == [0, 3, 6, 9]
    assert losses.tolist() == [0.5, 1.0, 2.25, 3.5]  # of the chosen: 0 + ½, 1 + 0, 2 + ¼, 3 + ½
    assert choices.tolist() == [2, 0, 1, 2]
    assert (steps.dtype, losses.dtype, choices.dtype) == (np.int64, np.float64, np.int8)


def test_nothing_decided() -> None:
    history = DecisionHistory()
    assert history.total == 0
    assert history.shares() == {"direct": 0.0, "skip": 0.0, "inverse": 0.0}
    assert [len(values) for values in history.curve()] == [0, 0, 0]


def test_thinning_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MOST_POINTS", 4)
    # The fifth point is one too many: 0 2 4 stay and every second counts. So come 6 and 8, again five points, of which
    # 0 4 8 stay and every fourth counts: 12.
    history = made([0] * 14)
    steps, losses, _ = history.curve()
    assert steps.tolist() == [0, 12, 24, 36]
    assert losses.tolist() == [0.0, 4.0, 8.0, 12.0]
    assert history.counts.tolist() == [14, 0, 0]


def test_a_thinned_curve_keeps_exact_shares_and_even_spacing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MOST_POINTS", 64)
    choices = random_choices(5000)
    history = made(choices)
    steps, losses, kept = history.curve()
    assert history.counts.tolist() == np.bincount(choices).tolist()
    # 64 points of 5000 decisions: one in 128, the first of them decision 0.
    assert steps.tolist() == list(range(0, 3 * 5000, 3 * 128))
    np.testing.assert_array_equal(kept, np.array(choices)[steps // 3])
    np.testing.assert_array_equal(losses, steps / 3 + np.array([0.0, 0.25, 0.5])[kept])


@pytest.mark.parametrize("stopped_after", [0, 3, 64, 65, 130, 700])
def test_a_stopped_and_resumed_run_keeps_the_same_points(stopped_after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MOST_POINTS", 64)
    choices = random_choices(1000)
    whole = made(choices)
    first = made(choices[:stopped_after])
    resumed = made(choices[stopped_after:], DecisionHistory.from_state(first.state()), stopped_after)
    assert resumed.counts.tolist() == whole.counts.tolist()
    assert set(whole.state()) == set(resumed.state())
    for name, values in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[name], values, err_msg=name)


def test_the_state_stays_as_it_was_taken() -> None:
    history = made([0, 1])
    state = history.state()
    made([2, 2], history, 2)
    again = DecisionHistory.from_state(state)
    assert again.counts.tolist() == [1, 1, 0]
    assert again.curve()[0].tolist() == [0, 3]


def test_going_on_leaves_the_state_alone() -> None:
    state = made([0, 1]).state()
    made([2, 2], DecisionHistory.from_state(state), 2)
    assert state["counts"].tolist() == [1, 1, 0]
    assert state["steps"].tolist() == [0, 3]


def test_the_same_decisions_make_the_same_history() -> None:
    first, second = made(random_choices(300)), made(random_choices(300))
    for name, values in first.state().items():
        np.testing.assert_array_equal(second.state()[name], values, err_msg=name)
