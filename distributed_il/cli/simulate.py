"""`distributed-il simulate`: a dataset of micro-video logs, with the truth behind every watch beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distributed_il.cli.options import read_options
from distributed_il.core.progress import ProgressLine

if TYPE_CHECKING:
    from distributed_il.data.prepare.simulate.simulator import SimulateConfig

ABOUT = "Simulates micro-video logs as a dataset, with the true preference behind every watch beside it."


def read(argv: Sequence[str]) -> SimulateConfig:
    """The dataset to be simulated, as the arguments describe it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: A setting is unknown, missing or wrong.
    """
    from distributed_il.data.prepare.simulate.simulator import SimulateConfig

    return SimulateConfig(**read_options("simulate", ABOUT, argv, lambda _: {"": SimulateConfig}))


def run(argv: Sequence[str]) -> None:
    """Simulates a dataset and says what there is to learn in it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: See `distributed_il.data.prepare.simulate.simulator.simulate`.
    """
    from distributed_il.data.prepare.simulate.simulator import simulate
    from distributed_il.evaluation.simulation_oracle import report

    config = read(argv)
    with ProgressLine() as line:
        simulation = simulate(config, line.update_stage)
        shown = report(simulation)
    print(shown.summary())
    print(f"\nNext: distributed-il train --data.path={config.output} --run.dir=DIR")
