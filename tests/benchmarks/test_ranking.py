"""The benchmark of ranking metrics ranks the same users and items both ways."""

from __future__ import annotations

from benchmarks.ranking import Plan, measure, random_learner, served
from distributed_il.data.dataset import Dataset


def test_both_ways_have_the_same_model_and_all_figures_are_there(tiny_dataset: Dataset) -> None:
    plan = Plan(data=tiny_dataset.path, users=10, cutoffs=(1, 3), embedding_dim=4, turns=1)
    learner = random_learner(plan, tiny_dataset, "bias_mf")
    model = served(learner, tiny_dataset)
    assert (len(model.users), len(model.items)) == (tiny_dataset.num_users, tiny_dataset.num_items)
    figures = measure(plan, "bias_mf")
    assert len(figures) == 6
    assert figures["bias_mf_metrics_over_recommend"].median > 0
