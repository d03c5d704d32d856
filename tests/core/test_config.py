"""The configuration: what it refuses, and that it survives being written down."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import yaml

from distributed_il.core.config import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
    UnlabelledConfig,
    config_from_dict,
    config_to_dict,
    config_to_yaml,
)
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import (
    METHODS,
    InverseDualConfig,
    InverseGradientConfig,
    NegativeSamplingConfig,
    ReweightedConfig,
    TruncatedConfig,
)

CONFIG = TrainConfig(data=DataConfig(path="data"), run=RunConfig(dir="run"))


@pytest.mark.parametrize("value", [0.0, -1e-4, float("nan"), float("inf")])
def test_learning_rates_are_finite_and_positive(value: float) -> None:
    with pytest.raises(UserError, match="γ"):
        OptimizerConfig(learning_rate=value)
    with pytest.raises(UserError, match="α"):
        InverseGradientConfig(dual_learning_rate=value)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ModelConfig, {"embedding_dim": 0}),
        (ModelConfig, {"init_std": 0.0}),
        (OptimizerConfig, {"weight_decay": -1e-5}),
        (OptimizerConfig, {"weight_decay": float("nan")}),
        (UnlabelledConfig, {"rate": 0}),
        (NegativeSamplingConfig, {"unlabelled_weight": 0.0}),
        (InverseDualConfig, {"unlabelled_weight": float("inf")}),
        (TruncatedConfig, {"max_drop_rate": 1.0}),
        (TruncatedConfig, {"num_gradual_steps": 0}),
        (ReweightedConfig, {"exponent": -0.1}),
        (InverseGradientConfig, {"test_share": 0.0}),
        (InverseGradientConfig, {"test_share": 0.6}),
    ],
)
def test_values_out_of_range_are_refused_by_name(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        kind(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"workers": 0},
        {"batch_size": 0},
        {"max_rounds": 0},
        {"patience": 0},
        {"threads_per_worker": 0},
        {"seed": -1},
        {"max_failures": -1},
        {"wait_for_workers_s": 0.0},
        {"checkpoint_every_steps": 0},
        {"checkpoint_every_s": 0.0},
        {"min_workers": 0},
        {"min_workers": 3, "workers": 2},
        {"collective_timeout_s": 0.0},
    ],
)
def test_runs_out_of_range_are_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"run\.{next(iter(values))}"):
        RunConfig(dir="run", **values)


def test_the_global_batch_is_that_of_all_workers() -> None:
    assert RunConfig(dir="run", workers=4, batch_size=256).global_batch_size == 1024


def test_a_configuration_is_never_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        CONFIG.run.seed = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_survives_yaml(method: str) -> None:
    config = replace(CONFIG, method=METHODS[method](), optimizer=OptimizerConfig(learning_rate=1e-5))
    assert config_from_dict(yaml.safe_load(config_to_yaml(config))) == config


def test_what_is_missing_takes_its_default() -> None:
    assert config_from_dict({"data": {"path": "data"}, "run": {"dir": "run"}}) == CONFIG


def test_fields_that_a_configuration_lacks_are_refused() -> None:
    values = config_to_dict(CONFIG)
    with pytest.raises(UserError, match="optimiser"):
        config_from_dict({**values, "optimiser": {}})
    with pytest.raises(UserError, match=r"run\.sed"):
        config_from_dict({**values, "run": {"dir": "run", "sed": 1}})
    with pytest.raises(UserError, match=r"method\.max_drop_rate"):
        config_from_dict({**values, "method": {"name": "ig", "max_drop_rate": 0.1}})
    with pytest.raises(UserError, match="igg"):
        config_from_dict({**values, "method": {"name": "igg"}})
