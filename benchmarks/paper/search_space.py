"""What Table 2 compares: both backbones × its six methods and two rows with exposure factors, and their settings."""

from __future__ import annotations

from typing import Any, Literal

Setting = dict[str, dict[str, Any]]
"""Sections of a run's configuration: `model`, `optimizer`, `method`."""

BACKBONES = ("gmf", "neumf")
METHODS = ("none", "ns", "t_ce", "r_ce", "idl", "ig")
"""The paper's."""
FACTORED = {"factors": "none", "factors_ordinal": "ordinal"}
"""Method of each row with exposure factors."""
ROWS = (*METHODS, *FACTORED)
BATCH_SIZE = 1024
MAX_ROUNDS = 30
PATIENCE = 3

GRADUAL_STEPS = 1_000
"""Steps over which a tuned T-CE reaches its rate, the shortest published: longer ones outlast most runs."""

Log = Literal["ml1m", "micro_video"]
"""MovieLens-1M, or simulated micro-video logs."""

# Learning rate, weight decay, missed steps; the first ones are what a method with a setting of its own is tuned with.
# Rows of the micro-video logs are touched seldom: with a decay of 3e-6 and above they shrink to nothing.
OPTIMIZERS: dict[tuple[Log, str], tuple[tuple[float, float, str], ...]] = {
    ("ml1m", "gmf"): (
        (1e-3, 1e-5, "catch_up"),
        (1e-3, 5e-6, "catch_up"),
        (1e-3, 5e-6, "skip"),
        (1e-3, 1e-5, "skip"),
        (5e-4, 1e-5, "catch_up"),
        (2e-3, 1e-5, "catch_up"),
    ),
    ("ml1m", "neumf"): (
        (1e-3, 2e-6, "skip"),
        (1e-3, 1e-6, "skip"),
        (1e-3, 5e-6, "skip"),
        (1e-3, 2e-6, "catch_up"),
        (5e-4, 2e-6, "skip"),
        (2e-3, 2e-6, "skip"),
    ),
    ("micro_video", "gmf"): (
        (1e-3, 1e-6, "catch_up"),
        (3e-3, 1e-6, "catch_up"),
        (1e-3, 3e-7, "catch_up"),
        (1e-3, 1e-6, "skip"),
        (1e-3, 2e-6, "catch_up"),
        (2e-3, 1e-6, "catch_up"),
    ),
    ("micro_video", "neumf"): (
        (1e-3, 1e-6, "catch_up"),
        (3e-4, 1e-6, "catch_up"),
        (1e-3, 3e-7, "catch_up"),
        (1e-3, 1e-6, "skip"),
        (1e-3, 2e-6, "catch_up"),
        (2e-3, 1e-6, "catch_up"),
    ),
}
PAPER_RATES: dict[Log, float] = {"ml1m": 1e-4, "micro_video": 1e-5}
"""The paper's γ; α is a tenth of it."""

# The values of each method's own setting, each tried with the first two optimisers.
KNOBS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "ns": ("unlabelled_weight", (0.1, 0.3, 1.0)),
    "t_ce": ("max_drop_rate", (0.05, 0.1, 0.2)),
    "r_ce": ("exponent", (0.05, 0.1, 0.3)),
    "idl": ("unlabelled_weight", (0.1, 0.3, 1.0)),
    "ig": ("dual_learning_rate", (1e-5, 3e-5, 1e-4)),
    "factors": ("factor_decay", (1e-4, 3e-4, 1e-3)),
    "factors_ordinal": ("unlabelled_weight", (0.3, 0.1, 1.0)),
}

# NeuMF overfits within three rounds, and the training-test rows are the last ones of every round: with a tenth of the
# rows there, it fits them at the cost of the others, even where α is next to nothing. So their share is tuned as well.
NEUMF_TEST_SHARES = (0.1, 0.3, 0.5)
NEUMF_ALPHAS = (1e-5, 1e-4)


def paper_setting(backbone: str, method: str, log: Log) -> Setting:
    """The paper's settings: γ as in `PAPER_RATES`, no weight decay; methods' own settings as in their papers.

    Args:
        backbone: One of `BACKBONES`.
        method: One of `METHODS`.
        log: What is trained on.
    """
    rate = PAPER_RATES[log]
    own = {"dual_learning_rate": rate / 10} if method == "ig" else {}
    return _setting(backbone, (rate, 0.0, "skip"), method, own)


def candidates(backbone: str, method: str, log: Log) -> tuple[Setting, ...]:
    """The six settings that a row is tuned over: six optimisers, or two optimisers × three values of its own.

    Args:
        backbone: One of `BACKBONES`.
        method: One of `ROWS`.
        log: What is trained on.
    """
    optimizers = OPTIMIZERS[log, backbone]
    if (log, backbone, method) == ("ml1m", "neumf", "ig"):
        return tuple(
            _setting(backbone, optimizers[0], method, {"dual_learning_rate": alpha, "test_share": share})
            for share in NEUMF_TEST_SHARES
            for alpha in NEUMF_ALPHAS
        )
    if method not in KNOBS:
        return tuple(_setting(backbone, optimizer, method, {}) for optimizer in optimizers)
    name, values = KNOBS[method]
    fixed = {"num_gradual_steps": GRADUAL_STEPS} if method == "t_ce" else {}
    return tuple(
        _setting(backbone, optimizer, method, {name: value, **fixed})
        for optimizer in optimizers[:2]
        for value in values
    )


def describe(setting: Setting) -> str:
    """A setting in a few words.

    Args:
        setting: As `candidates` gives it.
    """
    optimizer = setting["optimizer"]
    numbers = {**setting["model"], **setting["method"]}
    own = [f"{name} {value:g}" for name, value in numbers.items() if not isinstance(value, str) and name != "factors"]
    parts = [f"γ {optimizer['learning_rate']:g}", f"λ {optimizer['weight_decay']:g}", optimizer["missed_steps"], *own]
    return ", ".join(parts)


def _setting(backbone: str, optimizer: tuple[float, float, str], method: str, own: dict[str, Any]) -> Setting:
    rate, decay, missed = optimizer
    factors = "auto" if method in FACTORED else 0
    of_model = {name: value for name, value in own.items() if name == "factor_decay"}
    of_method = {name: value for name, value in own.items() if name not in of_model}
    return {
        "model": {"backbone": backbone, "factors": factors, **of_model},
        "optimizer": {"learning_rate": rate, "weight_decay": decay, "missed_steps": missed},
        "method": {"name": FACTORED.get(method, method), **of_method},
    }
