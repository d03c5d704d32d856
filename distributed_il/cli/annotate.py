"""`distributed-il annotate`: w1 and w0 of unclear pairs, by a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distributed_il.cli.metric_table import answer_line
from distributed_il.cli.options import find_own_code, read_options
from distributed_il.core.progress import ProgressLine

if TYPE_CHECKING:
    from distributed_il.inference.config import AnnotateConfig

ABOUT = (
    "Annotates unclear pairs by a trained model: Parquet of w1, w0 and ŷ (Eq. 4), in external ids. Where user or "
    "item has no labelled training row, the item's mean answers, or the overall one."
)


def read(argv: Sequence[str]) -> AnnotateConfig:
    """What to annotate, as the arguments describe it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: A setting is unknown, missing or wrong.
    """
    from distributed_il.inference.config import AnnotateConfig

    return AnnotateConfig(**read_options("annotate", ABOUT, argv, lambda _: {"": AnnotateConfig}))


def run(argv: Sequence[str]) -> None:
    """Annotates, and says where the result is.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: See `distributed_il.runtime.batch_inference.annotate`.
    """
    config = read(argv)
    find_own_code()
    from distributed_il.runtime.batch_inference import annotate

    with ProgressLine() as line:
        counts = annotate(config, line.update_stage)
    print(answer_line(config.output, counts))
