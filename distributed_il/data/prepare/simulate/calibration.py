"""Finds the two levels of a simulation that give its classes of watches the shares wanted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distributed_il.data.prepare.simulate.population import Population, sigmoid
from distributed_il.data.prepare.simulate.watches import unclear_probabilities

_PAIRS = 50_000
"""Pairs that shares are estimated on: they come out right to a quarter of a percent; thinning does the rest."""
_ROUNDS, _HALVINGS, _BRACKET = 5, 40, 30.0


@dataclass(frozen=True, slots=True)
class Levels:
    """What a simulation adds to every pair.

    Attributes:
        offset: Log-odds of liking, added to all logits.
        unclear_level: Log-odds of an unclear watch, see `unclear_probabilities`; −inf where nothing is to be unclear.
    """

    offset: float
    unclear_level: float


def calibrate(
    rng: np.random.Generator, population: Population, *, positive_share: float, unclear_share: float
) -> Levels:
    """Solves for the levels on a sample of pairs, by bisection in turn: each depends on the other only weakly.

    Args:
        rng: Draws the sample.
        population: Users and items, who meet by activity and popularity.
        positive_share: Positives among the clear watches, above 0 and below 1.
        unclear_share: Unclear watches among all, from 0 to below 1.
    """
    users = rng.choice(len(population.activity), _PAIRS, p=population.activity)
    items = rng.choice(len(population.popularity), _PAIRS, p=population.popularity)
    logits = population.logits(users, items)
    offset, level = 0.0, -math.inf
    for _ in range(_ROUNDS):
        preferences = sigmoid(logits + offset)
        if unclear_share > 0:
            level = _solve(lambda x, p=preferences: float(unclear_probabilities(p, x).mean()) - unclear_share)
        clear = 1.0 - unclear_probabilities(preferences, level)
        clear /= clear.sum()
        offset = _solve(lambda x, weights=clear: float((weights * sigmoid(logits + x)).sum()) - positive_share)
    return Levels(offset, level)


def _solve(rising: Callable[[float], float]) -> float:
    """The zero of a rising function."""
    low, high = -_BRACKET, _BRACKET
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low
