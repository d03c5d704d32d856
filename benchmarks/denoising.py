"""Do T-CE and R-CE find the noise, in the setting of the WSDM 2021 paper?

Every training interaction is taken for a positive, the noise too, and negatives are sampled from the pairs without
interaction (`negatives: sampled_all_positive`). Valid and test tell clean from noise: a user's clean test items are
ranked among all items without an interaction in training or valid. Logs with known noise: MovieLens-1M, where it is
what was rated 1 or 2, and a simulated one. Every row is chosen from as many draws by validation NDCG@20 and then
repeated with other seeds. Without Ray, in processes of one thread; with `--work` a benchmark that was stopped goes on
where it stood.

    python -m benchmarks.denoising --source DIR_OF_MOVIELENS --work DIR
    python -m benchmarks.denoising --logs simulated --quick
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.result import Figure, Result
from benchmarks.common.study import Amount, need_source, parse_study, run_study, study_line
from benchmarks.noise.comparison import BATCH_SIZE, CURVE, METRICS, SEARCH_SEED, SELECT_BY, Plan, compare
from benchmarks.noise.denoising_report import draw_curves, table, values_of
from benchmarks.noise.logs import LOGS, ML1M, SIZES
from benchmarks.noise.rows import OPTIMIZER, OWN, ROWS

NAME = "denoising"
QUESTION = "Do T-CE and R-CE find the noise, in the setting of the WSDM 2021 paper?"
AMOUNTS = {
    "draws": Amount("settings that each row is chosen from", 3, 2),
    "seeds": Amount("repeats of what was chosen", 3, 2),
    "rounds": Amount("rounds of every run", 12, 10),
}
QUICK_SIZES = {"num_users": 300, "num_items": 250, "num_positives": 8_000, "num_negatives": 4_000, "num_unclear": 0}


def answer(report: Mapping[str, Any]) -> str:
    """What the test metrics say, log by log, in a sentence each.

    Args:
        report: From `compare`.
    """
    sentences: list[str] = []
    for log, found in report.items():
        means = {row: float(np.mean(values_of(report, log, row, CURVE))) for row in found["rows"]}
        told = ", ".join(f"{row} {mean:.4f}" for row, mean in means.items())
        noise = found["about"]["noise"] / found["about"]["train_rows"]
        sentences.append(f"{log}, {noise:.0%} noise: recall@20 {told}.")
    return " ".join(sentences)


def publish(plan: Plan, report: Mapping[str, Any], *, out: str, command: str, seconds: float) -> None:
    """Writes the report and its picture, and prints it.

    Args:
        plan: What was compared.
        report: From `compare`.
        out: Directory.
        command: To type to ask again.
        seconds: That it took.
    """
    picture = f"{NAME}-{datetime.date.today().isoformat()}.png"
    Path(out).mkdir(parents=True, exist_ok=True)
    draw_curves(report, Path(out, picture))
    figures = {
        f"{log}_{row}_{metric}": Figure(values_of(report, log, row, metric))
        for log, found in report.items()
        for row in found["rows"]
        for metric in METRICS[:3]
    }
    Result(
        name=NAME,
        question=QUESTION,
        answer=answer(report),
        command=command,
        config={
            "logs": ", ".join(plan.logs),
            "rows": ", ".join(plan.rows),
            "draws": plan.draws,
            "seeds": plan.seeds,
            "rounds": plan.rounds,
            "batch_size": BATCH_SIZE,
            "embedding_dim": 32,
            "select_by": SELECT_BY,
            "search_seed": SEARCH_SEED,
            "simulated": dict(plan.sizes),
            "jobs": plan.jobs,
            "optimizer_ranges": OPTIMIZER,
            "method_ranges": OWN,
        },
        figures={**figures, "wall_s": Figure([seconds])},
        notes=(
            "negatives: sampled_all_positive, every labelled training row a positive whatever its label, one sampled "
            "negative for each. Rounds and settings are chosen on clean labels of valid.",
            "Every row is chosen from the same number of draws, the same ones of learning rate and weight decay, by "
            f"{SELECT_BY} of valid; the test split is read for the chosen ones alone. A repeat is a seed: other "
            "weights and order, and for the simulated log another world.",
            "none, without the noise: negatives: sampled, which leaves rows labelled 0 out of training. It knows the "
            "labels, and is the most that denoising could reach.",
            "GAUC, clean over noise: over a user's own test rows, whether clean ones stand above noisy ones.",
        ),
        sections=(f"![{CURVE} by round]({picture})", *(table(report, log) for log in report)),
        details={"logs": report},
    ).publish(out)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = study_line(__doc__, list(ROWS))
    parser.add_argument("--logs", nargs="+", choices=LOGS, help="which (default: all, or with --quick the simulated)")
    options = parse_study(parser, arguments, AMOUNTS)
    options.rows = options.rows or list(ROWS)
    options.logs = options.logs or list(LOGS[:1] if options.quick else LOGS)
    if ML1M in options.logs:
        need_source(parser, options, ", or --logs simulated")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Compares, prints and writes the report.

    Args:
        arguments: Of the command line; its own by default.

    Returns:
        0, or 2 where the user has to cure something.
    """
    options = parse(arguments)

    def carry_out(work: Path, command: str) -> None:
        started = time.perf_counter()
        plan = Plan(
            logs=tuple(options.logs),
            rows=tuple(options.rows),
            source=options.source or "",
            work=work,
            draws=options.draws,
            seeds=options.seeds,
            rounds=options.rounds,
            sizes=QUICK_SIZES if options.quick else SIZES,
            jobs=options.jobs,
        )
        report = compare(plan)
        publish(plan, report, out=options.out, command=command, seconds=time.perf_counter() - started)

    return run_study(NAME, options, arguments, carry_out)


if __name__ == "__main__":
    raise SystemExit(main())
