"""The settings that are asked: how much of a log is clear, and why the rest is not.

Simulated settings need no files: `demo_0` and `micro_video_0` show items by popularity alone, `demo_1` and
`micro_video_1` by a policy that knows part of what people like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.feedback_value.movielens_logs import Log, graded_log, random_log
from distributed_il.data.dataset import Dataset

MANY_SEEDS, FEW_SEEDS = 10, 5
_DENSE_ROWS = 100_000
AT_RANDOM, LUKEWARM = "labels missing at random", "unclear where lukewarm"
"""Why feedback is unclear."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A setting: a log made from MovieLens-1M, a simulated one, or a dataset that is there."""

    name: str
    family: str = ""
    """Why feedback is unclear: settings of one family differ in `share` alone, and make a line of the figure."""
    share: float = 1.0
    """Of the labels that are kept."""
    make_log: Callable[[str, float, int], Log] | None = None
    """From the directory of MovieLens-1M, the share and a seed."""
    simulated: Mapping[str, Any] | None = None
    """What is simulated, as `SimulateConfig` takes it, without output and seed."""
    data: str = ""
    """Path of a dataset that is there, where nothing is made."""
    dense: bool = False
    """Whether labels are many: that decides the ranges of the search, which are the same for all rows."""
    masks: bool = True
    """Whether another seed hides other labels, or simulates another world; else seeds are those of the runs alone."""
    seeds: int = FEW_SEEDS
    """Repeats of the chosen settings."""
    draws: int | None = None
    """Settings that each row is chosen from at the most; None for as many as are asked for."""
    rows: tuple[str, ...] = ()
    """Rows that it has; none given: all."""
    targets: Mapping[str, float] = field(default_factory=dict[str, float])
    """By row, what it is to gain in AUC over the stronger baseline. These cells are tested together."""


def _at_random(name: str, share: float, seeds: int = FEW_SEEDS, gain: float | None = None) -> Kind:
    return Kind(
        name=name,
        family=AT_RANDOM,
        share=share,
        make_log=random_log,
        dense=share > 0.2,
        masks=share < 1,
        seeds=seeds,
        targets={} if gain is None else {"factors": gain},
    )


def _graded(name: str, share: float, seeds: int = FEW_SEEDS, gain: float | None = None) -> Kind:
    targets = {} if gain is None else {"factors_ordinal": gain}
    return Kind(name=name, family=LUKEWARM, share=share, make_log=graded_log, seeds=seeds, targets=targets)


def _demo(strength: float) -> Kind:
    return Kind(name=f"demo_{strength:g}", simulated={"preset": "demo", "policy_strength": strength}, dense=True)


def _micro_video(strength: float) -> Kind:
    return Kind(
        name=f"micro_video_{strength:g}",
        simulated={"preset": "micro-video", "policy_strength": strength, **MICRO_VIDEO_SUBSET},
        dense=True,
        masks=False,
        seeds=2,
        draws=3,
        rows=("bias", "none", "ig_logged", "factors", "factors_ordinal"),
    )


MICRO_VIDEO_SUBSET = {
    "num_users": 3_769,
    "num_items": 13_169,
    "num_positives": 491_574,
    "num_negatives": 454_674,
    "num_unclear": 470_000,
}
"""A tenth of the micro-video preset, on every side."""
_KINDS = (
    _at_random("r1", 0.01),
    _at_random("r3", 0.03, MANY_SEEDS, 0.03),
    _at_random("r10", 0.1, MANY_SEEDS, 0.02),
    _at_random("r30", 0.3),
    _graded("g10", 0.1, MANY_SEEDS, 0.012),
    _graded("g30", 0.3, MANY_SEEDS, 0.012),
    _graded("g100", 1.0),
    _at_random("full", 1.0, MANY_SEEDS, 0.012),
    *map(_demo, (0.0, 1.0)),
    *map(_micro_video, (0.0, 1.0)),
)
KINDS = {kind.name: kind for kind in _KINDS}


def kind_of(data: str) -> Kind:
    """The setting of a dataset that is there, called after its directory.

    Args:
        data: Its path.

    Raises:
        UserError: There is no dataset.
    """
    dataset = Dataset.open(data)
    return Kind(
        name=Path(data).name, data=data, dense=dataset.rows("train") > _DENSE_ROWS, masks=False, seeds=MANY_SEEDS
    )
