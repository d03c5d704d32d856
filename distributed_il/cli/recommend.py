"""`distributed-il recommend`: the best items of users, by a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distributed_il.cli.metric_table import answer_line
from distributed_il.cli.options import find_own_code, read_options
from distributed_il.core.progress import ProgressLine

if TYPE_CHECKING:
    from distributed_il.inference.config import RecommendConfig

ABOUT = (
    "Finds the best items of all or given users, exactly, by a trained model: Parquet of user, rank, item, ŷ and who "
    "answered, in external ids. A user without labelled training rows gets the items of the highest means."
)


def read(argv: Sequence[str]) -> RecommendConfig:
    """What to recommend, as the arguments describe it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: A setting is unknown, missing or wrong.
    """
    from distributed_il.inference.config import RecommendConfig

    return RecommendConfig(**read_options("recommend", ABOUT, argv, lambda _: {"": RecommendConfig}))


def run(argv: Sequence[str]) -> None:
    """Recommends, and says where the result is.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: See `distributed_il.runtime.batch_inference.recommend`.
    """
    config = read(argv)
    find_own_code()
    from distributed_il.runtime.batch_inference import recommend

    with ProgressLine() as line:
        counts = recommend(config, line.update_stage)
    print(answer_line(config.output, counts))
