"""The rows of the table: what learns from which feedback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.feedback_value.kinds import Kind
from distributed_il.data.dataset import Dataset

BIAS_BACKBONE = "benchmarks.feedback_value.item_and_user:UserItemBias"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row that is trained."""

    name: str
    method: Mapping[str, Any] = field(default_factory=lambda: {"name": "none"})
    """Section `method`, without what is drawn."""
    backbone: str = "bias_mf"
    source: Literal["sampled", "logged", "logged_if_any"] = "sampled"
    """`unlabelled.source`."""
    factors: bool = False
    shuffled: bool = False
    """Whether the factors are those of exposures that were dealt anew."""
    kinds: tuple[str, ...] = ()
    """Settings that it is for; none: all."""

    @property
    def needs_log(self) -> bool:
        """Whether it learns from logged unclear pairs."""
        return self.source == "logged" or self.method["name"] == "ordinal"


_NONE, _IG = {"name": "none"}, {"name": "ig"}
_BOTH_ENDS = ("r3", "full")
ROWS = {
    row.name: row
    for row in (
        Row(name="bias", backbone=BIAS_BACKBONE),
        Row(name="none"),
        Row(name="ns", method={"name": "ns"}),
        Row(name="idl_sampled", method={"name": "idl"}),
        Row(name="idl_logged", method={"name": "idl"}, source="logged"),
        Row(name="ig_sampled", method=_IG),
        Row(name="ig_logged", method=_IG, source="logged"),
        Row(name="ig_rounds", method=_IG | {"decision": "round"}, source="logged_if_any"),
        Row(name="ordinal", method={"name": "ordinal"}),
        Row(name="factors", factors=True),
        Row(name="factors_ordinal", method={"name": "ordinal"}, factors=True),
        Row(name="factors_shuffled", factors=True, shuffled=True),
        *(
            Row(name=f"{backbone}_{name}", method=method, backbone=backbone, factors=factors, kinds=_BOTH_ENDS)
            for backbone in ("gmf", "neumf")
            for name, method, factors in (("none", _NONE, False), ("ig", _IG, False), ("factors", _NONE, True))
        ),
    )
}
BASELINES = ("none", "bias")
"""A gain is over the better of these."""
QUICK_ROWS = ("bias", "none", "ordinal", "factors", "factors_ordinal")


def rows_of(kind: Kind, dataset: Dataset, names: tuple[str, ...]) -> list[Row]:
    """The rows that a setting has: those of logged pairs or of factors only where its dataset has such.

    Args:
        kind: The setting.
        dataset: Of it.
        names: Rows that are asked for.
    """
    has_log, has_factors = dataset.logged() is not None, dataset.factors() is not None
    return [
        row
        for row in (ROWS[name] for name in names)
        if (not row.kinds or kind.name in row.kinds)
        and (not kind.rows or row.name in kind.rows)
        and (has_log or not row.needs_log)
        and (has_factors or not row.factors)
    ]
