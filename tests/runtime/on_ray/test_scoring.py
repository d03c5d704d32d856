"""Results as jobs of Ray Data: right, in external ids, and made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from saved_runs import save_run
from small_datasets import make_small_dataset

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.inference import pair_sources, recommendations
from distributed_il.inference.config import AnnotateConfig, RecommendConfig, ScoreConfig
from distributed_il.methods.losses import inverse_dual_weights
from distributed_il.runtime.batch_inference import annotate, recommend, score

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_small_dataset(tmp_path_factory.mktemp("small") / "dataset")


def silent(stage: str, done: int, total: int) -> None:
    """No progress."""


def test_given_pairs_are_scored_and_made_once(small: Dataset, tmp_path: Path) -> None:
    learner = save_run(small, tmp_path / "run")
    users, items = np.arange(45) % 40, np.arange(45)
    pq.write_table(pa.table({"u": users + 10 * (users == 0), "i": items}), tmp_path / "a.parquet")
    (tmp_path / "pairs").mkdir()
    pq.write_table(pa.table({"u": users, "i": items}), tmp_path / "pairs" / "a.parquet")
    (tmp_path / "pairs" / "b.csv").write_text("u,i\n3,4\n1000,4\n")
    output = tmp_path / "out"
    config = ScoreConfig(
        run_dir=str(tmp_path / "run"),
        pairs=str(tmp_path / "pairs"),
        user_column="u",
        item_column="i",
        output=str(output),
        workers=2,
    )
    told: list[tuple[str, int, int]] = []
    counts = score(config, lambda *progress: told.append(progress))
    assert counts == {"rows": 47, "model": 46, "item_mean": 1, "overall_mean": 0}
    assert told[0] == ("score", 0, 0)
    assert told[-1] == ("score", 47, 0)
    found = pq.read_table(output)
    assert found.column_names == ["user_id", "item_id", "score", "answered_by"]
    logits = learner.score(torch.from_numpy(users), torch.from_numpy(items))
    torch.testing.assert_close(torch.tensor(found["score"].to_pylist()[:45]), torch.sigmoid(logits))
    assert found.slice(45).drop("score").to_pydict() == {
        "user_id": [3, 1000],
        "item_id": [4, 4],
        "answered_by": ["model", "item_mean"],
    }

    before = {path.name: path.stat().st_ino for path in output.glob("part-*")}
    (output / "part-00001.parquet").unlink()
    assert score(config, silent) == counts
    after = {path.name: path.stat().st_ino for path in output.glob("part-*")}
    assert after["part-00000.parquet"] == before["part-00000.parquet"]
    assert set(after) == set(before)
    assert pq.read_table(output) == found


def test_unclear_watches_are_annotated(small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_sources, "PIECE_ROWS", 20)
    learner = save_run(small, tmp_path / "run", dtype="float64")
    counts = annotate(AnnotateConfig(run_dir=str(tmp_path / "run"), output=str(tmp_path / "out")), silent)
    assert counts["rows"] == small.rows("unclear") == 100
    found = pq.read_table(tmp_path / "out")
    users, items = (torch.tensor(found[name].to_pylist()) for name in ("user_id", "item_id"))
    observed = small.logged()
    assert observed is not None
    pairs = np.repeat(np.arange(40), np.diff(observed.indptr)) * 60 + observed.items
    assert sorted((users * 60 + items).tolist()) == pairs.tolist()
    w1, w0 = inverse_dual_weights(learner.score(users, items))
    torch.testing.assert_close(torch.tensor(found["w1"].to_pylist(), dtype=torch.float64), w1)
    torch.testing.assert_close(torch.tensor(found["w0"].to_pylist(), dtype=torch.float64), w0)
    assert len(list((tmp_path / "out").glob("part-*"))) > 1


def test_a_bad_row_ends_the_job_with_its_message(small: Dataset, tmp_path: Path) -> None:
    save_run(small, tmp_path / "run")
    (tmp_path / "pairs.csv").write_text("user_id,item_id\n1,2\n1,two\n")
    config = ScoreConfig(run_dir=str(tmp_path / "run"), pairs=str(tmp_path / "pairs.csv"), output=str(tmp_path / "out"))
    with pytest.raises(UserError, match="line 3, column item_id: 'two' is no item id"):
        score(config, silent)
    assert not list((tmp_path / "out").glob("part-*"))


def test_items_are_recommended_to_given_users_without_what_they_saw(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommendations, "USERS_PER_PART", 2)
    learner = save_run(small, tmp_path / "run")
    (tmp_path / "users.csv").write_text("who\n7\n3\n7\n1000\n0\n")
    (tmp_path / "never.csv").write_text("item_id,who\n11,7\n12,3\n")
    (tmp_path / "items.csv").write_text(
        "item_id,title,year\n" + "".join(f"{n},title {n},19\n" for n in range(0, 60, 2))
    )
    config = RecommendConfig(
        run_dir=str(tmp_path / "run"),
        users=str(tmp_path / "users.csv"),
        user_column="who",
        exclude=str(tmp_path / "never.csv"),
        item_file=str(tmp_path / "items.csv"),
        item_fields=["title"],
        output=str(tmp_path / "out"),
        top=5,
        workers=1,
    )
    counts = recommend(config, silent)
    assert counts == {"rows": 20, "model": 15, "item_mean": 5, "overall_mean": 0}
    found = pq.read_table(tmp_path / "out").to_pylist()
    assert [row["user_id"] for row in found[::5]] == [7, 3, 1000, 0]
    assert [row["rank"] for row in found] == [1, 2, 3, 4, 5] * 4
    for row in found:
        assert row["title"] == (None if row["item_id"] % 2 else f"title {row['item_id']}")
    everything = torch.arange(60)
    logged = small.logged()
    assert logged is not None
    for first in (0, 5, 15):
        user = found[first]["user_id"]
        logits = learner.score(torch.full((60,), user), everything)
        for pairs in (small.observed(), logged):
            logits[torch.from_numpy(pairs.items[pairs.indptr[user] : pairs.indptr[user + 1]].astype(np.int64))] = -1e9
        logits[{7: 11, 3: 12}.get(user, [])] = -1e9
        best = logits.sort(descending=True, stable=True)
        assert [row["item_id"] for row in found[first : first + 5]] == best.indices[:5].tolist()
        scores = torch.tensor([row["score"] for row in found[first : first + 5]])
        torch.testing.assert_close(scores, torch.sigmoid(best.values[:5]))
