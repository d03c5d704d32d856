r"""What does an inverse step cost beside a plain one, beside the dense way, and in large tables?

And what does a plain step cost with exposure factors, and with unclear pairs beside its labelled rows?

Takes steps by turns on models of several sizes, with batches and index plans made ahead as a run's prefetch thread
makes them: no Ray, no files, no other process. Each model takes plain and inverse steps, eager and compiled, and the
dense way its own inverse steps.

    python -m benchmarks.step
    python -m benchmarks.step --device cuda
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.measuring import interleaved_seconds, ratios
from benchmarks.common.peak_memory import PeakMemory
from benchmarks.common.result import Figure, Result
from benchmarks.steps.dense_process import DenseProcess, plain_environment
from benchmarks.steps.plain_cases import KINDS, PlainCase
from benchmarks.steps.step_cases import MODES, STEPS, Mode, Size, StepCase, wait_for
from distributed_il.core.process import process_environment
from distributed_il.data.loading.loader import window_steps

IG_OVER_PLAIN_MOST = {
    ("gmf", "eager"): 2.6,
    ("gmf", "compiled"): 1.6,
    ("neumf", "eager"): 2.5,
    ("neumf", "compiled"): 2.5,
}
"""Inverse over plain step, batch 1,024, tables of 170,000 rows."""
OVER_NONE_MOST = {
    ("none_with_factors", "eager"): 1.15,
    ("none_with_factors", "compiled"): 1.25,
    ("ordinal_with_factors_1_pair", "eager"): 1.8,
    ("ordinal_with_factors_1_pair", "compiled"): 1.8,
    ("ordinal_with_factors_2_pairs", "eager"): 2.6,
    ("ordinal_with_factors_2_pairs", "compiled"): 2.6,
}
"""Step of method and 16 exposure factors over a step of `none` without factors, batch 1,024, tables of 170,000 rows."""
DENSE_LEAST = {("gmf", "170k"): 100.0, ("neumf", "170k"): 60.0, ("gmf", "2m"): 1000.0, ("neumf", "2m"): 1000.0}
"""Dense way over our inverse step."""
LARGE_MOST = 1.5
"""Step in tables of 20 million rows over step in tables of 10,000."""
MEMORY_MOST = 64 * 2**20
"""Bytes beyond tables and moments."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is measured and how often."""

    device: str = "cpu"
    """`cpu` or `cuda`."""
    rows: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("gmf", (10_000, 170_000, 2_000_000, 20_000_000)),
        ("neumf", (10_000, 170_000, 2_000_000)),
    )
    """Rows of both tables, by backbone."""
    batches: tuple[int, ...] = (1024, 8192)
    """Labelled rows of a step."""
    steps: int = 20
    """Steps of a timed call with batches of 1,024; larger batches take as many rows."""
    repeats: int = 15
    """Timed calls of each kind."""
    over_none: tuple[str, ...] = ("gmf", "bias_mf")
    """Backbones whose steps with factors and unclear pairs are measured beside those of `none`, batches of 1,024."""
    over_none_rows: int = 170_000
    """Rows of both tables then."""
    dense_rows: tuple[int, ...] = (10_000, 170_000, 2_000_000)
    """Sizes that the dense way is measured at, with batches of 1,024."""
    dense_repeats: int = 5
    """Dense steps of each size; ours are timed between them."""
    dense_rows_with_our_allocator: tuple[int, ...] = (10_000, 170_000)
    """Those of `dense_rows` that it is also measured at with the allocator settings of our workers. With them its NeuMF
    of 2 million rows comes to 22 GB, without them to 15."""


ON_GPU = Plan(
    device="cuda",
    rows=(("gmf", (170_000, 20_000_000)), ("neumf", (170_000, 20_000_000))),
    batches=(1024, 8192, 65_536),
    repeats=30,
    dense_rows=(170_000,),
    dense_rows_with_our_allocator=(170_000,),
)
QUICK = Plan(
    rows=(("gmf", (170_000,)), ("neumf", (170_000,))),
    batches=(1024,),
    steps=5,
    repeats=5,
    dense_rows=(170_000,),
    dense_repeats=1,
    dense_rows_with_our_allocator=(),
)


def measure(plan: Plan) -> dict[str, Figure]:
    """Takes all steps.

    Args:
        plan: What to measure.

    Returns:
        Ratios and memory first, then milliseconds and what follows from them.
    """
    device = torch.device(plan.device)
    bandwidth = copy_bandwidth(device)
    first: dict[str, Figure] = {}
    then: dict[str, Figure] = {"copy_bandwidth_bytes_per_s": Figure(bandwidth)}
    for backbone, rows in plan.rows:
        for batch in plan.batches:
            cases = [_case(Size(backbone, count, batch), device) for count in rows]
            milliseconds = _times(cases, plan)
            first |= dict(_ratios(cases, milliseconds, plan))
            then |= {name: Figure(values) for name, values in milliseconds.items()}
            then |= dict(_rates(cases, milliseconds, Figure(bandwidth).median))
            if batch == 1024:
                found, parts = _against_dense(cases, plan)
                first, then = first | found, then | parts
            del cases
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()  # other processes need the room
        first |= dict(_memory(backbone, rows, plan))
    for backbone in plan.over_none:
        found, parts = _over_none(backbone, plan)
        first, then = first | found, then | parts
    return first | then


def _over_none(backbone: str, plan: Plan) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Steps with exposure factors and with unclear pairs, by turns with those of `none` without either."""
    size = Size(backbone, plan.over_none_rows, 1024)
    cases = {name: PlainCase(size, kind, torch.device(plan.device)) for name, kind in KINDS.items()}
    for case in cases.values():
        case.compile()
    modes: list[tuple[str, Mode]] = [(name, mode) for name in KINDS for mode in MODES]
    calls = {f"{name}_{mode}": cases[name].steps(mode, plan.steps) for name, mode in modes}
    seconds = interleaved_seconds(calls, repeats=plan.repeats, warm_up=2)
    judged = plan.device == "cpu" and size.label == "170k"
    found = {
        f"{backbone}_{name}_over_none_{mode}": Figure(
            ratios(seconds[f"{name}_{mode}"], seconds[f"none_{mode}"]), OVER_NONE_MOST[name, mode] if judged else None
        )
        for name, mode in OVER_NONE_MOST
    }
    parts = {
        f"{backbone}_{name}_{size.label}_ms": Figure([1e3 * sample / plan.steps for sample in samples])
        for name, samples in seconds.items()
    }
    return found, parts


def copy_bandwidth(device: torch.device, *, repeats: int = 7) -> list[float]:
    """Bytes a second, read and written, of copying 256 MiB.

    Args:
        device: Where.
        repeats: Copies that are timed.
    """
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        wait_for(device)

    seconds = interleaved_seconds({"copy": copy}, repeats=repeats)["copy"]
    return [2 * source.nbytes / sample for sample in seconds]


def _case(size: Size, device: torch.device) -> StepCase:
    case = StepCase(size, device)
    case.compile()
    return case


def _name(size: Size, step: str, mode: str) -> str:
    return f"{size.backbone}_{step}_{mode}_{size.label}_ms"


def _times(cases: list[StepCase], plan: Plan) -> dict[str, list[float]]:
    steps = max(plan.steps * 1024 // cases[0].size.batch, 1)
    calls = {
        _name(case.size, step, mode): case.steps(step, mode, steps)
        for case in cases
        for step in STEPS
        for mode in MODES
    }
    calls |= dict(_planning(cases))
    seconds = interleaved_seconds(calls, repeats=plan.repeats, warm_up=2)
    counts = {name: window_steps(cases[0].size.batch) if "_made_ahead_" in name else steps for name in calls}
    return {name: [1e3 * sample / counts[name] for sample in samples] for name, samples in seconds.items()}


def _planning(cases: list[StepCase]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Making a window's batches with their plans, which a run does in its prefetch thread."""
    for case in cases:
        for step in STEPS:
            name = f"{case.size.backbone}_{step}_made_ahead_{case.size.label}_ms"
            yield name, lambda case=case, step=step: case.plan(case.windows[0], pairs=step == "inverse")


def _ratios(cases: list[StepCase], milliseconds: dict[str, list[float]], plan: Plan) -> Iterator[tuple[str, Figure]]:
    judged = plan.device == "cpu"
    for case in cases:
        size = case.size
        for mode in MODES:
            found = ratios(*(milliseconds[_name(size, step, mode)] for step in ("inverse", "plain")))
            usual = size.label == "170k"
            target = IG_OVER_PLAIN_MOST[size.backbone, mode] if usual and judged else None
            yield f"{size.backbone}_ig_over_plain_{mode}" + ("" if usual else f"_{size.label}"), Figure(found, target)
    smallest, largest = cases[0].size, cases[-1].size
    for step in STEPS if len(cases) > 1 else ():
        for mode in MODES:
            found = ratios(*(milliseconds[_name(size, step, mode)] for size in (largest, smallest)))
            usual = (smallest.label, largest.label) == ("10k", "20m")
            name = f"{largest.backbone}_{step}_{mode}_{largest.label}_over_{smallest.label}"
            yield name, Figure(found, LARGE_MOST if usual and judged else None)


def _rates(
    cases: list[StepCase], milliseconds: dict[str, list[float]], bandwidth: float
) -> Iterator[tuple[str, Figure]]:
    for case in cases:
        size = case.size
        for step in STEPS:
            for mode in MODES:
                samples = milliseconds[_name(size, step, mode)]
                name = f"{size.backbone}_{step}_{mode}_{size.label}"
                yield f"{name}_rows_per_s", Figure([1e3 * size.batch / sample for sample in samples])
                share = [1e3 * case.row_bytes(step) / sample / bandwidth for sample in samples]
                yield f"{name}_bandwidth_share", Figure(share)
        moved = 1 - case.decisions[1] / sum(case.decisions)
        yield f"{size.backbone}_{size.label}_share_of_inverse_steps_that_moved", Figure([moved])


def _against_dense(cases: list[StepCase], plan: Plan) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """The dense way in a process of its own, as its program finds the machine, and with our allocator."""
    found: dict[str, Figure] = {}
    parts: dict[str, Figure] = {}
    ways = (
        ("", plan.dense_rows, plain_environment(os.environ)),
        ("_with_our_allocator", plan.dense_rows_with_our_allocator, process_environment(1) | dict(os.environ)),
    )
    for case, (ending, rows, environment) in itertools.product(cases, ways):
        size = case.size
        if size.rows not in rows:
            continue
        # One after the other: at 2 million rows there is no room for both.
        with DenseProcess(size, plan.device, environment) as dense:
            dense_seconds, seconds = _by_turns(dense, case, plan)
        parts[f"{size.backbone}_inverse_dense_{size.label}{ending}_ms"] = Figure([1e3 * one for one in dense_seconds])
        for mode in MODES:
            judged = plan.device == "cpu" and mode == "compiled" and not ending
            target = DENSE_LEAST.get((size.backbone, size.label)) if judged else None
            name = f"{size.backbone}_dense_over_ours_{size.label}" + ("" if mode == "compiled" else "_eager") + ending
            found[name] = Figure(ratios(dense_seconds, seconds[mode]), at_least=target)
    return found, parts


def _by_turns(dense: DenseProcess, case: StepCase, plan: Plan) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds of dense steps, and of our steps taken between them, by mode; one process waits for the other."""
    dense_seconds: list[float] = []
    calls: dict[str, Callable[[], object]] = {"dense": lambda: dense_seconds.append(dense.step())}
    calls |= {mode: case.steps("inverse", mode, plan.steps) for mode in MODES}
    seconds = interleaved_seconds(calls, repeats=plan.dense_repeats)
    ours = {mode: [sample / plan.steps for sample in seconds[mode]] for mode in MODES}
    return dense_seconds[-plan.dense_repeats :], ours


def _memory(backbone: str, rows: tuple[int, ...], plan: Plan) -> Iterator[tuple[str, Figure]]:
    """Of eager steps, each size in a fresh process."""
    target = MEMORY_MOST if backbone == "gmf" and plan.device == "cpu" else None
    for count in rows[1:] or rows:
        size = Size(backbone, count, 1024)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            used = pool.apply(working_memory, (size, plan.device))
        yield f"{backbone}_working_memory_{size.label}_bytes", Figure([used], target)


def working_memory(size: Size, device: str) -> int:
    """Peak bytes that 100 plain and 100 inverse steps, eager, take beyond what the model and the batches occupy.

    Args:
        size: What is trained.
        device: Where.
    """
    torch.set_num_threads(1)
    case = StepCase(size, torch.device(device))
    with PeakMemory(torch.device(device)) as memory:
        for step in STEPS:
            case.steps(step, "eager", 100)()
    return memory.bytes


def answer(figures: dict[str, Figure]) -> str:
    """What the figures say.

    Args:
        figures: From `measure`.
    """
    asked = {name: figure for name, figure in figures.items() if figure.met is not None}
    missed = [f"{name} ({figure.median:.4g})" for name, figure in asked.items() if not figure.met]
    said = [
        f"{backbone.upper()} {mode}: {figures[name].median:.2f} plain steps"
        for backbone in ("gmf", "neumf")
        for mode in MODES
        if (name := f"{backbone}_ig_over_plain_{mode}") in figures
    ]
    text = f"An inverse step at 170,000 rows costs, {'; '.join(said)}."
    if not asked:
        return text
    return f"{text} {len(asked) - len(missed)} of {len(asked)} targets are met" + (
        f"; missed: {', '.join(missed)}." if missed else "."
    )


def main() -> None:
    """Measures, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the models live")
    arguments = parser.parse_args()
    start_as_worker()
    torch.set_num_threads(1)
    plan = ON_GPU if arguments.device == "cuda" else Plan()
    if arguments.quick:
        plan = dataclasses.replace(QUICK, device=arguments.device)
    figures = measure(plan)
    where = "" if arguments.device == "cpu" else f" --device {arguments.device}"
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "one thread"
    Result(
        name="step" if arguments.device == "cpu" else "step_cuda",
        question="What does an inverse step cost beside a plain one, beside the dense way, and in large tables?",
        answer=answer(figures),
        command="python -m benchmarks.step" + where + (" --quick" if arguments.quick else ""),
        config=dataclasses.asdict(plan) | {"on": device},
        figures=figures,
        notes=(
            "Batches of 1,024 where the name says nothing else, as many unlabelled pairs, ids uniform at random, "
            "embedding size 32, float32. Rows are those of both tables together.",
            "over_none: 16 exposure factors a row, and with method `ordinal` one or two unclear pairs of any user for "
            "each labelled row, over a step of `none` without factors.",
            "On a GPU, compiled steps are replayed as CUDA graphs, recorded before they are timed.",
            "Steps take batches made ahead; what making them costs a run's other thread is `made_ahead`.",
            "dense_over_ours is the dense inverse step over ours, compiled, and `_eager` over ours, eager, as a "
            "run takes it unless told otherwise. The dense way has three whole models with `nn.Embedding`, a fresh "
            "dense Adam for each candidate and one for the labelled step, on the same device; one thread each.",
            "The dense way runs in a process of its own, whose steps alternate with ours: without the allocator "
            "settings of our workers, as the published program does, and, where the name says so, with them.",
            "Working memory is the peak of resident memory over 200 eager steps less what was resident before them; on "
            "a GPU, of allocated memory.",
            "bandwidth_share: bytes of table rows that a step must read and write, by the time of a step, over what a "
            "copy of 256 MiB reaches.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
