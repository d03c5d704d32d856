"""`distributed-il score`: ŷ of pairs, by a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distributed_il.cli.metric_table import answer_line
from distributed_il.cli.options import find_own_code, read_options
from distributed_il.core.progress import ProgressLine

if TYPE_CHECKING:
    from distributed_il.inference.config import ScoreConfig

ABOUT = (
    "Scores pairs by a trained model: Parquet of user, item, ŷ and who answered, in external ids. Where user or "
    "item has no labelled training row, the item's mean answers, or the overall one."
)


def read(argv: Sequence[str]) -> ScoreConfig:
    """What to score, as the arguments describe it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: A setting is unknown, missing or wrong.
    """
    from distributed_il.inference.config import ScoreConfig

    return ScoreConfig(**read_options("score", ABOUT, argv, lambda _: {"": ScoreConfig}))


def run(argv: Sequence[str]) -> None:
    """Scores, and says where the result is.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: See `distributed_il.runtime.batch_inference.score`.
    """
    config = read(argv)
    find_own_code()
    from distributed_il.runtime.batch_inference import score

    with ProgressLine() as line:
        counts = score(config, line.update_stage)
    print(answer_line(config.output, counts))
