"""What a training run is told: frozen dataclasses, validated on construction, never mutated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import yaml

from distributed_il.core.errors import (
    UserError,
    require,
    require_at_least,
    require_not_negative,
    require_positive,
    require_seed,
)
from distributed_il.core.method_config import InverseGradientConfig, MethodConfig, method_class

SelectBy = str
"""`auto`, one of `ROW_METRICS`, or a key that `ranking_cutoff` knows."""
ROW_METRICS = ("calibrated_logloss", "logloss", "auc", "gauc")
"""Metrics of labelled rows that a run can be chosen by."""
RANKING_METRICS = ("recall", "ndcg", "hit_rate", "precision", "map", "mrr")
"""Metrics of a ranking of all items that a run can be chosen by, each as `recall@20`."""


def ranking_cutoff(key: str) -> int | None:
    """Returns the k of a metric such as `recall@20`; None where the key is no such metric."""
    name, _, cutoff = key.partition("@")
    known = name in RANKING_METRICS and cutoff.isascii() and cutoff.isdecimal() and not cutoff.startswith("0")
    return int(cutoff) if known else None


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the rows come from."""

    path: str
    """Directory (or pyarrow URI) of a prepared dataset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The backbone: what turns a user row and an item row into a logit, and what its rows are made of."""

    backbone: str = "bias_mf"
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
    factors: int | Literal["auto"] = "auto"
    """k, the columns of the dataset's exposure factors that rows are given as w + z·A: the first so many, 0 for none.
    `auto`: those of the run that this one goes on or starts from, if it has any; else all of them where who watched
    what carries structure, and none where it does not or the dataset has no factors."""
    factor_scale: float = 0.1
    """What the factors, brought to unit deviation and clipped to ±4, are multiplied by."""
    factor_decay: float = 1e-4
    """λ of the coupled L2 term of the maps A alone; without it sparse logs lose by factors. Below some 100,000 labels
    1e-3 does better."""
    row_dropout: float = 0.0
    """Probability with which a step leaves out a row's own part w and trains on z·A alone, so that short histories are
    served better; alike on all workers. Scores are always of whole rows. Needs factors."""

    def __post_init__(self) -> None:
        require_at_least("model.embedding_dim", self.embedding_dim, 1)
        require_positive("model.init_std", self.init_std)
        if self.factors != "auto":
            require(self.factors >= 0, f"model.factors is {self.factors}; it must be auto, 0 for none, or above")
        require_positive("model.factor_scale", self.factor_scale)
        require_not_negative("model.factor_decay", self.factor_decay)
        dropout = self.row_dropout
        require(0 <= dropout < 1, f"model.row_dropout is {dropout}; it must be at least 0 and below 1")
        require(
            not (dropout and self.factors == 0),
            f"model.row_dropout is {dropout} and model.factors 0, so that nothing would be left of a dropped row; set "
            "model.factors to auto, or model.row_dropout to 0",
        )


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
        require_positive("optimizer.learning_rate (γ)", self.learning_rate)
        require_not_negative("optimizer.weight_decay", self.weight_decay)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnlabelledConfig:
    """Where unlabelled pairs come from; `ordinal` has its own, uniform over the logged ones."""

    source: Literal["sampled", "logged", "both"] = "sampled"
    """`sampled`: items that the user lacks in the training data; `logged`: the user's unclear watches;
    `both`: a fair coin for each pair."""
    rate: int = 1
    """Unlabelled pairs for each labelled row."""

    def __post_init__(self) -> None:
        require_at_least("unlabelled.rate", self.rate, 1)


LOGGERS = ("mlflow", "wandb")
"""What `run.loggers` may name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """How long, how wide and where a run is."""

    dir: str
    """Directory of the run: checkpoints, TensorBoard, metrics.json, config.yaml. Shared by all nodes."""
    start_from: str | None = None
    """Run whose best model this new run starts from, or one of the directories in its `checkpoints`; also written
    `--from`. The dataset is that run's, or one that has grown from it: old ids keep their rows with their moments and
    the tower is kept, new ids start as in any new run, and steps go on being counted."""
    take_over: bool = False
    """Go on in `dir` although a process of another machine is at work there, or was within the last 90 s; that one ends
    at its next checkpoint. Also written `--take_over`."""
    seed: int = 0
    """Decides initial weights, the training-test split, the order of rows and every sampled pair."""
    seeds: int = 1
    """Runs of so many seeds, from `seed` on, one after the other, each in a directory `seed-…` below `dir`; their means
    and standard deviations come into `dir`. Also written `--seeds`."""
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
    """Rounds without a better value of `select_by` after which training stops."""
    select_by: SelectBy = "auto"
    """Validation metric that chooses the best round, and a sweep's best trial. `calibrated_logloss`: log loss after an
    affine fit of the logits to valid (Platt 1999), which compares methods whatever scale their logits are on;
    `logloss`: as served before the fit; `auc`, `gauc`: refused where valid does not define them; `recall@20`,
    `ndcg@20`, `hit_rate@20`, `precision@20`, `map@20`, `mrr@20`, with any k: of the ranking over all unseen items
    (section `evaluation`). `auto`: ndcg@20 where the training rows are positives only, else calibrated_logloss."""
    loggers: list[str] = field(default_factory=list[str])
    """`mlflow`, `wandb`: also sends metrics and settings to MLflow or Weights & Biases, each installed by the extra of
    its name; `MLFLOW_…` and `WANDB_…` variables of the workers say where to."""
    checkpoint_every_steps: int | None = None
    """Also checkpoint inside a round every so many steps; at the end of each round there always is one."""
    checkpoint_every_s: float | None = 600.0
    """Also checkpoint inside a round after so many seconds without one; null: not by the clock."""
    threads_per_worker: int = 1
    """CPU threads of each worker's arithmetic."""
    compile: bool = False
    """Compile the steps of `none`, `ordinal` and `ig` with torch.compile: faster, after half a minute at the start;
    results change by rounding. On a GPU a single worker also replays full batches as CUDA graphs. Needs a C++ compiler
    on every node; where something fails, the run says so and goes on without."""
    wait_for_workers_s: float | None = 30.0
    """Seconds that a run waits for a cluster which has no room for its workers; null: as long as it takes."""
    collective_timeout_s: float = 120.0
    """Seconds after which a lost rank ends the others' wait."""
    max_failures: int = 3
    """Worker failures that Ray Train may cure by a restart from the last checkpoint."""

    def __post_init__(self) -> None:
        for name in ("seeds", "workers", "batch_size", "max_rounds", "patience", "threads_per_worker"):
            require_at_least(f"run.{name}", getattr(self, name), 1)
        require_seed("run.seed", self.seed)
        require(
            self.select_by in ("auto", *ROW_METRICS) or ranking_cutoff(self.select_by) is not None,
            f"run.select_by is {self.select_by!r}; it must be one of auto, {', '.join(ROW_METRICS)}, or one of "
            f"{', '.join(RANKING_METRICS)} with its k, such as ndcg@20",
        )
        unknown = [name for name in self.loggers if name not in LOGGERS]
        require(not unknown, f"run.loggers names {', '.join(unknown)}; there are {' and '.join(LOGGERS)}")
        require(self.max_failures >= 0, f"run.max_failures is {self.max_failures}; it must be 0 or above")
        require(
            self.checkpoint_every_steps is None or self.checkpoint_every_steps >= 1,
            f"run.checkpoint_every_steps is {self.checkpoint_every_steps}; it must be at least 1, or null",
        )
        require_positive("run.collective_timeout_s", self.collective_timeout_s)
        require(
            self.min_workers is None or 1 <= self.min_workers <= self.workers,
            f"run.min_workers is {self.min_workers}; it must lie between 1 and run.workers, {self.workers}, or be null",
        )
        for name in ("checkpoint_every_s", "wait_for_workers_s"):
            if getattr(self, name) is not None:
                require_positive(f"run.{name}", getattr(self, name))

    @property
    def global_batch_size(self) -> int:
        """Labelled rows per step over all workers."""
        return self.workers * self.batch_size


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """Rankings over all items that a user has not seen: at the end of a run for test, and perhaps each round for valid.

    Left out are items of the user's training rows and unclear watches, and for test those of valid, too. What is found
    stands under `ranking` in metrics.json and in the history.
    """

    ks: list[int] = field(default_factory=lambda: [10, 20, 50])
    """Each k of recall@k and the others."""
    users: int | Literal["auto", "all"] = "auto"
    """How many users with positives are ranked, always the same ones. `auto`: for test all of them, or where users ×
    items is above 10⁸ as many as make that, and at least 1,000; for valid 1,000, and only where `run.select_by` is of
    the ranking. A number, or `all`: for both, and valid is ranked each round in any case."""

    candidates: int | str = "all"
    """Against what a user's positives are ranked: `all` items not seen; or so many of them, drawn for each user; or
    those of a given list, files with a column `item_id` of external ids (Parquet or delimited text, as a file, a
    directory or a pattern, which every node can read), of whose items alone positives count. A number is for comparison
    with figures that were found so: it depends on the number, is far above the ranking over all items, and can turn the
    order of models around."""

    def __post_init__(self) -> None:
        require(bool(self.ks), "evaluation.ks is empty; give at least one k, such as '[20]'")
        require(min(self.ks) >= 1, f"evaluation.ks has {min(self.ks)}; each k must be at least 1")
        if isinstance(self.users, int):
            require_at_least("evaluation.users", self.users, 1)
        if isinstance(self.candidates, int):
            require_at_least("evaluation.candidates", self.candidates, 1)
        require(self.candidates != "", "evaluation.candidates is empty; give all, a number, or a file of item ids")

    @property
    def candidate_file(self) -> str | None:
        """Files of the items that are candidates; None where no list is given."""
        return self.candidates if isinstance(self.candidates, str) and self.candidates != "all" else None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a run's result."""

    data: DataConfig
    run: RunConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    unlabelled: UnlabelledConfig = field(default_factory=UnlabelledConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    method: MethodConfig = field(default_factory=InverseGradientConfig)


SECTIONS: dict[str, type[Any]] = {
    "data": DataConfig,
    "run": RunConfig,
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "unlabelled": UnlabelledConfig,
    "evaluation": EvaluationConfig,
}


def config_to_dict(config: TrainConfig) -> dict[str, Any]:
    """The configuration as nested dictionaries of plain values."""
    return dataclasses.asdict(config)


def config_to_yaml(config: TrainConfig) -> str:
    """The configuration as YAML that `--config` reads again."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False)


def flat(values: Mapping[str, Any], prefix: str = "", separator: str = ".") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots: {"run": {"seed": 0}} becomes {"run.seed": 0}."""
    joined: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            joined |= flat(cast("Mapping[str, Any]", value), f"{prefix}{key}{separator}", separator)
        else:
            joined[f"{prefix}{key}"] = value
    return joined


def config_from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Builds and validates a configuration from what `config_to_dict` returns; what has a default may be missing.

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


SAVED_BEFORE: dict[str, dict[str, Any]] = {"model": {"factors": 0}, "run": {"select_by": "logloss"}}
"""What a saved configuration means by leaving a setting out, where that is not today's default."""


def completed(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a configuration that a run has saved, perhaps by an earlier version, with the settings that it lacks.

    The method is left as it is.

    Args:
        saved: What `config_to_dict` made of it then.
    """
    found = dict(saved)
    for section, kind in SECTIONS.items():
        defaults = _defaults(kind)
        if section in saved or len(defaults) == len(dataclasses.fields(kind)):
            found[section] = {**defaults, **SAVED_BEFORE.get(section, {}), **saved.get(section, {})}
    return found


def _defaults(kind: type[Any]) -> dict[str, Any]:
    """Returns the default of each field that has one."""
    fields = dataclasses.fields(kind)
    defaults = {one.name: one.default for one in fields if one.default is not dataclasses.MISSING}
    made = {one.name: one.default_factory() for one in fields if one.default_factory is not dataclasses.MISSING}
    return {**defaults, **made}


def _build(cls: type[Any], section: str, values: Mapping[str, Any]) -> Any:
    known = {field.name for field in dataclasses.fields(cls)}
    for key in values:
        if key not in known:
            raise UserError(f"{section}.{key} is unknown; {section} has {', '.join(sorted(known))}")
    for one in dataclasses.fields(cls):
        if one.name not in values and one.default is one.default_factory is dataclasses.MISSING:
            raise UserError(f"{section}.{one.name} is missing; give it a value")
    return cls(**values)
