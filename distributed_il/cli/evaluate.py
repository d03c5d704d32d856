"""`distributed-il evaluate`: a trained model, measured again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distributed_il.cli.metric_table import metric_table
from distributed_il.cli.options import find_own_code, read_options

if TYPE_CHECKING:
    from distributed_il.inference.evaluate import EvaluateConfig

ABOUT = "Measures a trained model again on a split of the dataset that it was trained on."


def read(argv: Sequence[str]) -> EvaluateConfig:
    """The measurement, as the arguments describe it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: A setting is unknown, missing or wrong.
    """
    from distributed_il.inference.evaluate import EvaluateConfig

    return EvaluateConfig(**read_options("evaluate", ABOUT, argv, lambda _: {"": EvaluateConfig}))


def run(argv: Sequence[str]) -> None:
    """Evaluates a checkpoint and prints its metrics beside the trivial rows.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: See `distributed_il.inference.evaluate.evaluate`.
    """
    from distributed_il.inference.evaluate import evaluate

    config = read(argv)
    find_own_code()
    result = evaluate(config)
    print(metric_table(config.split, {f"{config.checkpoint} checkpoint": result[config.split], **result["trivial"]}))
