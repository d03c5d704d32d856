"""How do steps scale with workers, and when do sharded tables overtake replicated ones?

Times collectives and steps of one to four gloo ranks on loopback, without Ray, fits a cost model to them, tells its
error on world sizes that the fit did not see, and draws rows a second to 64 workers of one core each.

    python -m benchmarks.cost_model
"""

from __future__ import annotations

import datetime
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from benchmarks.steps.gloo_ranks import RankGroup
from benchmarks.steps.rank_steps import (
    KINDS,
    Case,
    Catalogue,
    Phase,
    Tables,
    prepare_steps,
    time_collective,
    time_steps,
)
from benchmarks.steps.scaling_curve import TABLES, Curve, crossing, draw_curves, predicted_curve
from benchmarks.steps.step_model import CollectiveTime, Network, StepModel, StepTime, fit
from benchmarks.steps.step_traffic import touched_rows, traffic

NETWORKS = {
    "loopback": Network(),
    "10gbit_50us": Network(latency_s=50e-6, bytes_per_s=1.25e9),
}
"""For the curve. On loopback: as measured here, but with a core for every worker."""
SHOWN_WORKERS = (1, 4, 16, 64)
"""Of the curve, in the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is timed, and how far the curve goes."""

    backbones: tuple[str, ...] = ("gmf", "neumf")
    """Backbones."""
    batches: tuple[int, ...] = (1024, 8192)
    """Labelled rows of a rank and step."""
    world_sizes: tuple[int, ...] = (1, 2, 3, 4)
    """Ranks, 1 among them."""
    sizes: tuple[int, ...] = (96, 12 << 10, 192 << 10, 3 << 19, 12 << 20)
    """Bytes of a rank in the timed collectives, multiples of 12: two or three others get whole numbers."""
    users: int = 37_692
    """Rows of the user table."""
    items: int = 131_690
    """Rows of the item table."""
    windows: int = 2
    """Windows of different batches, as many as a run makes at one go."""
    repeats: int = 5
    """Windows of each kind of step, and rounds of collectives, that are timed."""
    most_workers: int = 64
    """End of the curve."""

    @property
    def cases(self) -> list[Case]:
        """Kinds of steps; those of a backbone stand together, for its tables are made once."""
        phases: tuple[Phase, ...] = ("plain", "inverse")
        return [Case(*parts) for parts in itertools.product(self.backbones, phases, self.batches)]

    @property
    def catalogue(self) -> Catalogue:
        """Users and items."""
        return Catalogue(self.users, self.items)


Groups = Mapping[int, RankGroup]
Key = tuple[Case, Tables, int]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was timed, repeat by repeat.

    Attributes:
        collectives: Seconds by kind, ranks and bytes.
        steps: Seconds by case, tables and ranks; of one rank under `replicated` alone.
        towers: Parameters of each backbone's tower.
    """

    collectives: dict[tuple[str, int, int], list[float]]
    steps: dict[Key, list[float]]
    towers: dict[str, int]


def measure(plan: Plan, groups: Groups) -> Measured:
    """Times everything in turns: all world sizes in each, so that a slow moment falls on all of them.

    Args:
        plan: What to time.
        groups: Ranks by world size.
    """
    found = Measured({}, {}, {})
    several = [world_size for world_size in plan.world_sizes if world_size > 1]
    for _, size, kind, world_size in itertools.product(range(plan.repeats), plan.sizes, KINDS, several):
        calls = max(3, min(100, (4 << 20) // size))
        seconds = max(groups[world_size].run(time_collective, kind, size, calls))
        found.collectives.setdefault((kind, world_size, size), []).append(seconds)
    for case in plan.cases:
        ways: list[tuple[int, Tables]] = [
            (world_size, tables) for world_size in plan.world_sizes for tables in _tables(world_size)
        ]
        for world_size, tables in ways:
            arguments = (plan.catalogue, case, tables, plan.windows)
            found.towers[case.backbone] = groups[world_size].run(prepare_steps, *arguments)[0]
        for turn in range(plan.repeats):
            for world_size, tables in ways:
                seconds = max(step for step, _ in groups[world_size].run(time_steps, tables, turn))
                found.steps.setdefault((case, tables, world_size), []).append(seconds)
    return found


def _tables(world_size: int) -> tuple[Tables, ...]:
    """One rank keeps all rows either way."""
    return TABLES if world_size > 1 else TABLES[:1]


def observations(plan: Plan, measured: Measured) -> tuple[list[CollectiveTime], list[StepTime]]:
    """Medians, as the fit takes them.

    Args:
        plan: What was timed.
        measured: The times.
    """
    collectives = [
        CollectiveTime(kind, world_size, size, Figure(measured.collectives[kind, world_size, size]).median)
        for kind in KINDS
        for world_size in plan.world_sizes
        for size in plan.sizes
        if world_size > 1
    ]
    steps: list[StepTime] = []
    for (case, tables, world_size), seconds in measured.steps.items():
        rows = touched_rows(plan.catalogue, case.batch, world_size)
        added = traffic(case, tables, world_size, measured.towers[case.backbone], *rows)
        steps.append(StepTime(case, tables, world_size, added, Figure(seconds).median))
    return collectives, steps


def held_out_errors(
    collectives: Sequence[CollectiveTime], steps: Sequence[StepTime], cores: int
) -> dict[tuple[int, Case, Tables], float]:
    """Predicted over measured step, less 1, for each world size by a fit that saw nothing of that size.

    Args:
        collectives: All measured ones.
        steps: All measured ones.
        cores: That the ranks shared.
    """
    errors: dict[tuple[int, Case, Tables], float] = {}
    for held_out in sorted({step.world_size for step in steps}):
        model = fit(
            [time for time in collectives if time.world_size != held_out],
            [step for step in steps if step.world_size != held_out],
            cores,
        )
        for step in steps:
            if step.world_size == held_out:
                seconds = model.step_s(step.case, step.traffic, held_out)
                errors[held_out, step.case, step.tables] = seconds / step.seconds - 1
    return errors


Curves = dict[tuple[str, int, str], dict[Tables, Curve]]


def all_curves(plan: Plan, model: StepModel, towers: Mapping[str, int]) -> Curves:
    """Predicted rows a second by backbone, batch and network, for replicated and for sharded tables.

    Args:
        plan: How far.
        model: Fitted to all that was measured.
        towers: Parameters of each backbone's tower.
    """
    workers = range(1, plan.most_workers + 1)
    return {
        (backbone, batch, name): {
            tables: predicted_curve(model, plan.catalogue, backbone, batch, tables, towers[backbone], network, workers)
            for tables in TABLES
        }
        for backbone, batch, (name, network) in itertools.product(plan.backbones, plan.batches, NETWORKS.items())
    }


def figures_of(
    plan: Plan, measured: Measured, model: StepModel, errors: Mapping[tuple[int, Case, Tables], float], curves: Curves
) -> dict[str, Figure]:
    """Errors and crossings first, then the curve, then what was measured.

    Args:
        plan: What was timed.
        measured: The times.
        model: Fitted to all of them.
        errors: From `held_out_errors`.
        curves: From `all_curves`.
    """
    figures: dict[str, Figure] = {}
    for held_out in plan.world_sizes:
        of_size = [abs(error) for (world_size, _, _), error in errors.items() if world_size == held_out]
        figures[f"held_out_error_{held_out}_workers"] = Figure(of_size)
    for (backbone, batch, network), curve in curves.items():
        workers = crossing(curve["replicated"], curve["sharded"])
        if workers is not None:
            figures[f"crossing_{backbone}_batch_{batch}_{network}_workers"] = Figure([workers])
    for (backbone, batch, network), ways in curves.items():
        for tables, workers in itertools.product(TABLES, SHOWN_WORKERS):
            if workers <= plan.most_workers:
                name = f"predicted_{backbone}_batch_{batch}_{network}_{tables}_{workers}_workers_rows_per_s"
                figures[name] = Figure([ways[tables][workers]])
    figures |= dict(_parameters(model))
    for (case, tables, world_size), seconds in measured.steps.items():
        figures[f"step_{case.name}_{tables}_{world_size}_workers_ms"] = Figure([1e3 * value for value in seconds])
    for (kind, world_size, size), seconds in measured.collectives.items():
        figures[f"{kind}_{size}_bytes_{world_size}_workers_ms"] = Figure([1e3 * value for value in seconds])
    return figures


def _parameters(model: StepModel) -> Iterator[tuple[str, Figure]]:
    for kind, (per_call, per_hop, per_byte) in model.collectives.items():
        yield f"fitted_{kind}_call_us", Figure([1e6 * per_call])
        yield f"fitted_{kind}_hop_us", Figure([1e6 * per_hop])
        yield f"fitted_{kind}_byte_ns", Figure([1e9 * per_byte])
    names = ("wait_us", "row_reduced_ns", "byte_reduced_ns", "byte_updated_ns")
    for name, scale, value in zip(names, (1e6, 1e9, 1e9, 1e9), model.added, strict=True):
        yield f"fitted_{name}", Figure([scale * value])
    for case, seconds in model.alone.items():
        yield f"fitted_{case.name}_ms", Figure([1e3 * seconds])


def answer(figures: Mapping[str, Figure], curves: Curves) -> str:
    """What the figures say.

    Args:
        figures: From `figures_of`.
        curves: From `all_curves`.
    """
    errors = {name.split("_")[3]: figure for name, figure in figures.items() if name.startswith("held_out_error")}
    error = ", ".join(f"{figure.median:.0%} with {ranks}" for ranks, figure in errors.items())
    most = max(max(figure.repeats) for figure in errors.values())
    crossings = [
        f"{backbone} {batch:,} {network}: {crossing(curve['replicated'], curve['sharded']) or 'never'}"
        for (backbone, batch, network), curve in curves.items()
    ]
    return (
        f"Workers held out of the fit are missed by {error} (median over cases; at most {most:.0%}). Sharded tables "
        f"are the faster ones from so many workers on: {'; '.join(crossings)}."
    )


def main() -> None:
    """Measures, fits, prints and writes the report and the picture."""
    arguments = command_line(__doc__).parse_args()
    start_as_worker()
    plan = Plan()
    if arguments.quick:
        plan = Plan(backbones=("gmf",), batches=(1024,), sizes=(96, 192 << 10, 3 << 19), repeats=2, most_workers=16)
    with ExitStack() as stack:
        groups = {size: stack.enter_context(RankGroup(size)) for size in plan.world_sizes}
        measured = measure(plan, groups)
    cores = len(os.sched_getaffinity(0))
    collectives, steps = observations(plan, measured)
    errors, model = held_out_errors(collectives, steps, cores), fit(collectives, steps, cores)
    curves = all_curves(plan, model, measured.towers)
    figures = figures_of(plan, measured, model, errors, curves)
    name = f"cost_model-{datetime.date.today().isoformat()}.png"
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    panels = {f"{backbone} {batch:,}, {network}": ways for (backbone, batch, network), ways in curves.items()}
    draw_curves(panels, Path(arguments.out, name))
    Result(
        name="cost_model",
        question="How do steps scale with workers, and when do sharded tables overtake replicated ones?",
        answer=answer(figures, curves),
        command="python -m benchmarks.cost_model" + (" --quick" if arguments.quick else ""),
        config=asdict(plan) | {f"network_{key}": asdict(value) for key, value in NETWORKS.items()} | {"cores": cores},
        figures=figures,
        notes=(
            f"![rows a second over workers]({name})",
            "Steps are eager, of GMF or NeuMF with embedding 32, on batches made ahead, without Ray; repeats are "
            "windows of 64 or 8 steps, in turns over all numbers of ranks. The model is in benchmarks/step_model.py, "
            "the counts of collectives, bytes and rows in benchmarks/step_traffic.py.",
            f"More ranks than the {cores} cores take turns: their times are counted as ranks / cores times as long.",
            "held_out_error: |predicted / measured − 1| of the steps with so many ranks, by a fit to all the other "
            "numbers of ranks; its repeats are cases, replicated and sharded. One rank held out is the step without "
            "exchange, told from steps with exchange.",
            "predicted: rows a second over all workers in a round of inverse gradient (a tenth of the rows in inverse "
            "steps), with a core for every worker. loopback: collectives as measured here, without the wait for a "
            "core. 10gbit_50us: 50 µs more for each hop of a ring (an all_to_all: once) and 1.25 GB a second at the "
            "most. Beyond four workers this is extrapolation.",
            "crossing: the least number of workers from which on sharded is faster up to the end of the curve; no "
            "figure where there is none.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
