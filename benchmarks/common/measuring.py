"""Times several things side by side, because on a shared machine only what was measured in one run compares."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence


def interleaved_seconds(
    calls: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Times each call once a round (A B C A B C …), so that a slow moment of the machine falls on all of them.

    Args:
        calls: What to time, by name. A call that leaves work on a device must wait for it.
        repeats: Rounds that are timed.
        warm_up: Rounds before them that are not.

    Returns:
        Wall-clock seconds of each call, [repeats] by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warm_up + repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            elapsed = time.perf_counter() - started
            if turn >= warm_up:
                seconds[name].append(elapsed)
    return seconds


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Ratios of two calls round by round.

    Args:
        numerators: Seconds of one call, [repeats].
        denominators: Seconds of the other in the same rounds, [repeats].

    Raises:
        ValueError: Lengths differ.
    """
    return [above / below for above, below in zip(numerators, denominators, strict=True)]
