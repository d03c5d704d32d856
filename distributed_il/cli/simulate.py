"""`distributed-il simulate`: a dataset of micro-video logs, with the truth behind every watch beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distributed_il.cli.command import ConfigCommand
from distributed_il.core.progress import ProgressLine

if TYPE_CHECKING:
    from distributed_il.data.prepare.simulate.simulator import SimulateConfig


def _simulate(config: SimulateConfig) -> None:
    from distributed_il.data.prepare.simulate.simulator import simulate
    from distributed_il.evaluation.simulation_oracle import simulation_report

    with ProgressLine() as line:
        simulation = simulate(config, line.update_stage)
        shown = simulation_report(simulation, line.update_stage)
    print(shown.summary())
    print(f"\nNext: distributed-il train --data.path={config.output} --run.dir=DIR")


SIMULATE = ConfigCommand(
    "simulate",
    "Simulates micro-video logs as a dataset, with the true preference behind every watch beside it.",
    "distributed_il.data.prepare.simulate.simulator:SimulateConfig",
    _simulate,
)
