"""Settings of the training methods: a dataclass for each built-in one, made from `Config` for one of the user's."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from distributed_il.core.errors import UserError, require, require_at_least, require_not_negative, require_positive
from distributed_il.core.own_code import find_object

Negatives = Literal["auto", "labelled", "sampled", "sampled_all_positive"]


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """The `method` section of a run. It has no slots, so that a dataclass with slots can be its sibling."""

    name: str
    """Which method: a name of `METHODS`, or `module:Class`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoneConfig(MethodConfig):
    """Mean log loss of the labelled rows."""

    name: Literal["none"] = "none"
    negatives: Negatives = "auto"
    """Where label 0 comes from. `labelled`: from the rows, this paper's setting. `sampled`: labelled negatives are left
    out, and sampled pairs stand in for them. `sampled_all_positive`, the setting of the WSDM 2021 paper: every labelled
    training row is an interaction and thereby a positive, label 0 the noise among them, and sampled pairs are the
    negatives; logged unclear pairs, interactions without a row, are neither. Valid and test keep their labels. `auto`:
    sampled where training has positives only, else labelled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NegativeSamplingConfig(MethodConfig):
    """Log loss of the labelled rows + log loss of unlabelled pairs that are all given one label."""

    name: Literal["ns"] = "ns"
    unlabelled_weight: float = 1.0
    """Multiplies the unlabelled term."""
    target: float = 0.0
    """Label of unlabelled pairs, from 0 to 1: 0 takes them for negatives, 0.5 for lukewarm, which draws their logits
    to 0 and suits logged unclear watches."""

    def __post_init__(self) -> None:
        require_positive("method.unlabelled_weight", self.unlabelled_weight)
        require(0 <= self.target <= 1, f"method.target is {self.target}; it must lie between 0 and 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class TruncatedConfig(MethodConfig):
    """T-CE: log loss without the rows of largest `loss × label`."""

    name: Literal["t_ce"] = "t_ce"
    max_drop_rate: float = 0.1
    """Share of rows left out once the schedule has risen."""
    num_gradual_steps: int = 10_000
    """Steps over which the share rises linearly from 0."""
    ranking: Literal["global", "local"] = "global"
    """Rank the losses of the global batch, or of each worker's own part (cheaper, and another result)."""
    negatives: Negatives = "auto"
    """As in `none`."""

    def __post_init__(self) -> None:
        rate = self.max_drop_rate
        require(0 <= rate <= 0.999, f"method.max_drop_rate is {rate}; it must lie between 0 and 0.999")
        require_at_least("method.num_gradual_steps", self.num_gradual_steps, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReweightedConfig(MethodConfig):
    """R-CE: log loss weighted by ŷ^β on positives and (1 − ŷ)^β on negatives."""

    name: Literal["r_ce"] = "r_ce"
    exponent: float = 0.1
    """β."""
    negatives: Negatives = "auto"
    """As in `none`."""

    def __post_init__(self) -> None:
        require_not_negative("method.exponent (β)", self.exponent)


@dataclass(frozen=True, kw_only=True, slots=True)
class InverseDualConfig(MethodConfig):
    """Log loss of the labelled rows + inverse dual loss of unlabelled pairs."""

    name: Literal["idl"] = "idl"
    unlabelled_weight: float = 1.0
    """Multiplies the unlabelled term, of either sign. Above 0, as in the paper, the term pushes logits of unlabelled
    pairs away from 0; below 0, always the inverse step, it draws them together towards 0."""

    def __post_init__(self) -> None:
        weight = self.unlabelled_weight
        require(
            math.isfinite(weight) and weight != 0,
            f"method.unlabelled_weight is {weight}; it must be a finite number other than 0, for without its term of "
            "unlabelled pairs idl is method.name none",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class OrdinalConfig(MethodConfig):
    """Ordinal log loss: logged unclear pairs lie between negatives and positives along one logit.

    Unclear pairs are drawn uniformly over the log; `unlabelled.source` and `unlabelled.rate` do not apply. A dataset
    without logged unclear pairs is refused: of sampled pairs nobody knows that they are unclear.
    """

    name: Literal["ordinal"] = "ordinal"
    unlabelled_weight: float = 0.3
    """λ, multiplies the mean over the unclear pairs."""
    half_width: float | Literal["learned"] = 0.5
    """t: above it a logit makes a positive likelier than not, below −t a negative; `learned`: a weight of the model,
    from 0.5 on."""
    pairs: int = 2
    """Unclear pairs for each labelled row."""

    def __post_init__(self) -> None:
        require_positive("method.unlabelled_weight (λ)", self.unlabelled_weight)
        if self.half_width != "learned":
            require_positive("method.half_width (t)", self.half_width)
        require_at_least("method.pairs", self.pairs, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class InverseGradientConfig(MethodConfig):
    """Algorithm 1: each dual-loss update is taken, inverted or skipped by what it does to held-out labelled rows."""

    name: Literal["ig"] = "ig"
    decision: Literal["batch", "round"] = "batch"
    """How often training-test decides. `batch`: at each update, as Algorithm 1 has it. `round`: once a round, between
    three passes over training-train from one state, of labelled loss + s·λ·dual loss for s = 1, 0 and −1. The best by
    calibrated loss is kept; plain steps over training-test follow. It takes three to four times the time of `none`,
    and memory for what each touched row was. While the three are tried no checkpoint is written: a run that is stopped
    or fails there goes on from the start of the round."""
    unlabelled_weight: float = 1.0
    """λ of `decision: round`; without meaning for `batch`."""
    dual_learning_rate: float = 1e-4
    """α, the length of a candidate step of `decision: batch`."""
    direction: Literal["adam", "sgd"] = "adam"
    """d(g) of `decision: batch`: `adam` is g / (|g| + ε), the first step of a fresh Adam; `sgd` is g, Algorithm 1 as
    printed."""
    test_share: float = 0.1
    """Share of the labelled rows that make up training-test."""

    def __post_init__(self) -> None:
        require_positive("method.dual_learning_rate (α)", self.dual_learning_rate)
        require_positive("method.unlabelled_weight (λ)", self.unlabelled_weight)
        share = self.test_share
        require(1e-9 <= share <= 0.5, f"method.test_share is {share}; it must lie between 1e-9 and 0.5")


METHODS: dict[str, type[MethodConfig]] = {
    "none": NoneConfig,
    "ns": NegativeSamplingConfig,
    "t_ce": TruncatedConfig,
    "r_ce": ReweightedConfig,
    "idl": InverseDualConfig,
    "ordinal": OrdinalConfig,
    "ig": InverseGradientConfig,
}


def method_class(name: str) -> type[MethodConfig]:
    """Returns the class of a method's settings.

    Args:
        name: A name of `METHODS`, or `module:Class` of a method of the user's. The class has a frozen dataclass
            `Config` with the settings of the method, each with a type and perhaps a default, and none called `name`.

    Returns:
        For a method of the user's a subclass of its `Config` that has the field `name` too.

    Raises:
        UserError: There is no such method, or its class is not as described.
    """
    return METHODS[name] if name in METHODS else _own_method_class(name)


@functools.cache
def _own_method_class(name: str) -> type[MethodConfig]:
    method = find_object("method.name", name, METHODS)
    config: Any = getattr(method, "Config", None)
    if not (isinstance(method, type) and callable(getattr(method, "step", None)) and isinstance(config, type)):
        raise UserError(
            f"method.name '{name}' is no method: it must be a class with `Config` and `step`, see "
            "distributed_il.methods.Method"
        )
    if not getattr(getattr(config, "__dataclass_params__", None), "frozen", False):
        raise UserError(f"method.name '{name}': its Config must be a dataclass; write @dataclass(frozen=True) above it")
    if "name" in config.__dataclass_fields__:
        raise UserError(f"method.name '{name}': its Config has a field `name`, which the method's own has; rename it")
    namespace = {"__doc__": config.__doc__, "__reduce__": _reduce}
    fields = [("name", str, dataclasses.field(default=name))]
    bases = (config, MethodConfig)
    return dataclasses.make_dataclass(
        method.__name__, fields, bases=bases, namespace=namespace, frozen=True, kw_only=True
    )


def _reduce(config: MethodConfig) -> tuple[Any, ...]:
    """Lets settings travel to other processes, which make the class again."""
    return _rebuild, (config.name, {field.name: getattr(config, field.name) for field in dataclasses.fields(config)})


def _rebuild(name: str, values: Mapping[str, Any]) -> MethodConfig:
    return method_class(name)(**values)
