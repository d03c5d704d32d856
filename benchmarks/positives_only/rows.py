"""What is compared, and the settings that each row is chosen from: as many draws for each.

Draws are points of Sobol's sequence, of which the first is the middle of all ranges and any number is evenly spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.feedback_value.search import points, round_to_three
from benchmarks.paper.search_space import Setting
from distributed_il.data.dataset import Dataset

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A model that is tuned and measured."""

    name: str
    backbone: str
    """Of ours; for one of the package, which."""
    method: str = ""
    """Of ours."""
    factors: bool = False
    """Whether rows are given exposure factors."""
    ranges: Mapping[str, Range]
    """Of its settings, all logarithmic."""
    sizes: tuple[int, ...]
    """Widths of a row: one of them is drawn, too."""

    @property
    def of_package(self) -> bool:
        """Whether it is a model of the other package."""
        return not self.method


_OURS: Mapping[str, Range] = {"learning_rate": (1e-3, 4e-3), "weight_decay": (1e-6, 1e-5), "rate": (2.0, 8.0)}
"""`rate` is rounded: sampled negatives for each positive."""
_TOWER_RATE: Range = (1.5, 4.0)
"""A pass of a tower takes several times as long."""
_WEIGHT: Mapping[str, Range] = {"unlabelled_weight": (1.0, 10.0)}
_SIZES = (32, 64, 128)


def _ours(backbone: str, method: str) -> Row:
    tower = backbone == "neumf"
    return Row(
        name=f"{backbone}_{method}",
        backbone=backbone,
        method=method,
        ranges={**_OURS, **({"rate": _TOWER_RATE} if tower else {}), **(_WEIGHT if method == "ns" else {})},
        sizes=_SIZES[:2] if tower else _SIZES,
    )


ROWS = {
    row.name: row
    for row in (
        *(_ours(backbone, method) for method in ("none", "ns") for backbone in ("gmf", "neumf", "bias_mf")),
        Row(
            name="bias_mf_factors",
            backbone="bias_mf",
            method="none",
            factors=True,
            ranges={**_OURS, "factor_decay": (3e-6, 3e-4)},
            sizes=_SIZES,
        ),
        Row(name="als", backbone="als", ranges={"alpha": (1.0, 10.0), "regularization": (1.0, 30.0)}, sizes=_SIZES),
        Row(
            name="bpr",
            backbone="bpr",
            ranges={"learning_rate": (0.02, 0.1), "regularization": (2e-3, 2e-2)},
            sizes=_SIZES,
        ),
    )
}
TRIVIAL = ("popularity", "item_co_occurrence")
QUICK_ROWS = ("bias_mf_none", "als", "bpr")


def draw(row: Row, number: int, *, dataset: Dataset) -> Setting:
    """A setting of a row.

    Args:
        row: Which.
        number: Of the draw, from 0.
        dataset: What is trained on.

    Returns:
        The sections of a run's configuration; for the package `model` and `package`, what the model is made with.
    """
    point = points(number + 1)[number]
    drawn = {
        name: round_to_three(low * (high / low) ** place)
        for (name, (low, high)), place in zip(row.ranges.items(), point, strict=False)
    }
    size = row.sizes[int(point[-1] * len(row.sizes))]
    if row.of_package:
        return {"model": {"backbone": row.backbone}, "package": {**drawn, "factors": size}}
    stored = dataset.factors() if row.factors else None
    of_model = {name: value for name, value in drawn.items() if name == "factor_decay"}
    of_method: dict[str, Any] = {name: value for name, value in drawn.items() if name == "unlabelled_weight"}
    return {
        "model": {
            "backbone": row.backbone,
            "embedding_dim": size,
            "factors": 0 if stored is None else stored.columns,
            **of_model,
        },
        "optimizer": {"learning_rate": drawn["learning_rate"], "weight_decay": drawn["weight_decay"]},
        "unlabelled": {"rate": round(drawn["rate"])},
        "evaluation": {"ks": [20]},
        "method": {"name": row.method, **({"negatives": "sampled"} if row.method == "none" else {}), **of_method},
    }
