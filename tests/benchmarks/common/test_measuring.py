from __future__ import annotations

import pytest

from benchmarks.common import measuring
from benchmarks.common.measuring import interleaved_seconds, ratios


def test_calls_take_turns_and_the_warm_up_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock that only the calls move: round r takes r + 1 seconds in a and 10 · (r + 1) in b.
    now, order = [0.0], []

    def call(name: str, seconds: float) -> None:
        order.append(name)
        now[0] += seconds * (order.count(name))

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    seconds = interleaved_seconds({"a": lambda: call("a", 1.0), "b": lambda: call("b", 10.0)}, repeats=2, warm_up=1)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert seconds == {"a": [2.0, 3.0], "b": [20.0, 30.0]}


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2.0, 9.0], [4.0, 3.0]) == [0.5, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0], [])
