"""Search spaces: what is drawn from them, what is refused, and what the data rule out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from random_factors import store_random_factors

from distributed_il.cli.train import CHOOSE_SPACE
from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseGradientConfig, NoneConfig
from distributed_il.runtime.sweep.data_limits import DataLimits
from distributed_il.runtime.sweep.draw import draw, with_settings
from distributed_il.runtime.sweep.space import Domain, Space, read_space

BASE = TrainConfig(
    data=DataConfig(path="data"), run=RunConfig(dir="run"), method=InverseGradientConfig(dual_learning_rate=3e-5)
)
SPACE = Space(
    (
        Domain("optimizer.learning_rate", "loguniform", (1e-4, 1e-2)),
        Domain("model.backbone", "choice", ("gmf", "neumf")),
        Domain("model.embedding_dim", "randint", (8, 64)),
    )
)


def write(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return str(path)


def test_a_file_becomes_domains(tmp_path: Path) -> None:
    text = """
    optimizer.learning_rate: {loguniform: [1e-4, 1.0e-2]}   # YAML reads the first as text
    model.backbone: {choice: [gmf, neumf]}
    method.dual_learning_rate: {uniform: [0.1, 1]}
    run.seed: {randint: [0, 5]}
    run.batch_size: {choice: [512]}
    method.test_share: {choice: [0.1, 5e-1]}
    """
    assert read_space(write(tmp_path / "space.yaml", text), BASE) == Space(
        (
            Domain("optimizer.learning_rate", "loguniform", (1e-4, 1e-2)),
            Domain("model.backbone", "choice", ("gmf", "neumf")),
            Domain("method.dual_learning_rate", "uniform", (0.1, 1.0)),
            Domain("run.seed", "randint", (0, 5)),
            Domain("run.batch_size", "choice", (512,)),
            Domain("method.test_share", "choice", (0.1, 0.5)),
        )
    )


CONDITIONAL = """
first: {method.name: none, optimizer.learning_rate: 1e-3}
method.name: {choice: [none, ns, idl]}
unlabelled.source:
  - {when: {method.name: [ns, idl]}, choice: [sampled, logged]}
method.unlabelled_weight:
  - {when: {method.name: idl, unlabelled.source: logged}, uniform: [1, 2]}
  - {when: {method.name: idl}, uniform: [2, 3]}
  - {when: {method.name: ns}, uniform: [0.1, 1]}
"""


def test_ranges_follow_the_choices_above_them(tmp_path: Path) -> None:
    space = read_space(write(tmp_path / "space.yaml", CONDITIONAL), BASE)
    assert space.first == {"method.name": "none", "optimizer.learning_rate": 1e-3}
    assert space.keys == ("method.name", "unlabelled.source", "method.unlabelled_weight")
    assert space.domains[2].when == {"method.name": ("idl",), "unlabelled.source": ("logged",)}
    again = write(tmp_path / "again.yaml", space.to_dict())
    assert read_space(again, BASE) == space
    first, *drawn = draw(space, BASE, trials=200)
    assert first == space.first
    assert {one["method.name"] for one in drawn} == {"none", "ns", "idl"}
    for one in drawn:
        match one["method.name"], one.get("unlabelled.source"):
            case "none", source:
                assert source is None
                assert "method.unlabelled_weight" not in one
            case "ns", source:
                assert source in ("sampled", "logged")
                assert 0.1 <= one["method.unlabelled_weight"] <= 1
            case _, source:
                low = 1 if source == "logged" else 2
                assert low <= one["method.unlabelled_weight"] <= low + 1
    # What stands beside a setting, and a trial before all others, change none of its values.
    assert draw(Space(space.domains), BASE, trials=100) == drawn[:100]


def test_runs_that_can_not_be_are_passed_over_and_the_others_stay_as_they_are(tmp_path: Path) -> None:
    space = read_space(write(tmp_path / "space.yaml", CONDITIONAL), BASE)
    everything = draw(space, BASE, trials=100)
    some = draw(space, BASE, trials=40, possible=lambda config: config.unlabelled.source == "sampled")
    assert some == [one for one in everything if one.get("unlabelled.source") != "logged"][:40]
    # The first is tried in any case.
    assert draw(space, BASE, trials=9, possible=lambda _: False) == [space.first]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"optimizer.learning_rat": {"choice": [1]}}, r"optimizer\.learning_rat: there is no such setting"),
        ({"data.path": {"choice": ["a"]}}, r"all trials share this setting; give it to the sweep itself"),
        ({"run.max_rounds": {"choice": [1]}}, r"all trials share this setting"),
        ({"model.tables": {"choice": ["torn"]}}, r"'torn' does not fit; the setting takes replicated, sharded"),
        ({"method.name": {"choice": ["igg"]}}, r"'igg' does not fit; the setting takes none, ns"),
        ({"model.embedding_dim": {"uniform": [8, 9]}}, r"8\.0 does not fit; the setting takes int"),
        ({"model.embedding_dim": {"choice": [True]}}, r"True does not fit"),
        ({"model.factors": {"choice": [True]}}, r"True does not fit"),
        ({"optimizer.learning_rate": {"uniform": [1, "x"]}}, r"'x' does not fit; the setting takes float"),
        ({"optimizer.learning_rate": {"uniform": [2, 1]}}, r"uniform goes from 2\.0 to 1\.0; it must rise"),
        ({"optimizer.learning_rate": {"loguniform": [0, 1]}}, r"loguniform from above 0"),
        ({"optimizer.learning_rate": {"normal": [0, 1]}}, r"there is no domain 'normal'; there are choice"),
        ({"optimizer.learning_rate": {"uniform": [0, 1, 2]}}, r"uniform needs \[low, high\]"),
        ({"optimizer.learning_rate": [1, 2]}, r"needs one of choice"),
        ({"run.seed": {"when": {"model.dtype": "float32"}, "choice": [1]}}, r"no choice that stands above it"),
        ({"model.dtype": {"choice": ["float32"]}, "run.seed": {"when": {}, "choice": [1]}}, r"when needs settings"),
        (
            {"model.dtype": {"choice": ["float32"]}, "run.seed": {"when": {"model.dtype": "x"}, "choice": [1]}},
            r"run\.seed: when model\.dtype is 'x', which is none of \['float32'\]",
        ),
        ({"method.name": {"when": {"model.dtype": "float32"}, "choice": ["ig"]}}, r"is drawn before all others"),
        ({"first": {"run.max_rounds": 1}, "run.seed": {"choice": [1]}}, r"first\.run\.max_rounds: all trials share"),
        ({"first": ["none"], "run.seed": {"choice": [1]}}, r"first needs settings with a value each"),
        ({"run.seed": [{"when": {"a": 1}}]}, r"no choice that stands above it"),
        ({}, r"holds no settings"),
        ("a: [", r"can't be read"),
    ],
)
def test_what_is_no_space_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_space(write(tmp_path / "space.yaml", content), BASE)
    assert str(tmp_path) in str(caught.value)


def test_the_same_seed_draws_the_same_trials_and_more_trials_begin_with_them() -> None:
    few = draw(SPACE, BASE, trials=5)
    assert draw(SPACE, BASE, trials=50)[:5] == few
    # The values of a setting do not depend on the settings beside it.
    assert [one["optimizer.learning_rate"] for one in draw(Space(SPACE.domains[:1]), BASE, trials=5)] == [
        one["optimizer.learning_rate"] for one in few
    ]
    other = TrainConfig(data=BASE.data, run=RunConfig(dir="run", seed=1))
    assert draw(SPACE, other, trials=5) != few


def test_draws_fill_their_domains() -> None:
    drawn = draw(SPACE, BASE, trials=2_000)
    rates = np.log10([one["optimizer.learning_rate"] for one in drawn])
    assert (rates >= -4).all()
    assert (rates <= -2).all()
    # Uniform over (-4, -2): mean -3, standard error 2 / √12 / √2000 = 0.013.
    assert rates.mean() == pytest.approx(-3, abs=0.05)
    assert {one["model.backbone"] for one in drawn} == {"gmf", "neumf"}
    assert {one["model.embedding_dim"] for one in drawn} == set(range(8, 64))


def test_a_small_space_is_drawn_out_without_repetition() -> None:
    space = Space((Domain("model.backbone", "choice", ("gmf", "neumf")), Domain("run.seed", "randint", (0, 3))))
    drawn = draw(space, BASE, trials=100)
    assert len(drawn) == 6
    assert len({(one["model.backbone"], one["run.seed"]) for one in drawn}) == 6


def test_a_trial_has_the_settings_of_its_method_alone() -> None:
    space = Space(
        (
            # The method is drawn first, wherever it stands.
            Domain("method.dual_learning_rate", "uniform", (1e-4, 1e-3)),
            Domain("method.name", "choice", ("ig", "none", "r_ce")),
            Domain("method.exponent", "uniform", (0.1, 1.0)),
        )
    )
    drawn = {one["method.name"]: one for one in draw(space, BASE, trials=30)}
    assert set(drawn["ig"]) == {"method.name", "method.dual_learning_rate"}
    assert set(drawn["r_ce"]) == {"method.name", "method.exponent"}
    assert drawn["none"] == {"method.name": "none"}
    assert with_settings(BASE, drawn["none"]).method == NoneConfig()
    # Of the same method it keeps what the base says.
    assert with_settings(BASE, {"optimizer.learning_rate": 0.5}).method == BASE.method
    with pytest.raises(UserError, match="must be a finite number above 0"):
        with_settings(BASE, {"optimizer.learning_rate": -1.0})


@pytest.mark.parametrize(("unclear", "tried"), [(100, {"sampled", "logged", "both"}), (0, {"sampled"})])
def test_what_the_log_rules_out_is_not_tried(make_dataset: Any, unclear: int, tried: set[str]) -> None:
    space = Space(
        (
            Domain("method.name", "choice", ("none", "ns")),
            Domain("unlabelled.source", "choice", ("sampled", "logged", "both")),
        )
    )
    limits = DataLimits(make_dataset(unclear=unclear), space, BASE)
    drawn = draw(space, BASE, trials=50, possible=limits.allow)
    assert {one["unlabelled.source"] for one in drawn if one["method.name"] == "ns"} == tried
    assert {one["unlabelled.source"] for one in drawn if one["method.name"] == "none"} == {"sampled", "logged", "both"}
    refused = {"sampled", "logged", "both"} - tried
    assert {reason.partition(",")[0] for reason in limits.reasons} == {f"unlabelled.source is {one}" for one in refused}


@pytest.mark.parametrize(("edge", "tried"), [(0.0, {0, 2, "auto"}), (9.0, {0, 2}), (None, {0})])
def test_factors_that_are_not_there_are_not_tried(
    make_dataset: Any, tmp_path: Path, edge: float | None, tried: set[Any]
) -> None:
    dataset = make_dataset()
    if edge is not None:
        store_random_factors(dataset, tmp_path / "scratch", columns=2, null_edge=edge)
    space = Space((Domain("model.factors", "choice", (0, "auto", 2, 3)), Domain("run.seed", "randint", (0, 1000))))
    limits = DataLimits(dataset, space, BASE)
    drawn = draw(space, BASE, trials=60, possible=limits.allow)
    assert {one["model.factors"] for one in drawn} == tried
    assert len(limits.reasons) == 4 - len(tried)
    # Where nothing else is offered, auto is what the base says, and may come to none.
    only = Space((Domain("run.seed", "randint", (0, 1000)),))
    assert len(draw(only, BASE, trials=5, possible=DataLimits(dataset, only, BASE).allow)) == 5


@pytest.mark.parametrize("unclear", [0, 100])
def test_the_space_that_compares_methods_draws_runs_that_can_be(make_dataset: Any, unclear: int) -> None:
    dataset = make_dataset(unclear=unclear)
    space = read_space(str(Path(__file__).parents[3] / CHOOSE_SPACE), BASE)
    limits = DataLimits(dataset, space, BASE)
    first, *drawn = draw(space, BASE, trials=60, possible=limits.allow)
    assert with_settings(BASE, first).method == NoneConfig()
    assert with_settings(BASE, first).model.factors == 0
    assert len(drawn) == 59
    methods = {"none", "ns", "idl", "ig"} | ({"ordinal"} if unclear else set())
    assert {one["method.name"] for one in drawn} == methods
    sources = {with_settings(BASE, one).unlabelled.source for one in drawn}
    assert sources == ({"sampled", "logged"} if unclear else {"sampled"})
