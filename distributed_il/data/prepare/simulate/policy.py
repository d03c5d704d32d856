"""A feed's logging policy: who is shown what, and when, by a ranking that knows part of what people like.

The log covers `DAYS` days, and users and items go on arriving. For each place in the feed a few candidates are
retrieved by popularity among the items that are out, and one of them is shown: c with a probability ∝ exp(strength ·
estimated logit of c). Estimates are made anew every day. After a days with a user or an item the share ρ = a / (a + 7)
of the variance of its traits is known, and the estimate of a trait x with deviation σ is its posterior mean,

    x̂ = ρ x + sqrt(ρ (1 − ρ)) σ ε,   ε standard normal.

So nothing is known of who came today; as days differ, the log as a whole tells more of taste than the policy knows on
any one of them. (Candidates, then a ranking: Covington, Adams, Sargin: Deep neural networks for YouTube
recommendations. RecSys 2016.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.prepare.simulate.population import ITEM_STD, Population, factor_scales
from distributed_il.data.prepare.simulate.randomness import Purpose, normals, uniforms

DAYS = 14
"""Days of a log."""
_DAYS_BEFORE = 28
"""Arrivals are uniform over these days and those of the log, so that a third of the users and items come within it."""
_HALF_KNOWN_DAYS = 7
"""Age at which half of a trait's variance is known."""
_CANDIDATES = 8
_ROWS_AT_ONCE = 1 << 16

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


class LoggingPolicy:
    """Shows items to users, every draw from (seed, user, number of the draw) alone."""

    def __init__(self, population: Population, seed: int, strength: float) -> None:
        """Lets users and items arrive, and estimates the items of every day.

        Args:
            population: Users and items with their hidden traits.
            seed: Decides everything.
            strength: Weight of the estimated logits, at least 0; with 0 candidates are as likely.
        """
        self._population, self._seed, self._strength = population, seed, strength
        user_traits, item_traits = len(population.activity), len(population.popularity)
        self._user_arrivals = _arrivals(seed, Purpose.USER_ARRIVAL, user_traits)
        self._item_arrivals = _arrivals(seed, Purpose.ITEM_ARRIVAL, item_traits)
        # In order of arrival the items that are out on a day are the first so many.
        self._by_arrival = np.argsort(self._item_arrivals, kind="stable")
        self._cumulative = np.cumsum(population.popularity[self._by_arrival])
        self._items_out = np.searchsorted(self._item_arrivals[self._by_arrival], np.arange(DAYS), side="right")
        self._scales = factor_scales().astype(np.float32)
        self._item_estimates = self._estimate_items()

    @property
    def activity(self) -> NDArray[np.float64]:
        """Shares of watches, float64 [num_users], sum 1: who came later has had less time."""
        shares = self._population.activity * (DAYS - np.maximum(self._user_arrivals, 0))
        return shares / shares.sum()

    def first_shown(self) -> tuple[Int64, Int64]:
        """Shows each item to one user, drawn by activity.

        Returns:
            int64 [num_items], sorted keys user · num_items + item, and the day of each.
        """
        items = np.arange(len(self._item_arrivals))
        places = np.searchsorted(
            np.cumsum(self.activity), uniforms(self._seed, Purpose.FIRST_USER, items), side="right"
        )
        users = np.minimum(places, len(self._user_arrivals) - 1)  # rounding may leave the last sum below 1
        since = np.maximum(self._user_arrivals[users], self._item_arrivals)
        days = _day_since(since, uniforms(self._seed, Purpose.FIRST_DAY, items))
        keys = users * len(items) + items
        order = np.argsort(keys)
        return keys[order], days[order]

    def show(self, first_user: int, counts: Int64, given: tuple[Int64, Int64]) -> tuple[Int64, Int64]:
        """Shows each user of a range so many items, none twice.

        Who has been shown an item already is shown another one in its place.

        Args:
            first_user: First user of the range.
            counts: int64 [n], items of each of its users, well below the number of items.
            given: Sorted distinct keys of these users' pairs that exist already, no more than `counts`, and their days.

        Returns:
            int64 [sum of counts], sorted keys user · num_items + item, `given` among them, and the day of each.
        """
        keys, days = given
        drawn = np.zeros(len(counts), dtype=np.int64)
        num_items = len(self._item_arrivals)
        while True:
            lacking = counts - np.bincount(keys // num_items - first_user, minlength=len(counts))
            if not lacking.any():
                return keys, days
            users = np.repeat(np.arange(len(counts)), lacking)
            numbers = np.arange(len(users)) + np.repeat(drawn - (np.cumsum(lacking) - lacking), lacking)
            drawn += lacking
            for start in range(0, len(users), _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                more, their_days = self._draw(first_user + users[part], numbers[part])
                keys, days = np.concatenate([keys, more]), np.concatenate([days, their_days])
            # Of equal keys the one that was there first stays.
            order = np.argsort(keys, kind="stable")
            keys, days = keys[order], days[order]
            new = np.diff(keys, prepend=-1) != 0
            keys, days = keys[new], days[new]

    def _draw(self, users: Int64, numbers: Int64) -> tuple[Int64, Int64]:
        """What users are shown by the draws of these numbers: keys, and days."""
        days = _day_since(self._user_arrivals[users], uniforms(self._seed, Purpose.DAY, users, numbers))
        out = self._items_out[days]
        heights = uniforms(self._seed, Purpose.CANDIDATE, users[:, None], numbers[:, None], np.arange(_CANDIDATES))
        heights *= self._cumulative[out - 1][:, None]
        places = np.searchsorted(self._cumulative, heights, side="right")
        candidates = self._by_arrival[np.minimum(places, out[:, None] - 1)]
        weights = np.cumsum(self._weights(users, candidates, days), axis=1)
        choices = uniforms(self._seed, Purpose.CHOICE, users, numbers) * weights[:, -1]
        chosen = np.minimum((weights <= choices[:, None]).sum(axis=1), _CANDIDATES - 1)
        return users * len(self._item_arrivals) + candidates[np.arange(len(users)), chosen], days

    def _weights(self, users: Int64, candidates: Int64, days: Int64) -> NDArray[np.float64]:
        """exp(strength · estimated logit) up to a factor that a user's candidates share, float64 as `candidates`."""
        pairs, places = np.unique(users * DAYS + days, return_inverse=True)
        tastes = self._estimate_users(*np.divmod(pairs, DAYS))[places]
        traits = self._item_estimates[days[:, None], candidates]
        # One after the other: how a product of matrices rounds would depend on their size.
        logits = traits[..., -1].copy()
        for number in range(tastes.shape[1]):
            logits += tastes[:, number, None] * traits[..., number]
        logits -= logits.max(axis=1, keepdims=True)
        return np.exp(self._strength * logits.astype(np.float64))

    def _estimate_users(self, users: Int64, days: Int64) -> Float32:
        """What the policy believes of users on some day: their factors, float32 [n, factors]."""
        known = _known(days - self._user_arrivals[users])
        traits = np.arange(len(self._scales))
        noise = normals(self._seed, Purpose.USER_ESTIMATE, users[:, None], days[:, None], traits)
        return _posterior(self._population.user_factors[users], self._scales, known, noise)

    def _estimate_items(self) -> Float32:
        """What the policy believes of items, float32 [days, num_items, factors + 1]: factors, and the bias."""
        population = self._population
        truth = np.concatenate([population.item_factors, population.item_bias[:, None]], axis=1)
        scales = np.append(self._scales, np.float32(ITEM_STD)).astype(np.float32)
        estimates = np.empty((DAYS, *truth.shape), dtype=np.float32)
        for day in range(DAYS):
            for start in range(0, len(truth), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                items = np.arange(len(truth))[rows]
                noise = normals(self._seed, Purpose.ITEM_ESTIMATE, day, items[:, None], np.arange(len(scales)))
                known = _known(np.maximum(day - self._item_arrivals[rows], 0))
                estimates[day, rows] = _posterior(truth[rows], scales, known, noise)
        return estimates


def _arrivals(seed: int, purpose: Purpose, number: int) -> Int64:
    """Days of arrival, int64 [number], from −`_DAYS_BEFORE` to `DAYS` − 1; the first of all was always there."""
    drawn = uniforms(seed, purpose, np.arange(number)) * (_DAYS_BEFORE + DAYS)
    days = drawn.astype(np.int64) - _DAYS_BEFORE
    days[0] = -_DAYS_BEFORE
    return days


def _day_since(arrivals: Int64, shares: NDArray[np.float64]) -> Int64:
    """A day of the log from the arrival on, int64 [n]."""
    first = np.maximum(arrivals, 0)
    return first + (shares * (DAYS - first)).astype(np.int64)


def _known(ages: Int64) -> Float32:
    """ρ, the share of a trait's variance that is known after so many days, float32 [n]."""
    return (ages / (ages + _HALF_KNOWN_DAYS)).astype(np.float32)


def _posterior(truth: Float32, scales: Float32, known: Float32, noise: Float32) -> Float32:
    """x̂ = ρ x + sqrt(ρ (1 − ρ)) σ ε, float32 [n, traits]."""
    share = known[:, None]
    return (share * truth + np.sqrt(share * (1 - share)) * scales * noise).astype(np.float32, copy=False)
