"""How well do our models rank where feedback is positive only, beside popularity and another package's ALS and BPR?

The positives of MovieLens-1M in its published split, without labels. Every row is chosen from as many draws by NDCG@20
of valid and measured on test over all items that a user has not seen. ALS and BPR are those of the package `implicit`,
in an environment that is made for them; their vectors go through our evaluator. Without Ray, in processes of one
thread; with `--work` a benchmark that was stopped goes on where it stood.

    python -m benchmarks.positives --source DIR_OF_MOVIELENS --work DIR
    python -m benchmarks.positives --source DIR_OF_MOVIELENS --quick
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.result import Figure, Result
from benchmarks.common.study import Amount, need_source, parse_study, run_study, study_line
from benchmarks.positives_only.comparison import BATCH_SIZE, METRICS, SEARCH_SEED, SELECT_BY, Plan, compare
from benchmarks.positives_only.package import KEEP_AT, PACKAGE
from benchmarks.positives_only.rows import QUICK_ROWS, ROWS

AMOUNTS = {
    "draws": Amount("settings that each row is chosen from", 4, 1),
    "seeds": Amount("repeats of what was chosen", 3, 1),
    "max_rounds": Amount("rounds of our models at the most", 15, 2),
}


def values(report: Mapping[str, Any], metric: str, *, of_package: bool | None = None) -> dict[str, list[float]]:
    """A metric of the rows that were measured, seed by seed.

    Args:
        report: From `compare`.
        metric: One of `METRICS`.
        of_package: Rows of the package alone, or ours alone; None: all, those that need no model as well.
    """
    return {
        name: [run[metric] for run in row["runs"]]
        for name, row in report["rows"].items()
        if "runs" in row and (of_package is None or (name in ROWS and ROWS[name].of_package == of_package))
    }


def leads(report: Mapping[str, Any], metric: str) -> dict[str, list[float]]:
    """How far our best row is above each row of the package, by seed."""
    ours, others = (values(report, metric, of_package=of_package) for of_package in (False, True))
    if not ours:
        return {}
    best = max(ours, key=lambda name: np.mean(ours[name]))
    return {f"{best}_minus_{name}": np.subtract(ours[best], other).tolist() for name, other in others.items()}


def table(report: Mapping[str, Any]) -> str:
    """The comparison as people read it."""
    heading = ["row", "Recall@20", "NDCG@20", "valid NDCG@20", "best round", "seconds a run", "chosen"]
    lines = [_line(heading), "|---" * len(heading) + "|"]
    for name, row in report["rows"].items():
        if "runs" not in row:
            lines.append(_line([_words(name), "diverged", *["–"] * (len(heading) - 2)]))
            continue
        cells = [_words(name), *(_spread([run[key] for run in row["runs"]]) for key in METRICS)]
        if "setting" in row:
            valid = max(draw["valid"][SELECT_BY] for draw in row["search"] if "valid" in draw)
            rounds = ", ".join(map(str, row["rounds"]))
            cells += [f"{valid:.4f}", rounds, f"{row['seconds']:.0f}", _describe(row["setting"])]
        else:
            cells += ["–"] * (len(heading) - len(cells))
        lines.append(_line(cells))
    return "\n".join(lines)


def publish(plan: Plan, report: Mapping[str, Any], *, out: str, command: str, seconds: float) -> None:
    """Writes the report and prints it.

    Args:
        plan: What was compared.
        report: From `compare`.
        out: Directory.
        command: To type to ask again.
        seconds: That it took.
    """
    measured = {key: values(report, key) for key in METRICS}
    means = {name: float(np.mean(found)) for name, found in measured[SELECT_BY].items()}
    figures = {f"{name}_{key}": Figure(found) for key in METRICS for name, found in measured[key].items()}
    figures |= {
        f"{name}_{key}": Figure(lead, at_least=0.0) for key in METRICS for name, lead in leads(report, key).items()
    }
    order = sorted(means, key=lambda name: -means[name])
    Result(
        name="positives",
        question="How well do our models rank where feedback is positive only, beside popularity and another package's "
        "ALS and BPR?",
        answer="Mean test NDCG@20: " + ", ".join(f"{_words(name)} {means[name]:.4f}" for name in order) + ".",
        command=command,
        config={
            "rows": ", ".join(plan.rows),
            "draws": plan.draws,
            "seeds": plan.seeds,
            "max_rounds": plan.max_rounds,
            "patience": plan.patience,
            "batch_size": BATCH_SIZE,
            "select_by": SELECT_BY,
            "search_seed": SEARCH_SEED,
            "package": PACKAGE,
            "package_iterations": dict(KEEP_AT),
            "ranges": {name: {**ROWS[name].ranges, "size": ROWS[name].sizes} for name in plan.rows},
        },
        figures={**figures, "wall_s": Figure([seconds])},
        notes=(
            f"Every row is chosen from the same number of draws by {SELECT_BY} of the same 1,000 users of valid; test "
            "is read for the chosen ones alone. A repeat is a seed of weights and of what is drawn.",
            "Test: all users who have positives there, over all items but those of their training and validation rows; "
            "items without a training row come last, for everybody.",
            "A model of the package is measured on valid after several numbers of iterations and the best one is "
            "taken, as the best round of ours is.",
            "Leads are of our row of highest mean over the package's, by seed.",
        ),
        sections=(table(report),),
        details=dict(report),
    ).publish(out)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = study_line(__doc__, list(ROWS))
    options = parse_study(parser, arguments, AMOUNTS)
    need_source(parser, options)
    options.rows = options.rows or list(QUICK_ROWS if options.quick else ROWS)
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
            rows=tuple(options.rows),
            source=options.source,
            work=work,
            draws=options.draws,
            seeds=options.seeds,
            max_rounds=options.max_rounds,
            jobs=options.jobs,
        )
        report = compare(plan)
        publish(plan, report, out=options.out, command=command, seconds=time.perf_counter() - started)

    return run_study("positives", options, arguments, carry_out)


def _describe(setting: Mapping[str, Any]) -> str:
    names = {"learning_rate": "γ", "weight_decay": "L2", "rate": "negatives", "embedding_dim": "size"}
    numbers = [pair for section in setting.values() for pair in section.items() if isinstance(pair[1], int | float)]
    return ", ".join(f"{names.get(key, key)} {value:g}" for key, value in numbers)


def _spread(found: Sequence[float]) -> str:
    return f"{np.mean(found):.4f}" + (f" ± {np.std(found, ddof=1):.4f}" if len(found) > 1 else "")


def _words(row: str) -> str:
    return row.replace("item_co_occurrence", "item–item co-occurrence").replace("_", " ")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    raise SystemExit(main())
