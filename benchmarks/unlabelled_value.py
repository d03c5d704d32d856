"""What is unlabelled feedback worth, by which method, at which share of labels?

Logs of which a known share is clear are made from MovieLens-1M: labels missing at random (`r3` keeps 3 %, `full` all),
or clear where they are extreme (`g30` keeps 30 % of the clear ones); others are simulated. Every row of a setting is
chosen from as many draws from the same ranges, by the validation rows of a mask of its own, and then measured with
other masks and seeds. Gains are over the stronger of `none` and user + item bias, paired by seed. Without Ray, in
processes of one thread; with `--work` a benchmark that was stopped goes on where it stood.

    python -m benchmarks.unlabelled_value --source DIR_OF_MOVIELENS --work DIR
    python -m benchmarks.unlabelled_value --source DIR_OF_MOVIELENS --quick
    python -m benchmarks.unlabelled_value --data DATASET …
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.result import Figure, Result
from benchmarks.common.study import Amount, need_source, parse_study, run_study, study_line
from benchmarks.feedback_value.comparison import SEARCH_SEED, SELECT_BY, Plan, compare
from benchmarks.feedback_value.gains import Gain
from benchmarks.feedback_value.kinds import KINDS, Kind, kind_of
from benchmarks.feedback_value.rows import QUICK_ROWS, ROWS
from benchmarks.feedback_value.search import BATCH_SIZE, FACTORS, OPTIMIZER, OWN
from benchmarks.feedback_value.value_report import auc_gains, draw_gains, marked, tables
from distributed_il.core.errors import UserError

NAME = "unlabelled_value"
QUESTION = "What is unlabelled feedback worth, by which method, at which share of labels?"
QUICK_KINDS = ("g30", "r3")
SUMMARISED = ("factors_ordinal", "factors")
"""Rows of the last line; its p is that of the setting's target, else of the first of them that there is."""
AMOUNTS = {
    "draws": Amount("settings that each row is chosen from", 12, 3),
    "seeds": Amount("repeats of what was chosen, at the most (default: 10, 5 or 2, by setting)", None, 2),
}


def summary(report: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """The last line: by setting the gains of factors, and p after Holm where the cell has a target.

    Args:
        report: From `compare`.
    """
    gains = auc_gains(report)
    adjusted = marked(report, gains)
    found: dict[str, dict[str, float | None]] = {}
    for kind, rows in gains.items():
        there = [name for name in SUMMARISED if name in rows]
        values: dict[str, float] = {f"{name}_minus_best_baseline_auc": rows[name].mean for name in there}
        tested = [row for row in (*report[kind]["about"]["targets"], *there) if row in rows]
        if tested:
            values["p"] = adjusted.get((kind, tested[0]), rows[tested[0]].p)
        found[kind] = {name: None if math.isnan(value) else value for name, value in values.items()}
    return found


def answer(report: Mapping[str, Any], gains: Mapping[str, Mapping[str, Gain]]) -> str:
    """What the gains say, setting by setting, in a sentence each."""
    sentences: list[str] = []
    for kind, rows in gains.items():
        if not rows:
            continue
        over = next(iter(rows.values())).over
        best = sorted(
            (name for name in rows if not name.startswith(("gmf", "neumf"))), key=lambda name: -rows[name].mean
        )
        told = ", ".join(f"{name} {rows[name].mean:+.4f}" for name in best[:3])
        missed = [
            f"{name} misses its {target:+.3f} by {target - rows[name].mean:.4f}"
            for name, target in report[kind]["about"]["targets"].items()
            if name in rows and rows[name].mean < target
        ]
        sentences.append(f"{kind}, AUC over {over}: {'; '.join([told, *missed])}.")
    return " ".join(sentences)


def figures(report: Mapping[str, Any], gains: Mapping[str, Mapping[str, Gain]], seconds: float) -> dict[str, Figure]:
    """Gains with a target, seed by seed, and the time that all took."""
    found = {
        f"{kind}_{row}_minus_{gains[kind][row].over}_auc": Figure(gains[kind][row].gains, at_least=target)
        for kind in report
        for row, target in report[kind]["about"]["targets"].items()
        if row in gains[kind]
    }
    return {**found, "wall_s": Figure([seconds])}


def publish(plan: Plan, report: Mapping[str, Any], *, out: str, command: str, seconds: float) -> None:
    """Writes the report and its picture, prints it and, as the last line, its summary.

    Args:
        plan: What was compared.
        report: From `compare`.
        out: Directory.
        command: To type to ask again.
        seconds: That it took.
    """
    gains, picture = auc_gains(report), f"{NAME}-{datetime.date.today().isoformat()}.png"
    Path(out).mkdir(parents=True, exist_ok=True)
    drawn = draw_gains(report, Path(out, picture))
    Result(
        name=NAME,
        question=QUESTION,
        answer=answer(report, gains),
        command=command,
        config={
            "settings": ", ".join(kind.name for kind in plan.kinds),
            "rows": ", ".join(plan.rows),
            "draws": plan.draws,
            "max_rounds": plan.max_rounds,
            "patience": plan.patience,
            "batch_size": BATCH_SIZE,
            "embedding_dim": 32,
            "select_by": SELECT_BY,
            "search_seed": SEARCH_SEED,
            "jobs": plan.jobs,
            "optimizer_ranges": OPTIMIZER,
            "factors_ranges": FACTORS,
            "method_ranges": OWN,
        },
        figures=figures(report, gains, seconds),
        notes=(
            "Every row is chosen from the same number of draws, the same ones of learning rate and weight decay, by "
            f"{SELECT_BY} on validation rows of a mask of its own; the test split is read for the chosen ones alone.",
            "A repeat is a seed: another mask, where the setting has masks, and other weights and order. Gains are "
            "paired by seed and over the baseline of higher mean test AUC; p of a two-sided paired t-test, by Holm "
            "over the cells that have a target.",
            "r: of the training labels of the published split a random share is kept, the others are logged as "
            "unclear. g: the rated rows of valid and test dealt 70 / 10 / 20; 5 stars positive, 1 and 2 negative, 3 "
            "and 4 unclear, and of the clear ones in training a share is kept. It is tested on 4 stars and above "
            "against the rest of all held-out pairs, and on the clear ones among them; valid holds clear ones alone. "
            "No pair of valid or test is an exposure of training.",
            "demo, micro_video: simulated, by a policy without taste (_0) and with (_1); micro_video is a tenth of the "
            "preset on every side, with fewer draws, seeds and rows.",
            "factors shuffled: the items dealt anew over all exposures, everybody's degree kept. ig rounds draws "
            "logged pairs where there are any. bias_mf, where the row does not say otherwise.",
        ),
        sections=(*([f"![gain over the share of labels]({picture})"] if drawn else []), *tables(report)),
        details={"settings": report},
    ).publish(out)
    print(json.dumps(summary(report)))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = study_line(__doc__, list(ROWS))
    parser.add_argument("--settings", nargs="+", choices=KINDS, help="which (default: all, or with --data none)")
    parser.add_argument("--data", nargs="+", default=[], help="prepared datasets of your own, each a setting")
    options = parse_study(parser, arguments, AMOUNTS)
    options.settings = options.settings or ([] if options.data else list(QUICK_KINDS if options.quick else KINDS))
    options.rows = options.rows or list(QUICK_ROWS if options.quick else ROWS)
    if any(KINDS[name].make_log for name in options.settings):
        need_source(parser, options)
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
            kinds=_kinds(options.settings, options.data),
            rows=tuple(options.rows),
            source=options.source or "",
            work=work,
            draws=options.draws,
            seeds=options.seeds,
            jobs=options.jobs,
        )
        report = compare(plan)
        publish(plan, report, out=options.out, command=command, seconds=time.perf_counter() - started)

    return run_study(NAME, options, arguments, carry_out)


def _kinds(settings: Sequence[str], datasets: Sequence[str]) -> tuple[Kind, ...]:
    kinds = [KINDS[name] for name in settings] + [kind_of(data) for data in datasets]
    names = [kind.name for kind in kinds]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two settings are called {twice[0]}; give --data directories of other names")
    return tuple(kinds)


if __name__ == "__main__":
    raise SystemExit(main())
