"""Where do unlabelled pairs come from best: unobserved items, logged unclear watches, or both?

Trains none, and idl and ig with each source, on simulated watches, and measures them against the truth that the
simulator kept: the test labels, beside the trivial predictors and the oracle, and w1 of the unclear watches against
the hidden preference.

    distributed-il simulate --preset demo --output DIR
    python -m benchmarks.unlabelled --data DIR --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common.machine import machine_facts, machine_line
from benchmarks.common.training_task import local_trainer
from distributed_il.core.config import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
    UnlabelledConfig,
    config_to_dict,
)
from distributed_il.core.files import to_json
from distributed_il.core.method_config import InverseDualConfig, InverseGradientConfig, MethodConfig, NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.evaluation.metrics import compute_metrics
from distributed_il.inference.evaluate import load_model
from distributed_il.methods.losses import inverse_dual_weights

COLUMNS = ("auc", "gauc", "ndcg@10", "logloss")
SOURCES = ("sampled", "logged", "both")


def cases() -> dict[str, tuple[MethodConfig, Any]]:
    """Method and source of each row of the table."""
    rows: dict[str, tuple[MethodConfig, Any]] = {"none": (NoneConfig(), "sampled")}
    for source in SOURCES:
        rows[f"idl, {source}"] = (InverseDualConfig(unlabelled_weight=0.3), source)
    for source in SOURCES:
        rows[f"ig, {source}"] = (InverseGradientConfig(dual_learning_rate=1e-4), source)
    return rows


def column(dataset: Dataset, split: str, name: str) -> NDArray[Any]:
    """A whole column of a split, lane after lane."""
    blocks = [block for lane in range(dataset.lanes) for block in dataset.blocks(split, lane)]
    return np.concatenate([dataset.read_block(block, [name]).column(0).to_numpy() for block in blocks])


def oracle_metrics(dataset: Dataset) -> dict[str, Any]:
    """Metrics of the true preference on the test rows."""
    preference = column(dataset, "test", "preference").astype(np.float64)
    users, labels = column(dataset, "test", "user_id"), column(dataset, "test", "label")
    return dict(compute_metrics(users, preference, labels, probabilities=preference))


def weight_auc(run_dir: str, dataset: Dataset) -> float:
    """AUC of w1 of the unclear watches against whether the user truly likes the item more than not."""
    learner, _ = load_model(run_dir, "best", dataset.path)
    users, items = (column(dataset, "unclear", name).astype(np.int64) for name in ("user_id", "item_id"))
    liked = (column(dataset, "unclear", "preference") > 0.5).astype(np.int8)
    logits = learner.score(torch.from_numpy(users), torch.from_numpy(items))
    weights = inverse_dual_weights(logits.to(torch.float64))[0].numpy()
    # One user for all rows: the AUC over all pairs is what is asked for.
    return float(compute_metrics(np.zeros_like(users), weights, liked, probabilities=weights)["auc"])


def run_case(dataset: Dataset, method: MethodConfig, source: Any, *, seed: int, rounds: int) -> dict[str, Any]:
    """Trains and measures one row."""
    with tempfile.TemporaryDirectory() as run_dir:
        config = TrainConfig(
            data=DataConfig(path=dataset.path),
            run=RunConfig(dir=run_dir, seed=seed, max_rounds=rounds, select_by="logloss"),
            model=ModelConfig(backbone="gmf", factors=0),
            optimizer=OptimizerConfig(learning_rate=1e-3, weight_decay=1e-5, missed_steps="catch_up"),
            unlabelled=UnlabelledConfig(source=source),
            method=method,
        )
        started = time.perf_counter()
        result = local_trainer(config, dataset).run()
        return {
            "seed": seed,
            "seconds": time.perf_counter() - started,
            "config": {
                name: section for name, section in config_to_dict(config).items() if name not in ("data", "run")
            },
            "test": result["test"],
            "trivial": result["trivial"],
            "run": result["run"],
            "w1_auc": weight_auc(run_dir, dataset),
        }


def markdown(report: dict[str, Any]) -> str:
    """The report as people read it."""
    lines = [f"# {report['question']}", "", f"Dataset `{report['dataset']}`, {machine_line(report['machine'])}", ""]
    lines += ["| row | " + " | ".join(COLUMNS) + " | AUC of w1 | decisions direct / skip / inverse |"]
    lines += ["|---" * (len(COLUMNS) + 3) + "|"]
    for name, runs in report["rows"].items():
        cells = [_spread([run["test"][key] for run in runs]) for key in COLUMNS]
        cells.append(_spread([run["w1_auc"] for run in runs if "w1_auc" in run]))
        shares = runs[0].get("run", {}).get("decisions")
        cells.append(" / ".join(f"{share:.0%}" for share in shares.values()) if shares else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    if not values:
        return "–"
    text = f"{np.mean(values):.4f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.4f}"


def main() -> None:
    """Runs every row, prints the table and writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="simulated dataset with unclear watches")
    parser.add_argument("--out", required=True, help="directory for unlabelled.json and unlabelled.md")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = Dataset.open(arguments.data)
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, (method, source) in cases().items():
        rows[name] = [
            run_case(dataset, method, source, seed=seed, rounds=arguments.rounds) for seed in range(arguments.seeds)
        ]
        print(f"{name}: AUC {_spread([run['test']['auc'] for run in rows[name]])}", flush=True)
    trivial = {name.replace("_", " "): [{"test": metrics}] for name, metrics in rows["none"][0]["trivial"].items()}
    report = {
        "question": "Which unlabelled pairs pay on simulated watches: sampled, logged, or both?",
        "dataset": dataset.manifest.name,
        "machine": machine_facts(),
        "rows": {**trivial, **rows, "oracle (true preference)": [{"test": oracle_metrics(dataset)}]},
    }
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "unlabelled.json").write_text(to_json(report))
    (out / "unlabelled.md").write_text(markdown(report))
    print(markdown(report))
    print(
        json.dumps({f"{name}_auc": float(np.mean([run["test"]["auc"] for run in runs])) for name, runs in rows.items()})
    )


if __name__ == "__main__":
    main()
