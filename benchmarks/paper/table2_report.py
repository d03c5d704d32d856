"""Table 2 as people read it."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.common.machine import machine_line
from benchmarks.paper.search_space import describe

METRICS = {
    "AUC": "auc",
    "GAUC": "gauc",
    "NDCG@10": "ndcg@10",
    "NDCG@20": "ndcg@20",
    "MRR": "mrr",
    "log loss": "logloss",
}
COLUMNS = ("backbone", "method", *METRICS, "best round", "seconds", "setting", "the paper's AUC / GAUC / NDCG@20")

PAPER = {
    ("gmf", "ig"): (0.8318, 0.7642, 0.9521),
    ("neumf", "ig"): (0.8253, 0.7569, 0.9449),
}
"""AUC, GAUC and NDCG@20 of the rows of the paper's Table 2 that are at hand."""

TITLES = {
    "paper": "At the paper's settings: γ = 1e-4, α = 1e-5, no weight decay",
    "tuned": "Each method tuned on validation with the same budget",
}


def markdown(report: dict[str, Any]) -> str:
    """The whole report.

    Args:
        report: What table2.json holds.
    """
    config = report["config"]
    lines = [
        f"# {report['question']}",
        "",
        f"* **Data**: {report['dataset']['name']}, fingerprint `{report['dataset']['fingerprint'][:12]}`",
        f"* **Machine**: {machine_line(report['machine'])}",
        f"* **Runs**: one process and one thread each, {config['jobs']} at a time, without Ray",
        f"* **Config**: batch {config['batch_size']:,}, embedding 32, at most {config['max_rounds']} rounds, "
        f"patience {config['patience']}, {config['seeds']} seed{'s' if config['seeds'] > 1 else ''}",
        "* **Choice**: by validation log loss with seed 0; the test split is read for the chosen setting alone",
        "* **Labels**: labelled negatives, also for t_ce and r_ce; ns, idl and ig sample one unlabelled pair a row",
    ]
    if config["quick"]:
        lines.append("* **Quick**: too few rounds and settings to conclude anything from")
    lines += ["", "## Trivial predictors", "", _heading(("predictor", *METRICS))]
    for name, metrics in report["trivial"].items():
        lines.append(_line([name.replace("_", " "), *(_number(metrics[key]) for key in METRICS.values())]))
    for part, title in TITLES.items():
        lines += ["", f"## {title}", "", _heading(COLUMNS), *(_row(row) for row in report[part])]
    lines += ["", "## The settings searched", "", _heading(("backbone", "method", "setting", "best round", *VALID))]
    lines += [line for row in report["search"] for line in _searched(row)]
    return "\n".join(lines) + "\n"


VALID = {"valid log loss": "logloss", "valid AUC": "auc", "valid GAUC": "gauc"}


def _row(row: dict[str, Any]) -> str:
    runs = [run for run in row["runs"] if "failed" not in run]
    cells = [row["backbone"], row["method"]]
    if runs:
        cells += [_spread([run["test"][key] for run in runs]) for key in METRICS.values()]
        cells.append(", ".join(str(run["run"]["best_round"]) for run in runs))
        cells.append(f"{statistics.mean(run['seconds'] for run in runs):.0f}")
    else:
        cells += ["diverged", *["–"] * (len(METRICS) + 1)]
    paper = PAPER.get((row["backbone"], row["method"]))
    cells += [describe(row["setting"]), " / ".join(f"{value:.4f}" for value in paper) if paper else "–"]
    return _line(cells)


def _searched(row: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for tried in row["settings"]:
        text = describe(tried["setting"])
        cells = [row["backbone"], row["method"], f"**{text}**" if tried["chosen"] else text]
        if "failed" in tried:
            cells += ["diverged", *["–"] * len(VALID)]
        else:
            cells += [str(tried["run"]["best_round"]), *(_number(tried["valid"][key]) for key in VALID.values())]
        lines.append(_line(cells))
    return lines


def _spread(values: list[float | None]) -> str:
    """Mean, and where there are several seeds the standard deviation."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return _number(known[0] if known else None)
    return f"{statistics.mean(known):.4f} ± {statistics.stdev(known):.4f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _heading(columns: tuple[str, ...]) -> str:
    return _line(list(columns)) + "\n" + "|---" * len(columns) + "|"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
