"""The curves of an inverse step's candidates."""

from __future__ import annotations

import pytest

from distributed_il.methods.steps.decision import DIRECT, INVERSE, Decision
from distributed_il.training.monitor.curves import candidate_curves


def test_candidates_are_told_by_how_far_they_lie_from_skip() -> None:
    decisions = [Decision(DIRECT, (0.2, 0.3, 0.5)), Decision(INVERSE, (0.6, 0.5, 0.4))]
    assert candidate_curves(decisions) == pytest.approx(
        {
            "candidates/skip": 0.4,
            "candidates/direct_less_skip": 0.0,
            "candidates/inverse_less_skip": 0.05,
            "candidates/chosen_less_skip": -0.1,
        }
    )
