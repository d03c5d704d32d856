"""From values to places on a picture, with round numbers on the axes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight line from values to pixels.

    Attributes:
        low: Value at the beginning.
        high: Value at the end, above `low`.
        start: Pixel of `low`.
        stop: Pixel of `high`.
    """

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self, most: int, *, whole: bool = False) -> list[float]:
        """Round values within the scale, evenly spaced.

        Args:
            most: How many at the most, about.
            whole: Only whole numbers.
        """
        raw = (self.high - self.low) / most
        magnitude = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * (1 - 1e-9))
        step = max(step, 1.0) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def span(values: Iterable[float], *, margin: float = 0.06) -> tuple[float, float]:
    """Lowest and highest of the finite values with a margin around them; never of width 0.

    Args:
        values: What is shown.
        margin: Share of the width that is added on both sides.
    """
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-300):
        room = abs(low) * 0.05 or 0.5
        return low - room, high + room
    return low - margin * (high - low), high + margin * (high - low)


def short(value: float) -> str:
    """A number on an axis: 1,000 and 20k, 0.25, 1e-05."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:,g}" if abs(value) >= 1e-3 else f"{value:.3g}"
