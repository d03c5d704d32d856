"""What is compared, and the settings that each row is chosen from: as many draws for each, from the same ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import qmc

from benchmarks.feedback_value.search import Ranges, round_to_three
from benchmarks.paper.search_space import Setting

ROWS: Mapping[str, Mapping[str, Any]] = {
    "none": {"name": "none", "negatives": "sampled_all_positive"},
    "t_ce": {"name": "t_ce", "negatives": "sampled_all_positive"},
    "r_ce": {"name": "r_ce", "negatives": "sampled_all_positive"},
    "none_clean": {"name": "none", "negatives": "sampled"},
}
"""By name, the method. `none_clean` knows the noise and leaves it out, which is the most that denoising can reach."""
OPTIMIZER: Ranges = {"learning_rate": (1e-3, 1e-2), "weight_decay": (1e-6, 1e-4)}
OWN: Mapping[str, Ranges] = {
    "t_ce": {"max_drop_rate": (0.05, 0.2), "gradual_rounds": (0.5, 15.0)},
    "r_ce": {"exponent": (0.05, 0.3)},
}
"""By method, its own settings as they were published, but for T-CE's schedule, which has rounds here: logs differ in
steps. All ranges are logarithmic."""
_AXES = 4


def draw(row: str, number: int, *, steps: int) -> Setting:
    """A setting of a row: a point of Sobol's sequence, of which the first is the middle of all ranges.

    Args:
        row: A name of `ROWS`.
        number: Of the draw, from 0; number n of every row has the same learning rate and weight decay.
        steps: Of a round.

    Returns:
        The sections `model`, `optimizer` and `method`.
    """
    count = 2 ** math.ceil(math.log2(number + 2))  # whole powers of two are what the sequence is balanced over
    point = np.asarray(qmc.Sobol(_AXES, scramble=False).random(count)[number + 1])
    method = ROWS[row]
    own = _drawn(OWN.get(method["name"], {}), point[len(OPTIMIZER) :])
    if "gradual_rounds" in own:
        own["num_gradual_steps"] = max(round(own.pop("gradual_rounds") * steps), 1)
    return {
        "model": {"backbone": "gmf", "factors": 0},
        "optimizer": {**_drawn(OPTIMIZER, point), "missed_steps": "catch_up"},
        "method": {**method, **own},
    }


def _drawn(ranges: Ranges, point: np.ndarray) -> dict[str, Any]:
    bounds = zip(ranges.items(), point, strict=False)
    return {name: round_to_three(low * (high / low) ** float(place)) for (name, (low, high)), place in bounds}
