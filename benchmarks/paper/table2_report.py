"""Table 2 as people read it."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.common.machine import machine_line
from benchmarks.paper.search_space import PAPER_RATES, describe

METRICS = {
    "AUC": "auc",
    "GAUC": "gauc",
    "NDCG@10": "ndcg@10",
    "NDCG@20": "ndcg@20",
    "MRR": "mrr",
    "log loss": "logloss",
}
COLUMNS = ("backbone", "method", *METRICS, "best round", "seconds", "setting", "the paper's AUC / GAUC / NDCG@20")

PAPER: dict[str, dict[tuple[str, str], tuple[float, float, float]]] = {
    "ml1m": {
        ("gmf", "none"): (0.7671, 0.6919, 0.9285),
        ("gmf", "ns"): (0.7639, 0.7200, 0.9400),
        ("gmf", "t_ce"): (0.7612, 0.7163, 0.9349),
        ("gmf", "r_ce"): (0.7632, 0.7192, 0.9391),
        ("gmf", "idl"): (0.7304, 0.6400, 0.8996),
        ("gmf", "ig"): (0.8318, 0.7642, 0.9521),
        ("neumf", "none"): (0.7524, 0.6856, 0.9214),
        ("neumf", "ns"): (0.7495, 0.7088, 0.9298),
        ("neumf", "t_ce"): (0.7587, 0.7158, 0.9351),
        ("neumf", "r_ce"): (0.7521, 0.7117, 0.9349),
        ("neumf", "idl"): (0.7962, 0.6984, 0.9212),
        ("neumf", "ig"): (0.8253, 0.7569, 0.9449),
    },
    "micro_video": {
        ("gmf", "none"): (0.8024, 0.7558, 0.7365),
        ("gmf", "ns"): (0.7802, 0.7247, 0.7049),
        ("gmf", "t_ce"): (0.6486, 0.6956, 0.6994),
        ("gmf", "r_ce"): (0.7820, 0.7260, 0.7069),
        ("gmf", "idl"): (0.7858, 0.7335, 0.7272),
        ("gmf", "ig"): (0.8033, 0.7593, 0.7773),
        ("neumf", "none"): (0.7504, 0.6916, 0.6649),
        ("neumf", "ns"): (0.7191, 0.6689, 0.6350),
        ("neumf", "t_ce"): (0.7469, 0.6911, 0.6725),
        ("neumf", "r_ce"): (0.7038, 0.6568, 0.6288),
        ("neumf", "idl"): (0.7174, 0.6647, 0.6466),
        ("neumf", "ig"): (0.8198, 0.7689, 0.7809),
    },
}
"""AUC, GAUC and NDCG@20 of the paper's Table 2, on its own logs."""

TITLES = {
    "paper": "At the paper's settings: γ = {rate:g}, α = γ / 10, no weight decay",
    "tuned": "Each row tuned on validation with the same budget",
}


def markdown(report: dict[str, Any]) -> str:
    """The whole report.

    Args:
        report: The table, as table2-*.json holds it.
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
        f"* **Choice**: of {config['draws']} settings a row by calibrated validation log loss with seed 0; the test "
        "split is read for the chosen setting alone",
        "* **Labels**: labelled negatives, also for t_ce and r_ce; ns, idl and ig sample one unlabelled pair a row",
        "* **Factors**: plain log loss, and ordinal, which needs logged unclear pairs, with exposure factors in the "
        "rows; what the data rule out is missing",
    ]
    if config["quick"]:
        lines.append("* **Quick**: too few rounds and settings to conclude anything from")
    lines += ["", "## Trivial predictors", "", _heading(("predictor", *METRICS))]
    for name, metrics in report["trivial"].items():
        lines.append(_line([name.replace("_", " "), *(_number(metrics[key]) for key in METRICS.values())]))
    for part, title in TITLES.items():
        heading = title.format(rate=PAPER_RATES[config["log"]])
        lines += ["", f"## {heading}", "", _heading(COLUMNS), *(_row(row, config["log"]) for row in report[part])]
    lines += ["", "## The settings searched", "", _heading(("backbone", "method", "setting", "best round", *VALID))]
    lines += [line for row in report["search"] for line in _searched(row)]
    return "\n".join(lines) + "\n"


VALID = {"valid log loss, calibrated": "calibrated_logloss", "valid AUC": "auc", "valid GAUC": "gauc"}


def _row(row: dict[str, Any], log: str) -> str:
    runs = [run for run in row["runs"] if "failed" not in run]
    cells = [row["backbone"], row["method"]]
    if runs:
        cells += [_spread([run["test"][key] for run in runs]) for key in METRICS.values()]
        cells.append(", ".join(str(run["run"]["best_round"]) for run in runs))
        cells.append(f"{statistics.mean(run['seconds'] for run in runs):.0f}")
    else:
        cells += ["diverged", *["–"] * (len(METRICS) + 1)]
    paper = PAPER[log].get((row["backbone"], row["method"]))
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
