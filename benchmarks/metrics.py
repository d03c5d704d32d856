"""How long do all metrics of two million rows take on one core, and do they equal scikit-learn's?

Simulated test rows of 37,692 users with power-law activity, once with scores that hardly ever tie, as a model gives
them, and once rounded, so that most rows tie. AUC and log loss are held against scikit-learn over all rows, AUC and
NDCG of single users over the users; it has no MRR and no ECE. Needs the extra `test` for scikit-learn.

    python -m benchmarks.metrics
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import log_loss, ndcg_score, roc_auc_score
from tqdm import tqdm

from benchmarks.common.command import command_line, start_as_worker
from benchmarks.common.measuring import interleaved_seconds, ratios
from benchmarks.common.result import Figure, Result
from distributed_il.evaluation.metrics import UserTies, compute_metrics, descending_ranks, user_auc, user_ndcg

TARGET_S = 1.5
TARGET_ERROR = 1e-12
CUTOFFS = (10, 20)
LEVELS = 8
"""Tied scores are whole multiples of one part in so many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is measured and how often."""

    rows: int = 2_000_000
    """Test rows."""
    num_users: int = 37_692
    """Users."""
    checked_users: int = 37_692
    """Users whose own metrics are held against scikit-learn: of those with both classes the most active ones."""
    repeats: int = 20
    """Times that all metrics are computed."""
    seed: int = 0
    """Of the simulated rows."""


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Scored test rows."""

    user_ids: NDArray[np.int64]
    """int64 [n]."""
    logits: NDArray[np.float32]
    """float32 [n]."""
    labels: NDArray[np.int64]
    """int64 [n], each 0 or 1."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """float64 [n]: σ of the logits."""
        return 1.0 / (1.0 + np.exp(-self.logits.astype(np.float64)))


def simulated_rows(plan: Plan) -> Rows:
    """Rows in no order, whose label follows the logit.

    Args:
        plan: Sizes and seed.
    """
    generator = np.random.default_rng(plan.seed)
    # User number n has rows in proportion to 1 / √n.
    user_ids = (plan.num_users * generator.random(plan.rows) ** 2).astype(np.int64)
    logits = generator.normal(size=plan.rows, scale=1.5)
    labels = (generator.random(plan.rows) < 1.0 / (1.0 + np.exp(-logits))).astype(np.int64)
    return Rows(user_ids, logits.astype(np.float32), labels)


def tied(rows: Rows) -> Rows:
    """The same rows with rounded logits."""
    return replace(rows, logits=np.round(rows.logits * LEVELS) / np.float32(LEVELS))


def errors(rows: Rows, checked_users: int) -> dict[str, float]:
    """Largest differences to scikit-learn.

    Args:
        rows: The rows.
        checked_users: Users whose own metrics are compared: of those with both classes the first ones by id.

    Returns:
        auc and log_loss over all rows; user_auc and ndcg@k, the largest over the users.
    """
    ours = compute_metrics(rows.user_ids, rows.logits, rows.labels)
    found = {
        "auc": abs(ours["auc"] - float(roc_auc_score(rows.labels, rows.logits))),
        "log_loss": abs(ours["logloss"] - float(log_loss(rows.labels, rows.probabilities))),
    }
    ties = UserTies.from_rows(rows.user_ids, descending_ranks(rows.logits), rows.labels)
    per_user: dict[str, NDArray[np.float64]] = {"user_auc": user_auc(ties)}
    per_user |= {f"ndcg@{cutoff}": user_ndcg(ties, cutoff) for cutoff in CUTOFFS}
    theirs = _sklearn_per_user(rows, checked_users)
    return found | {
        name: float(np.abs(values - per_user[name][: values.size]).max()) for name, values in theirs.items()
    }


def _sklearn_per_user(rows: Rows, checked_users: int) -> dict[str, NDArray[np.float64]]:
    """scikit-learn's metrics of the users with both classes, ids ascending."""
    order = np.argsort(rows.user_ids, kind="stable")
    logits, labels = rows.logits[order], rows.labels[order]
    bounds = np.append(0, np.cumsum(np.bincount(rows.user_ids)))
    parts = [slice(start, stop) for start, stop in pairwise(bounds.tolist())]
    parts = [part for part in parts if 0 < labels[part].sum() < part.stop - part.start][:checked_users]
    values: dict[str, list[Any]] = {"user_auc": [], **{f"ndcg@{cutoff}": [] for cutoff in CUTOFFS}}
    for part in tqdm(parts, desc="scikit-learn, user by user", leave=False, disable=None):
        values["user_auc"].append(roc_auc_score(labels[part], logits[part]))
        for cutoff in CUTOFFS:
            values[f"ndcg@{cutoff}"].append(ndcg_score(labels[None, part], logits[None, part], k=cutoff))
    return {name: np.array(column) for name, column in values.items()}


def measure(plan: Plan) -> dict[str, Figure]:
    """Times the metrics in turns with scikit-learn's, then compares the values.

    Args:
        plan: Sizes.

    Returns:
        Seconds of `compute_metrics` with and without ties, how many times as long scikit-learn's AUC and log loss alone
        take, and the errors, the larger one of both kinds of scores.
    """
    distinct = simulated_rows(plan)
    rounded = tied(distinct)
    probabilities = distinct.probabilities
    seconds = interleaved_seconds(
        {
            "distinct": lambda: compute_metrics(distinct.user_ids, distinct.logits, distinct.labels),
            "tied": lambda: compute_metrics(rounded.user_ids, rounded.logits, rounded.labels),
            "sklearn": lambda: (
                roc_auc_score(distinct.labels, distinct.logits),
                log_loss(distinct.labels, probabilities),
            ),
        },
        repeats=plan.repeats,
    )
    size = f"{plan.rows / 1e6:g}m_rows"
    figures = {
        f"metrics_{size}_s": Figure(seconds["distinct"], at_most=TARGET_S),
        f"metrics_{size}_tied_s": Figure(seconds["tied"], at_most=TARGET_S),
        "sklearn_auc_and_log_loss_over_all_of_ours": Figure(ratios(seconds["sklearn"], seconds["distinct"])),
    }
    both = [errors(rows, plan.checked_users) for rows in (distinct, rounded)]
    for name in both[0]:
        worst = max(found[name] for found in both)
        figures[f"{name}_error_against_sklearn"] = Figure([worst], at_most=TARGET_ERROR)
    return figures


def main() -> None:
    """Measures, prints and writes the report."""
    arguments = command_line(__doc__).parse_args()
    start_as_worker()
    plan = Plan(checked_users=2_000, repeats=5) if arguments.quick else Plan()
    figures = measure(plan)
    missed = [name for name, figure in figures.items() if figure.met is False]
    Result(
        name="metrics",
        question="How long do all metrics of two million rows take on one core, and do they equal scikit-learn's?",
        answer=f"At most {TARGET_S} s and a difference of at most {TARGET_ERROR} are allowed: "
        + (f"missed by {', '.join(missed)}." if missed else "met by every figure."),
        command="python -m benchmarks.metrics" + (" --quick" if arguments.quick else ""),
        config=asdict(plan) | {"scikit-learn": sklearn.__version__},
        figures=figures,
        notes=(
            "`tied` rounds the logits to eighths. An error is the largest over both kinds of scores, and of `user_auc` "
            "and `ndcg` the largest over the users checked.",
            "NDCG is held against `ndcg_score` with its averaging over ties. MRR and ECE are not in scikit-learn.",
            "One thread. The machine is shared with other work and noisy: the ratio compares within each round.",
        ),
    ).publish(arguments.out)


if __name__ == "__main__":
    main()
