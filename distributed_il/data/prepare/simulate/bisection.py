"""Bisection."""

from __future__ import annotations

from collections.abc import Callable

_HALVINGS = 40


def solve(rising: Callable[[float], float], low: float, high: float) -> float:
    """Finds the zero of a rising function between two numbers; the nearer of them where it has none there."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low
