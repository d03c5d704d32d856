"""The tuned settings as run configurations for two workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

WORKERS = 2


def write_job_files(report: dict[str, Any], directory: Path) -> list[Path]:
    """Writes ml1m_BACKBONE_METHOD.yaml for each tuned row; the global batch is the one that was tuned.

    Args:
        report: The table, as table2-*.json holds it.
        directory: Where they go.

    Returns:
        Their paths.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for row in report["tuned"]:
        path = directory / f"ml1m_{row['backbone']}_{row['method']}.yaml"
        path.write_text(_job(row, report["config"], path.name))
        paths.append(path)
    return paths


def _job(row: dict[str, Any], config: dict[str, Any], name: str) -> str:
    run = {
        "workers": WORKERS,
        "batch_size": config["batch_size"] // WORKERS,
        "max_rounds": config["max_rounds"],
        "patience": config["patience"],
        "select_by": "calibrated_logloss",
    }
    loss = row["runs"][0]["valid"]["calibrated_logloss"]
    return (
        f"# MovieLens-1M, {row['backbone']} with method {row['method']}: the best on validation of the settings that "
        f"benchmarks/table2 tries\n# (log loss {loss:.4f}, calibrated).\n"
        f"#   distributed-il train --config jobs/{name} --data.path=DIR --run.dir=DIR\n"
        + yaml.safe_dump({"run": run, **row["setting"]}, sort_keys=False)
    )
