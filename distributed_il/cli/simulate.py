"""`distributed-il simulate`: a dataset of micro-video logs, with the truth behind every watch beside it."""

from __future__ import annotations

from collections.abc import Sequence

from distributed_il.cli.options import read_options
from distributed_il.cli.stage_line import StageLine

ABOUT = "Simulates micro-video logs as a dataset, with the true preference behind every watch beside it."


def run(argv: Sequence[str]) -> None:
    """Simulates a dataset and says what there is to learn in it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: See `distributed_il.prepare.simulator.simulate`.
    """
    from distributed_il.prepare.simulator import SimulateConfig, simulate

    config = SimulateConfig(**read_options("simulate", ABOUT, argv, lambda _: {"": SimulateConfig}))
    with StageLine() as line:
        report = simulate(config, line.update)
    print(report.summary())
    print(f"\nNext: distributed-il train --data.path={config.output} --run.dir=DIR")
