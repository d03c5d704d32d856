"""The settings that each row is chosen from: as many draws for each, from the same ranges.

Draws are points of Sobol's sequence, of which the first is the middle of all ranges and any number is evenly spread
(Sobol, USSR Comput. Math. Math. Phys. 7 (1967)). Number n of every row has the same learning rate and weight decay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from benchmarks.feedback_value.rows import Row
from benchmarks.paper.search_space import Setting
from distributed_il.data.dataset import Dataset

Ranges = Mapping[str, tuple[float, float]]

OPTIMIZER: Mapping[str, Ranges] = {
    "sparse": {"learning_rate": (3e-3, 3e-2), "weight_decay": (1e-5, 1e-3)},
    "dense": {"learning_rate": (1e-3, 1e-2), "weight_decay": (1e-6, 1e-4)},
}
FACTORS: Mapping[str, Ranges] = {"sparse": {"factor_decay": (2e-4, 5e-3)}, "dense": {"factor_decay": (3e-5, 1e-3)}}
"""The scale stays: a larger one acts as a weaker decay."""
BATCH_SIZE = 1024
OWN: Mapping[str, Ranges] = {
    "ns": {"unlabelled_weight": (0.03, 1.0)},
    "idl": {"unlabelled_weight": (0.03, 1.0)},
    "ig": {"dual_learning_rate": (1e-5, 1e-3)},
    "ig by rounds": {"unlabelled_weight": (0.1, 3.0)},
    "ordinal": {"unlabelled_weight": (0.1, 3.0), "half_width": (0.125, 1.0)},
}
"""By method, its own settings. All ranges are logarithmic."""
ORDINAL_PAIRS = 4
_AXES: tuple[str, ...] = (
    "learning_rate",
    "weight_decay",
    "unlabelled_weight",
    "dual_learning_rate",
    "half_width",
    "factor_decay",
)


def draw(row: Row, number: int, *, dataset: Dataset, dense: bool) -> Setting:
    """A setting of a row.

    Args:
        row: Which.
        number: Of the draw, from 0.
        dataset: What is trained on.
        dense: Whether labels are many.

    Returns:
        The sections `model`, `optimizer`, `unlabelled` and `method`.
    """
    point = dict(zip(_AXES, points(number + 1)[number], strict=True))

    def drawn(ranges: Ranges) -> dict[str, float]:
        return {name: round_to_three(low * (high / low) ** point[name]) for name, (low, high) in ranges.items()}

    name: str = row.method["name"]
    own: dict[str, Any] = drawn(OWN.get("ig by rounds" if row.method.get("decision") == "round" else name, {}))
    if name == "ordinal":
        own["pairs"] = ORDINAL_PAIRS
    labels = "dense" if dense else "sparse"
    stored = dataset.factors() if row.factors else None
    columns = 0 if stored is None else stored.columns
    logged = row.source == "logged" or (row.source == "logged_if_any" and dataset.logged() is not None)
    return {
        "model": {"backbone": row.backbone, "factors": columns} | (drawn(FACTORS[labels]) if columns else {}),
        "optimizer": {**drawn(OPTIMIZER[labels]), "missed_steps": "catch_up"},
        "unlabelled": {"source": "logged" if logged else "sampled"},
        "method": {**row.method, **own},
    }


def points(count: int) -> NDArray[np.float64]:
    """The first points of the sequence but that of zeros, in (0, 1), float64 [count, 6]."""
    # Whole powers of two are what the sequence is balanced over.
    found = qmc.Sobol(len(_AXES), scramble=False).random_base2(int(np.ceil(np.log2(count + 1))))
    return found[1 : count + 1]


def round_to_three(value: float) -> float:
    """The value with three significant digits, as reports show it."""
    return float(f"{value:.3g}")
