"""What a training run is told: frozen dataclasses, validated on construction, never mutated."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import yaml

from distributed_il.core.errors import UserError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


def _require_positive(name: str, value: float) -> None:
    _require(math.isfinite(value) and value > 0, f"{name} is {value}; it must be a finite number above 0")


def _require_share(name: str, value: float, upper: float = 1.0) -> None:
    _require(0 <= value <= upper, f"{name} is {value}; it must lie between 0 and {upper}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the rows come from."""

    path: str
    """Directory (or pyarrow URI) of a prepared dataset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The backbone: what turns a user row and an item row into a logit."""

    backbone: str = "gmf"
    """`gmf`, `neumf`, `bias_mf`, `mlp`, `deepfm` (which takes side features), or `module:Class` of your own."""
    embedding_dim: int = 32
    """Width of one embedding."""
    init_std: float = 0.01
    """Standard deviation of the normal distribution that embeddings start from."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of weights, moments and arithmetic."""
    tables: Literal["replicated", "sharded"] = "replicated"
    """`replicated`: every worker holds all embedding rows; `sharded`: each row and its moments are held by one worker,
    for tables that are too large for one, and for many workers. The results are the same."""

    def __post_init__(self) -> None:
        _require(self.embedding_dim >= 1, f"model.embedding_dim is {self.embedding_dim}; it must be at least 1")
        _require_positive("model.init_std", self.init_std)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """Adam on the tower, row-wise Adam on the embedding tables."""

    learning_rate: float = 1e-3
    """γ, the learning rate of labelled steps."""
    weight_decay: float = 0.0
    """λ of the coupled L2 term λ·w, added to the gradient after the exchange between ranks."""
    missed_steps: Literal["skip", "catch_up"] = "skip"
    """What a row is owed for steps that did not touch it: nothing (lazy Adam), or, in closed form when it is next
    touched, the momentum and decay that a dense Adam would have given it."""

    def __post_init__(self) -> None:
        _require_positive("optimizer.learning_rate (γ)", self.learning_rate)
        _require(
            math.isfinite(self.weight_decay) and self.weight_decay >= 0,
            f"optimizer.weight_decay is {self.weight_decay}; it must be 0 or a finite number above it",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class UnlabelledConfig:
    """Where unlabelled pairs come from."""

    source: Literal["sampled", "logged", "both"] = "sampled"
    """`sampled`: items that the user lacks in the training data; `logged`: the user's unclear watches;
    `both`: a fair coin for each pair."""
    rate: int = 1
    """Unlabelled pairs for each labelled row."""

    def __post_init__(self) -> None:
        _require(self.rate >= 1, f"unlabelled.rate is {self.rate}; it must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class NoneConfig:
    """Mean log loss of the labelled rows."""

    name: Literal["none"] = "none"
    negatives: Literal["labelled", "sampled"] = "labelled"
    """Where label 0 comes from: `labelled` rows, this paper's setting; `sampled`: labelled negatives are left out and
    unlabelled pairs stand in for them, the setting of the WSDM 2021 paper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NegativeSamplingConfig:
    """Log loss of the labelled rows + log loss of unlabelled pairs taken as label 0."""

    name: Literal["ns"] = "ns"
    unlabelled_weight: float = 1.0
    """Multiplies the unlabelled term."""

    def __post_init__(self) -> None:
        _require_positive("method.unlabelled_weight", self.unlabelled_weight)


@dataclass(frozen=True, kw_only=True, slots=True)
class TruncatedConfig:
    """T-CE: log loss without the rows of largest `loss × label`."""

    name: Literal["t_ce"] = "t_ce"
    max_drop_rate: float = 0.1
    """Share of rows left out once the schedule has risen."""
    num_gradual_steps: int = 10_000
    """Steps over which the share rises linearly from 0."""
    ranking: Literal["global", "local"] = "global"
    """Rank the losses of the global batch, or of each worker's own part (cheaper, and another result)."""
    negatives: Literal["labelled", "sampled"] = "labelled"
    """As in `none`."""

    def __post_init__(self) -> None:
        _require_share("method.max_drop_rate", self.max_drop_rate, 0.999)
        _require(self.num_gradual_steps >= 1, "method.num_gradual_steps must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReweightedConfig:
    """R-CE: log loss weighted by ŷ^β on positives and (1 − ŷ)^β on negatives."""

    name: Literal["r_ce"] = "r_ce"
    exponent: float = 0.1
    """β."""
    negatives: Literal["labelled", "sampled"] = "labelled"
    """As in `none`."""

    def __post_init__(self) -> None:
        _require(
            math.isfinite(self.exponent) and self.exponent >= 0,
            f"method.exponent (β) is {self.exponent}; it must be 0 or a finite number above it",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class InverseDualConfig:
    """Log loss of the labelled rows + inverse dual loss of unlabelled pairs."""

    name: Literal["idl"] = "idl"
    unlabelled_weight: float = 1.0
    """Multiplies the unlabelled term."""

    def __post_init__(self) -> None:
        _require_positive("method.unlabelled_weight", self.unlabelled_weight)


@dataclass(frozen=True, kw_only=True, slots=True)
class InverseGradientConfig:
    """Algorithm 1: each dual-loss update is taken, inverted or skipped by what it does to held-out labelled rows."""

    name: Literal["ig"] = "ig"
    dual_learning_rate: float = 1e-4
    """α, the length of a candidate step."""
    direction: Literal["adam", "sgd"] = "adam"
    """d(g): `adam` is g / (|g| + ε), the first step of a fresh Adam; `sgd` is g, Algorithm 1 as printed."""
    test_share: float = 0.1
    """Share of the labelled rows that make up training-test."""

    def __post_init__(self) -> None:
        _require_positive("method.dual_learning_rate (α)", self.dual_learning_rate)
        _require(
            0 < self.test_share <= 0.5, f"method.test_share is {self.test_share}; it must lie above 0 and up to 0.5"
        )


MethodConfig = (
    NoneConfig | NegativeSamplingConfig | TruncatedConfig | ReweightedConfig | InverseDualConfig | InverseGradientConfig
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """How long, how wide and where a run is."""

    dir: str
    """Directory of the run: checkpoints, TensorBoard, metrics.json, config.yaml. Shared by all nodes."""
    start_from: str | None = None
    """Run whose best model this new run starts from, or one of the directories in its `checkpoints`; also written
    `--from`. The dataset is that run's, or one that has grown from it: old ids keep their rows with their moments and
    the tower is kept, new ids start as in any new run, and steps go on being counted."""
    seed: int = 0
    """Decides initial weights, the training-test split, the order of rows and every sampled pair."""
    workers: int = 1
    """Ray Train workers; it must divide the dataset's lanes."""
    min_workers: int | None = None
    """Go on with as few workers as this while nodes are lost, and with more once there are nodes again; null: always
    with `workers`. The global batch stays; only counts that divide it and the lanes are used."""
    use_gpu: bool = False
    """One GPU a worker, NCCL between them; otherwise CPU and gloo."""
    batch_size: int = 1024
    """Labelled rows per worker and step; the global batch is workers × batch_size."""
    max_rounds: int = 30
    """Rounds at the most; a round is one pass over every labelled training row."""
    patience: int = 3
    """Rounds without a lower validation loss after which training stops."""
    checkpoint_every_steps: int | None = None
    """Also checkpoint inside a round every so many steps; at the end of each round there always is one."""
    checkpoint_every_s: float | None = 600.0
    """Also checkpoint inside a round after so many seconds without one; null: not by the clock."""
    threads_per_worker: int = 1
    """CPU threads of each worker's arithmetic."""
    compile: bool = False
    """Compile the steps of `none` and `ig` with torch.compile: faster, after half a minute at the start; results change
    by rounding. On a GPU a single worker also replays full batches as CUDA graphs. Needs a C++ compiler on every node;
    where something fails, the run says so and goes on without."""
    wait_for_workers_s: float | None = 30.0
    """Seconds that a run waits for a cluster which has no room for its workers; null: as long as it takes."""
    collective_timeout_s: float = 120.0
    """Seconds after which a lost rank ends the others' wait."""
    max_failures: int = 3
    """Worker failures that Ray Train may cure by a restart from the last checkpoint."""

    def __post_init__(self) -> None:
        for name in ("workers", "batch_size", "max_rounds", "patience", "threads_per_worker"):
            _require(getattr(self, name) >= 1, f"run.{name} is {getattr(self, name)}; it must be at least 1")
        _require(self.seed >= 0, f"run.seed is {self.seed}; it must be 0 or above")
        _require(self.max_failures >= 0, f"run.max_failures is {self.max_failures}; it must be 0 or above")
        _require(
            self.checkpoint_every_steps is None or self.checkpoint_every_steps >= 1,
            f"run.checkpoint_every_steps is {self.checkpoint_every_steps}; it must be at least 1, or null",
        )
        _require_positive("run.collective_timeout_s", self.collective_timeout_s)
        _require(
            self.min_workers is None or 1 <= self.min_workers <= self.workers,
            f"run.min_workers is {self.min_workers}; it must lie between 1 and run.workers, {self.workers}, or be null",
        )
        for name in ("checkpoint_every_s", "wait_for_workers_s"):
            if getattr(self, name) is not None:
                _require_positive(f"run.{name}", getattr(self, name))

    @property
    def global_batch_size(self) -> int:
        """Labelled rows per step over all workers."""
        return self.workers * self.batch_size


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a run's result."""

    data: DataConfig
    run: RunConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    unlabelled: UnlabelledConfig = field(default_factory=UnlabelledConfig)
    method: MethodConfig = field(default_factory=InverseGradientConfig)


METHODS: dict[str, type[Any]] = {
    str(next(field.default for field in dataclasses.fields(cls) if field.name == "name")): cls
    for cls in get_args(MethodConfig)
}
SECTIONS: dict[str, type[Any]] = {
    "data": DataConfig,
    "run": RunConfig,
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "unlabelled": UnlabelledConfig,
}


def config_to_dict(config: TrainConfig) -> dict[str, Any]:
    """The configuration as nested dictionaries of plain values."""
    return dataclasses.asdict(config)


def config_to_yaml(config: TrainConfig) -> str:
    """The configuration as YAML that `--config` reads again."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots: {"run": {"seed": 0}} becomes {"run.seed": 0}."""
    joined: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            joined |= flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            joined[f"{prefix}{key}"] = value
    return joined


def config_from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Builds and validates a configuration.

    Args:
        values: What `config_to_dict` returns; sections and fields with a default may be missing.

    Raises:
        UserError: A key is unknown, or a value is out of range.
    """
    unknown = set(values) - {*SECTIONS, "method"}
    if unknown:
        raise UserError(f"unknown section {', '.join(sorted(unknown))}; there are {', '.join([*SECTIONS, 'method'])}")
    sections = {name: _build(cls, name, values[name]) for name, cls in SECTIONS.items() if name in values}
    if "method" in values:
        sections["method"] = _build(method_class(values["method"].get("name", "ig")), "method", values["method"])
    return TrainConfig(**sections)


def method_class(name: str) -> type[Any]:
    """The configuration class of a method.

    Raises:
        UserError: There is no such method.
    """
    if name not in METHODS:
        raise UserError(f"method.name is '{name}'; it must be one of {', '.join(METHODS)}")
    return METHODS[name]


def _build(cls: type[Any], section: str, values: Mapping[str, Any]) -> Any:
    known = {field.name for field in dataclasses.fields(cls)}
    for key in values:
        if key not in known:
            raise UserError(f"{section}.{key} is unknown; {section} has {', '.join(sorted(known))}")
    return cls(**values)
