"""Commands that use a trained model: `evaluate`, `score`, `annotate`, `recommend`, `similar` and `export`."""

from __future__ import annotations

import pkgutil
from functools import partial
from typing import TYPE_CHECKING

from distributed_il.cli.command import ConfigCommand
from distributed_il.cli.output import metric_table, ranking_table, result_line
from distributed_il.core.progress import ProgressLine

if TYPE_CHECKING:
    from distributed_il.inference.config import EvaluateConfig, ExportConfig, ResultConfig

_CONFIGS = "distributed_il.inference.config"
_FALLBACK = "Where the model does not know user or item, the item's mean answers, or the overall one."


def _evaluate(config: EvaluateConfig) -> None:
    from distributed_il.inference.evaluate import evaluate

    result = evaluate(config)
    model = f"{config.checkpoint} checkpoint"
    served = result.get("served", {})
    rows = {model: result[config.split], **({"as served": served} if served else {}), **result["trivial"]}
    print(metric_table(config.split, rows))
    if served:
        by_prior = f"{served['answered_by_prior']:,} rows of users or items that the model does not know"
        print(f"as served: a mean answers {by_prior}")
    print(f"\n{ranking_table(model, result['ranking'])}")
    if config.per_user is not None:
        print(f"metrics of each user: {config.per_user}")


def _write_result(function: str, config: ResultConfig) -> None:
    write = pkgutil.resolve_name(function)
    with ProgressLine() as line:
        counts = write(config, line.update_stage, line.note)
    print(result_line(config.output, counts))


def _export(config: ExportConfig) -> None:
    from distributed_il.inference.export import export

    report = export(config)
    for name, difference in report["largest_difference"].items():
        print(f"{config.output}/{name}: logits of {report['checked_pairs']:,} random pairs within {difference:.1e}")
    if "model.onnx" not in report["largest_difference"]:
        print("model.onnx was left out: it needs `pip install 'distributed-il[export]'`")


EVALUATE = ConfigCommand(
    "evaluate",
    "Measures a trained model again on a split of the dataset that it was trained on.",
    f"{_CONFIGS}:EvaluateConfig",
    _evaluate,
)
SCORE = ConfigCommand(
    "score",
    "Scores pairs by a trained model: Parquet of user, item, ŷ and `answered_by`, in external ids. " + _FALLBACK,
    f"{_CONFIGS}:ScoreConfig",
    partial(_write_result, "distributed_il.runtime.batch_inference:score"),
)
ANNOTATE = ConfigCommand(
    "annotate",
    "Annotates unclear pairs by a trained model: Parquet of w1, w0 and ŷ (Eq. 4), in external ids. w1 and w0 are of "
    "the raw logit, whatever becomes of it in ŷ. " + _FALLBACK,
    f"{_CONFIGS}:AnnotateConfig",
    partial(_write_result, "distributed_il.runtime.batch_inference:annotate"),
)
RECOMMEND = ConfigCommand(
    "recommend",
    "Finds the best items of all or given users, exactly, by a trained model: Parquet of user, rank, item, ŷ and "
    "`answered_by`, in external ids. A user whom the model does not know gets the items of the highest means.",
    f"{_CONFIGS}:RecommendConfig",
    partial(_write_result, "distributed_il.runtime.batch_inference:recommend"),
)
SIMILAR = ConfigCommand(
    "similar",
    "Finds the most similar items of items, or users of users, exactly, by the cosine of a trained model's rows: "
    "Parquet of id, rank, similar id and cosine, in external ids. What the model does not know is like nothing.",
    f"{_CONFIGS}:SimilarConfig",
    partial(_write_result, "distributed_il.runtime.batch_inference:similar"),
)
EXPORT = ConfigCommand(
    "export",
    "Writes a trained model as a torch.export program, as ONNX (with the extra `export` installed) and as arrays with "
    "a NumPy-only program, each with its vocabularies and checked against the checkpoint.",
    f"{_CONFIGS}:ExportConfig",
    _export,
)
