"""How large may the dual learning rate α be beside γ? Section 4.5 and Figure 6 of the inverse learning paper.

Inverse gradient with α of 1, 10, 50 and 100 times γ on simulated micro-video logs, a tenth of the preset on every side
and by a policy with taste. The paper's bound, α < γ (Section 3.2.3), keeps the labelled loss from rising.

    python -m benchmarks.alpha_study
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.result import Figure, Result
from benchmarks.common.training_task import local_trainer
from benchmarks.feedback_value.kinds import MICRO_VIDEO_SUBSET
from distributed_il.core.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from distributed_il.core.drawing import figure_file
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare.simulate.simulator import SimulateConfig, simulate
from distributed_il.inference.config import EvaluateConfig
from distributed_il.inference.evaluate import evaluate
from distributed_il.training.monitor.figures import alpha_charts
from distributed_il.training.monitor.histories import DecisionHistory

NAME = "alpha_study"
QUESTION = "How does the training-test loss go with α of 1, 10, 50 and 100 times γ, and what is decided on the way?"
METRICS = ("auc", "gauc", "logloss")
SMALL_LOG = {
    name: size // (3 if name in ("num_users", "num_items") else 10) for name, size in MICRO_VIDEO_SUBSET.items()
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is simulated and trained."""

    log: Mapping[str, int]
    """Sizes of the simulated log, as `SimulateConfig` takes them."""
    multiples: tuple[float, ...] = (1, 10, 50, 100)
    """α / γ."""
    learning_rate: float = 1e-3
    """γ."""
    rounds: int = 8
    """At the most; training stops two rounds after its best one by validation loss."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One run: its decisions, its curve by round, and its metrics on the test split."""

    decisions: DecisionHistory
    valid: list[float]
    """Validation log loss of each round."""
    test: Mapping[str, float]


def simulated(plan: Plan, place: str) -> Dataset:
    """The log of a plan.

    Args:
        plan: Its sizes.
        place: Directory to make.
    """
    simulate(SimulateConfig(output=place, preset="micro-video", policy_strength=1.0, **plan.log))
    return Dataset.open(place)


def train(plan: Plan, dataset: Dataset, run_dir: str, multiple: float) -> Trained:
    """Trains GMF by `ig` on logged unclear watches.

    Args:
        plan: Its rates and rounds.
        dataset: The log.
        run_dir: Where checkpoints go.
        multiple: α / γ.
    """
    config = TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=run_dir, batch_size=512, max_rounds=plan.rounds, patience=2, select_by="logloss"),
        model=ModelConfig(backbone="gmf", factors=0),
        optimizer=OptimizerConfig(learning_rate=plan.learning_rate, weight_decay=1e-6, missed_steps="catch_up"),
        method=InverseGradientConfig(dual_learning_rate=multiple * plan.learning_rate),
    )
    trainer = local_trainer(config, dataset)
    trainer.fit()
    test = evaluate(EvaluateConfig(run_dir=run_dir, data=dataset.path))["test"]
    valid = [entry["logloss"] for entry in trainer.state.history]
    return Trained(trainer.telemetry.decisions, valid, {name: test[name] for name in METRICS})


def ends(decisions: DecisionHistory) -> tuple[float, float]:
    """Mean training-test loss of what was chosen, over the first and over the last tenth of all decisions.

    Args:
        decisions: Of a run.
    """
    _, losses, _ = decisions.curve()
    tenth = max(len(losses) // 10, 1)
    return float(losses[:tenth].mean()), float(losses[-tenth:].mean())


def draw(runs: Mapping[float, Trained], path: Path) -> None:
    """Draws Figure 6: loss over steps with marks by decision, a chart for each α, two beside each other.

    Args:
        runs: By α / γ.
        path: A PNG file to write.
    """
    path.write_bytes(
        figure_file(alpha_charts({f"{multiple:g}": run.decisions for multiple, run in runs.items()}), "png")
    )


def table(runs: Mapping[float, Trained]) -> str:
    """The runs as a Markdown table.

    Args:
        runs: By α / γ.
    """
    heading = ["α / γ", "direct", "skip", "inverse", "loss, first tenth", "last tenth", "valid log loss by round"]
    lines = [[*heading, *(f"test {name}" for name in METRICS)], ["---"] * (len(heading) + len(METRICS))]
    for multiple, run in runs.items():
        first, last = ends(run.decisions)
        cells = [f"{multiple:g}", *(f"{share:.1%}" for share in run.decisions.shares().values())]
        cells += [f"{first:.4f}", f"{last:.4f}", ", ".join(f"{loss:.4f}" for loss in run.valid)]
        lines.append(cells + [f"{run.test[name]:.4f}" for name in METRICS])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measure(plan: Plan) -> dict[float, Trained]:
    """Trains with every α.

    Args:
        plan: What to do.

    Returns:
        The runs, by α / γ.
    """
    with tempfile.TemporaryDirectory() as place:
        dataset = simulated(plan, f"{place}/data")
        multiples = tqdm(plan.multiples, desc="α / γ", leave=False, disable=None)
        return {multiple: train(plan, dataset, f"{place}/{multiple:g}", multiple) for multiple in multiples}


def answer(runs: Mapping[float, Trained]) -> str:
    """What the runs say.

    Args:
        runs: By α / γ.
    """
    told: list[str] = []
    for multiple, run in runs.items():
        first, last = ends(run.decisions)
        told.append(f"α = {multiple:g} γ: {first:.4f} → {last:.4f}, test AUC {run.test['auc']:.4f}")
    return f"Training-test loss from the first to the last tenth of the inverse steps. {'; '.join(told)}."


def figures(runs: Mapping[float, Trained]) -> dict[str, Figure]:
    """Losses, shares of decisions and test metrics of each run.

    Args:
        runs: By α / γ.
    """
    found: dict[str, Figure] = {}
    for multiple, run in runs.items():
        first, last = ends(run.decisions)
        values: dict[str, float] = {"loss_first_tenth": first, "loss_last_tenth": last, "valid_logloss": min(run.valid)}
        values |= {f"share_{name}": share for name, share in run.decisions.shares().items()}
        values |= {f"test_{name}": value for name, value in run.test.items()}
        found |= {f"alpha_{multiple:g}_{name}": Figure([value]) for name, value in values.items()}
    return found


def curve(run: Trained) -> dict[str, Any]:
    """Steps, losses and choices of the points that are drawn, as plain lists."""
    steps, losses, choices = run.decisions.curve()
    return {"steps": steps.tolist(), "losses": losses.tolist(), "choices": choices.tolist(), "valid": run.valid}


def main() -> None:
    """Trains, draws, prints and writes the report."""
    arguments = command_line(__doc__).parse_args()
    start_as_worker()
    torch.set_num_threads(1)
    plan = Plan(log=SMALL_LOG, rounds=2) if arguments.quick else Plan(log=MICRO_VIDEO_SUBSET)
    runs = measure(plan)
    picture = f"{NAME}-{datetime.date.today().isoformat()}.png"
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    draw(runs, Path(arguments.out, picture))
    Result(
        name=NAME,
        question=QUESTION,
        answer=answer(runs),
        command="python -m benchmarks.alpha_study" + (" --quick" if arguments.quick else ""),
        config=asdict(plan) | {"backbone": "gmf", "method": "ig", "batch_size": 512, "weight_decay": 1e-6},
        figures=figures(runs),
        notes=(
            "Simulated micro-video logs, a tenth of the preset on every side, policy strength 1, seed 0; one run of "
            "each α. Pairs are sampled, direction and test share are the defaults.",
            "direct, skip and inverse are the shares of what the checks decided; losses are log losses of the chosen "
            "candidate on the training-test batch that it was checked on. Inverse steps come at the end of each round; "
            "the line joins means of neighbours.",
        ),
        sections=(f"![loss over steps, marked by decision]({picture})", table(runs)),
        details={"curves": {f"{multiple:g}": curve(run) for multiple, run in runs.items()}},
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
