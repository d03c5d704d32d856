"""What a run leaves for people: config.yaml, metrics.json, and the texts, figures and hparams of TensorBoard."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from distributed_il.core.config import TrainConfig, config_to_dict, config_to_yaml, flat
from distributed_il.core.documents import Count, Measured, fitted, read_signed, signed
from distributed_il.core.errors import UserError
from distributed_il.core.files import plain_values, read_run_file, to_json, write_run_file
from distributed_il.core.machine import machine_facts
from distributed_il.data.dataset import Dataset
from distributed_il.evaluation.metric_columns import METRICS, metric_rows, ranking_note, ranking_rows
from distributed_il.evaluation.selection import RANKING
from distributed_il.training.monitor import Monitor, WeightHistogram
from distributed_il.training.monitor.curves import TEST, metric_curves
from distributed_il.training.run_state import RunState, read_facts
from distributed_il.training.telemetry import Telemetry

_METRICS = "metrics.json"
_COUNTS = ("rows", "users", "users_left_out", "rows_left_out", "positives_share")
"""What is known of the rows that metrics are of."""


def write_beginning(config: TrainConfig, dataset: Dataset, monitor: Monitor, *, resumed: bool) -> None:
    """Saves the resolved config; shows it in TensorBoard with the dataset, unless a resumed run already has."""
    text = config_to_yaml(config)
    write_run_file(config.run.dir, "config.yaml", text)
    if resumed:
        return
    manifest = dataset.manifest
    lines = [
        f"* **{name}**: {split.rows:,} rows, {split.positives:,} positives" for name, split in manifest.splits.items()
    ]
    lines += [
        f"* **users**: {manifest.num_users:,}",
        f"* **items**: {manifest.num_items:,}",
        f"* **lanes**: {manifest.lanes}",
        f"* **fingerprint**: `{manifest.fingerprint}`",
    ]
    monitor.text("config", f"```yaml\n{text}```", 0)
    monitor.text("dataset", f"**{manifest.name}** at `{dataset.path}`\n\n" + "\n".join(lines), 0)


def run_facts(
    config: TrainConfig,
    dataset: Dataset,
    state: RunState,
    telemetry: Telemetry,
    *,
    start: Mapping[str, Any] | None,
    branches: Sequence[str],
) -> dict[str, Any]:
    """Returns what metrics.json says of a run itself, but for its throughput and environment.

    Args:
        config: What was asked for.
        dataset: What it trained on.
        state: Where it stands.
        telemetry: What it has counted.
        start: Where a warm start began.
        branches: Names of the ways to take a round between which training-test decides, if there are any.
    """
    drawn, fallback_pairs, undrawable = telemetry.pairs.tolist()
    return {
        "method": dataclasses.asdict(config.method),
        "backbone": config.model.backbone,
        "dataset": dataset.fingerprint,
        "start": start,
        "rounds": state.round,
        "best_round": state.best_round,
        "optimizer_steps": state.history[-1]["step"] if state.history else 0,
        "decisions": telemetry.decisions.shares() if telemetry.decisions.total else None,
        **({"branches": _chosen(state, branches)} if branches else {}),
        "unlabelled_pairs": {"drawn": drawn, "stand_ins": fallback_pairs, "exhausted": undrawable},
    }


def run_environment() -> dict[str, Any]:
    """Returns what metrics.json says of when and where the run ended: the moment, this machine, its versions."""
    return {"finished": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **machine_facts()}


def _chosen(state: RunState, branches: Sequence[str]) -> dict[str, int]:
    """Returns in how many rounds each branch was chosen."""
    chosen = Counter(entry["branches"]["chosen"] for entry in state.history)
    return {name: chosen[name] for name in branches}


def write_weights(weights: WeightHistogram, step: int, monitor: Monitor) -> None:
    """Shows how the unlabelled pairs of a round were annotated, if it had any: their w1."""
    if weights.counts.sum():
        monitor.histogram("weights/w1", weights.counts, weights.edges, step)


def write_end(
    config: TrainConfig,
    result: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    telemetry: Telemetry,
    monitor: Monitor,
) -> None:
    """Writes metrics.json, which holds `result`, and shows the run's last words in TensorBoard."""
    # One past the last step that a checkpoint covers: a process that dies in here is followed by one that hides all
    # from there on and writes it again, and so no value comes twice.
    step = history[-1]["step"] + 1 if history else 0
    ranking = {key: value for key, value in result[RANKING].items() if key != "trivial"}
    test = metric_curves(TEST, {**{key: result["test"][key] for key in METRICS}, RANKING: ranking, **result["test"]})
    monitor.scalars(test, step)
    if len(history) > 1:
        write_weights(telemetry.weights, step, monitor)
    _show_charts(telemetry, step, monitor)
    monitor.text("result", result_table(result), step)
    known = {key: value for key, value in flat(config_to_dict(config)).items() if value is not None}
    monitor.hparams(known, test, step)
    monitor.flush()
    # Last, because it says that the run is finished.
    write_run_file(config.run.dir, _METRICS, to_json(signed(plain_values({**result, "history": list(history)}))))


class _Throughput(TypedDict):
    rows_per_s: Measured | None
    seconds: NotRequired[Measured]


class _Environment(TypedDict):
    finished: str
    processor: str
    cores: Count
    memory_bytes: Count
    versions: dict[str, str | None]


class _Facts(TypedDict):
    throughput: _Throughput
    environment: NotRequired[_Environment]


class _Metrics(TypedDict):
    valid: dict[str, Measured | None]
    test: dict[str, Measured | None]
    trivial: dict[str, dict[str, Measured | None]]
    ranking: NotRequired[dict[str, Any]]
    run: _Facts
    history: list[dict[str, Any]]


def read_metrics(run_dir: str, manifest: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Reads a finished run's metrics.json; None where the run is not finished.

    Args:
        run_dir: Directory or pyarrow URI of the run.
        manifest: Of a checkpoint there; what both tell of the same rounds must agree.

    Raises:
        UserError: A key is missing or mistyped, or it is another run's.
    """
    text, cure = read_run_file(run_dir, _METRICS), "remove it, and `train` with this run.dir writes it again"
    if text is None:
        return None
    place = f"{run_dir}/{_METRICS}"
    found = fitted(read_signed(text, place, cure), _Metrics, place, cure)
    history = read_facts(manifest)[0].history if manifest and manifest["facts"] else []
    for told, expected in zip(found["history"], history, strict=False):
        if any(told.get(key) != expected.get(key) for key in ("step", "train_loss")):
            raise UserError(
                f"{place} is of another run: its round {expected['round']} is not that of the checkpoints here; {cure}"
            )
    return dict(found)


def result_table(result: Mapping[str, Any]) -> str:
    """Markdown tables of the model's test metrics and of its rankings, beside the baselines, and of the rows behind."""
    rows = [
        ["test", *METRICS],
        ["---"] * (len(METRICS) + 1),
        *metric_rows({"model": result["test"], **result["trivial"]}),
    ]
    ranking = result[RANKING]
    headings, *ranked = ranking_rows({"model": ranking, **ranking["trivial"]})
    counts = [[split, *(_count_text(result[split], key) for key in _COUNTS)] for split in ("test", "valid")]
    measured = [["of", *(key.replace("_", " ") for key in _COUNTS)], ["---"] * (len(_COUNTS) + 1), *counts]
    tables = rows, [headings, ["---"] * len(headings), *ranked], measured
    texts = ("\n".join(f"| {' | '.join(row)} |" for row in table) for table in tables)
    return "\n\n".join([*texts, f"Rankings {ranking_note(ranking)}."])


def _count_text(metrics: Mapping[str, Any], key: str) -> str:
    return f"{metrics[key]:.1%}" if key == "positives_share" else f"{metrics[key]:,}"


def _show_charts(telemetry: Telemetry, step: int, monitor: Monitor) -> None:
    # Imported by the one process that draws: matplotlib takes a second.
    from distributed_il.core.drawing import pixels
    from distributed_il.training.monitor.figures import decision_chart, weight_chart

    if telemetry.first_weights.total:
        first, last = (
            weight_chart("First round", telemetry.first_weights),
            weight_chart("Last round", telemetry.weights),
        )
        monitor.image("weights/w1_distribution", pixels(first, last), step)
    if telemetry.decisions.total:
        monitor.image("decisions/test_loss", pixels(decision_chart(telemetry.decisions)), step)
