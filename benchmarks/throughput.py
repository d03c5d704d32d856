r"""What does streaming cost a training run?

Trains the same runs in turns: with all batches made before the clock starts (bare), with files read by pyarrow in
processes of torch.distributed, and as a run is launched, on Ray Data and Ray Train (stream). Each run has fresh
processes. Rows a second are those of the passes; start, validation and checkpoints stand beside them. GMF takes the
whole preset, so that a pass is long beside its beginning; NeuMF takes a part of it in the repeats, so that they can be
many, and the whole once.

    distributed-il simulate --preset micro-video --output WHOLE_DIR
    distributed-il simulate --preset micro-video --num_positives 1300000 --num_negatives 1200000 --num_unclear 0 \
        --output PART_DIR
    python -m benchmarks.throughput --data PART_DIR --whole-data WHOLE_DIR --journal FILE

It takes an hour or two. With `--journal` a run that has ended is kept in that file, and the same command goes on from
there, with more `--repeats` too; its runs are still those of one machine and one commit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tqdm import tqdm

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.machine import machine_facts
from benchmarks.common.measuring import ratios
from benchmarks.common.result import Figure, Result
from benchmarks.common.run_journal import Run, RunJournal
from benchmarks.common.training_ranks import Speed, Way, run_way
from distributed_il.core.config import TrainConfig, config_from_dict
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset

ALONE_LEAST = 0.85
"""Stream over bare with one worker."""
SHARED_LEAST = {"gmf": 0.65, "neumf": 0.80}
"""Stream over bare with two workers on two cores, by backbone."""
RAY_LEAST = 0.95
"""Stream over pyarrow with torch.distributed."""
SECOND_LEAST = {1024: 1.15, 8192: 1.35}
"""NeuMF with two workers over one, by batch of a worker."""

Kind = Way | Literal["stream_sharded"]
"""How rows reach the steps; `stream_sharded` is `stream` with sharded tables, by several workers alone."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is trained.

    Attributes:
        backbone: `gmf` or `neumf`.
        method: `none` or `ig`.
        batch_size: Labelled rows of a worker and step.
        ways: How rows reach the steps.
        rounds: Rounds of a run.
        whole: Whether it takes the whole preset.
        repeats: Runs of each kind, at most.
    """

    backbone: str
    method: str
    batch_size: int = 1024
    ways: tuple[Kind, ...] = ("bare", "torch_distributed", "stream")
    rounds: int = 1
    whole: bool = False
    repeats: int = 7

    @property
    def name(self) -> str:
        """Begins the names of its figures."""
        batch = "" if self.batch_size == 1024 else f"_batch_{self.batch_size}"
        return f"{self.backbone}_{self.method}{batch}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is run and how often."""

    data: str
    """Prepared dataset, a part of the preset."""
    whole_data: str
    """Prepared dataset, all of it."""
    cases: tuple[Case, ...] = (
        Case("gmf", "ig", whole=True),
        Case("neumf", "ig", ways=("bare", "torch_distributed", "stream", "stream_sharded")),
        Case("neumf", "ig", 8192, ("stream", "stream_sharded"), repeats=3),
    )
    """What is compared."""
    epochs: tuple[Case, ...] = (
        Case("gmf", "none", ways=("stream",), whole=True),
        Case("neumf", "none", ways=("stream",), whole=True),
        Case("neumf", "ig", ways=("stream",), whole=True),
    )
    """What is trained once, beside those of the comparison that take the whole."""
    workers: tuple[int, ...] = (1, 2)
    """Numbers of workers."""
    repeats: int = 7
    """Turns."""


Speeds = dict[tuple[int, Kind], list[Speed]]


def measure(plan: Plan, run: Run = run_way) -> dict[str, Figure]:
    """Runs everything in turns.

    Args:
        plan: What to run.
        run: Trains once; a test gives its own.

    Returns:
        Ratios first, then what they are made of.
    """
    found: dict[str, Speeds] = {case.name: _kinds(case, plan) for case in plan.cases}
    once: dict[str, Speeds] = {f"epoch_{case.name}": _kinds(case, plan) for case in plan.epochs}
    turns = [(case, found[case.name]) for turn in range(plan.repeats) for case in plan.cases if turn < case.repeats]
    turns += [(case, once[f"epoch_{case.name}"]) for case in plan.epochs]
    with tqdm(total=sum(len(speeds) for _, speeds in turns), unit="run") as progress:
        for case, speeds in turns:
            for (count, way), rates in speeds.items():
                with tempfile.TemporaryDirectory() as scratch:
                    data = plan.whole_data if case.whole else plan.data
                    config = _config(case, count, data, f"{scratch}/run", sharded=way == "stream_sharded")
                    rates.append(run("stream" if way == "stream_sharded" else way, config))
                said = f"{case.name}, {way}, {_workers(count)}: {rates[-1].rows_per_s:,.0f} rows/s"
                progress.set_postfix_str(said, refresh=False)
                progress.update()
    ratios_found = {name: figure for case in plan.cases for name, figure in _ratios(case, found[case.name])}
    return ratios_found | {
        name: figure for prefix, speeds in (found | once).items() for name, figure in _parts(prefix, speeds)
    }


def _kinds(case: Case, plan: Plan) -> Speeds:
    """The kinds of runs of a case, none of which has been run."""
    return {(count, way): [] for count in plan.workers for way in case.ways if count > 1 or way != "stream_sharded"}


def _config(case: Case, workers: int, data: str, run_dir: str, *, sharded: bool) -> TrainConfig:
    run = {
        "dir": run_dir,
        "workers": workers,
        "batch_size": case.batch_size,
        "max_rounds": case.rounds,
        "patience": case.rounds,
    }
    model = {"backbone": case.backbone, "factors": 0, "tables": "sharded" if sharded else "replicated"}
    method = {"name": case.method}
    return config_from_dict({"data": {"path": data}, "run": run, "model": model, "method": method})


def _ratios(case: Case, speeds: Speeds) -> Iterator[tuple[str, Figure]]:
    """Ratios of rows a second, repeat by repeat."""
    usual = case.batch_size == 1024
    for workers in sorted({workers for workers, _ in speeds}):
        least = ALONE_LEAST if workers == 1 else SHARED_LEAST.get(case.backbone)
        targets: dict[Way, float | None] = {"bare": least, "torch_distributed": RAY_LEAST}
        for way, target in targets.items():
            if (workers, way) in speeds:
                found = ratios(_rates(speeds[workers, "stream"]), _rates(speeds[workers, way]))
                name = f"{case.name}_stream_over_{way}_{_workers(workers)}"
                yield name, Figure(found, at_least=target if usual else None)
    for way in case.ways:
        alone: Kind = "stream" if way == "stream_sharded" else way
        if {(1, alone), (2, way)} <= speeds.keys():
            found = ratios(_rates(speeds[2, way]), _rates(speeds[1, alone]))
            target = SECOND_LEAST.get(case.batch_size) if (case.backbone, alone) == ("neumf", "stream") else None
            name = f"{case.backbone}_{case.method}_{way}_2_over_1_workers_batch_{case.batch_size}"
            yield name, Figure(found, at_least=target)


def _parts(name: str, speeds: Speeds) -> Iterator[tuple[str, Figure]]:
    for (workers, way), found in speeds.items():
        prefix = f"{name}_{way}_{_workers(workers)}"
        yield f"{prefix}_rows_per_s", Figure(_rates(found))
        yield f"{prefix}_data_wait_share", Figure([speed.data_wait_share for speed in found])
        yield f"{prefix}_collectives_share", Figure([speed.collectives_share for speed in found])
        yield f"{prefix}_beside_passes_s", Figure([speed.other_s for speed in found])


def _rates(speeds: Sequence[Speed]) -> list[float]:
    return [speed.rows_per_s for speed in speeds]


def _workers(count: int) -> str:
    return "1_worker" if count == 1 else f"{count}_workers"


def answer(figures: dict[str, Figure]) -> str:
    """What the figures say.

    Args:
        figures: From `measure`.
    """
    asked = {name: figure for name, figure in figures.items() if figure.met is not None}
    missed = [f"{name} ({figure.median:.3f})" for name, figure in asked.items() if not figure.met]
    if not missed:
        return f"All {len(asked)} targets are met."
    return f"{len(asked) - len(missed)} of {len(asked)} targets are met; missed: {', '.join(missed)}."


def main() -> None:
    """Measures, prints and writes the report."""
    parser = command_line(__doc__)
    parser.add_argument("--data", required=True, help="prepared dataset of the repeats")
    parser.add_argument("--whole-data", help="prepared dataset of the whole preset; by default the same")
    parser.add_argument("--repeats", type=int, default=Plan.repeats, help="turns")
    parser.add_argument("--journal", help="file of the runs that have ended; goes on from there")
    arguments = parser.parse_args()
    start_as_worker()
    plan = Plan(data=arguments.data, whole_data=arguments.whole_data or arguments.data, repeats=arguments.repeats)
    if arguments.quick:
        plan = replace(plan, cases=(Case("gmf", "ig", rounds=2),), epochs=(), workers=(1,), repeats=1)
    config = _describe(plan)
    run, earlier = run_way, 0
    if arguments.journal is not None:
        try:
            journal = RunJournal(arguments.journal, config | machine_facts())
        except UserError as error:
            parser.error(str(error))
        run, earlier = journal.resumed(run_way), len(journal)
    figures = measure(plan, run)
    Result(
        name="throughput",
        question="What does streaming cost a training run?",
        answer=answer(figures),
        command="python -m benchmarks.throughput --data PART_DIR"
        + (" --quick" if arguments.quick else f" --whole-data WHOLE_DIR --repeats {plan.repeats}"),
        config=config,
        figures=figures,
        notes=(
            "Ratios compare runs of the same repeat. Rows a second count the passes of all rounds; the first reading "
            "of a run starts Ray Data's processes before them, later ones start behind the validation.",
            "gmf_ig takes the whole preset, so that its stream runs are epochs of it; neumf_ig takes a part of it, and "
            "the whole as epoch_neumf_ig.",
            "bare: batches made before the clock starts. Workers exchange through memory in all ways: with two, bare "
            "is the step with its exchange. stream_sharded: stream, each worker with its share of the rows; its ratio "
            "is over one worker's stream. "
            "torch_distributed: blocks read by pyarrow in the training process, batches made in the prefetch thread. "
            "stream: Ray Data and Ray Train, as `distributed-il train`.",
            "So torch_distributed under bare is what reading and making batches cost the step, stream under "
            "torch_distributed what Ray costs.",
            *([f"{earlier} runs are of earlier sittings."] if earlier else []),
        ),
    ).publish(arguments.out)


def _describe(plan: Plan) -> dict[str, Any]:
    facts: dict[str, Any] = {"cases": [case.name for case in plan.cases], "workers": list(plan.workers)}
    facts |= {"rounds": [case.rounds for case in plan.cases], "batch": [case.batch_size for case in plan.cases]}
    for name, path in (("data", plan.data), ("whole_data", plan.whole_data)):
        dataset = Dataset.open(path)
        facts[f"{name}_training_rows"] = dataset.rows("train")
        facts[f"{name}_fingerprint"] = dataset.fingerprint[:12]
    return facts


if __name__ == "__main__":
    main()
