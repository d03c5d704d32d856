"""Files of pairs may call their columns as the log did that the dataset was prepared from."""

from __future__ import annotations

from pathlib import Path

import pytest
from saved_runs import save_run

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.data.id_files.pair_files import find_pairs
from distributed_il.data.id_files.reading import items_of_file
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.inference.config import RecommendConfig, ScoreConfig, SimilarConfig
from distributed_il.inference.log_columns import log_names
from distributed_il.inference.recommendation_work import recommendations_of

LOG = "who,what,liked"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("named")
    rows = [f"{user},{item},{(user + item) % 2}" for user in range(5) for item in range(6)]
    (root / "log.csv").write_text("\n".join([LOG, *rows]) + "\n")
    names = {"user_column": "who", "item_column": "what", "label_column": "liked"}
    prepare(PrepareConfig(source=str(root / "log.csv"), output=str(root / "data"), lanes=2, **names))
    save_run(Dataset.open(str(root / "data")), root / "run")
    return str(root / "run")


def test_columns_of_pairs_are_those_of_the_log(run_dir: str, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    config = ScoreConfig(run_dir=run_dir, output="out", pairs=str(pairs))
    for header, columns in (
        ("who,what", ("who", "what")),
        ("user_id,item_id", ("user_id", "item_id")),
        ("who,user_id,what", ("user_id", "what")),  # the usual name prevails, as it did before
    ):
        pairs.write_text(f"{header}\n" + ",".join("1" * len(header.split(","))) + "\n")
        assert find_pairs(str(pairs), ("user_id", "item_id"), name_of=log_names(config)).columns == columns
    pairs.write_text("visitor,what\n1,1\n")
    with pytest.raises(UserError, match="has no column 'user_id', only visitor, what"):
        find_pairs(str(pairs), ("user_id", "item_id"), name_of=log_names(config))


def test_a_name_that_was_given_has_no_other(run_dir: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("who,what\n1,1\n")
    config = ScoreConfig(run_dir=run_dir, output="out", pairs="pairs.csv", user_column="user_id")
    with pytest.raises(UserError, match="has no column 'user_id', only who, what"):
        find_pairs(str(tmp_path / "pairs.csv"), ("user_id", "item_id"), name_of=log_names(config))
    similar = SimilarConfig(run_dir=run_dir, output="out", column="item_id")
    assert log_names(similar)("item_id") is None
    assert log_names(SimilarConfig(run_dir=run_dir, output="out"))("item_id") == "what"


def test_candidates_of_an_evaluation_are_read_so(run_dir: str, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("what\n1\n4\n")
    dataset = Dataset.open(f"{Path(run_dir).parent}/data")
    assert items_of_file(str(tmp_path / "items.csv"), dataset).tolist() == [False, True, False, False, True, False]


def test_recommend_reads_its_files_so(run_dir: str, tmp_path: Path) -> None:
    (tmp_path / "histories.csv").write_text("who,what,liked\n77,1,1\n77,2,\n77,3,0\n")
    (tmp_path / "items.csv").write_text("what,title\n1,One\n4,Four\n")
    (tmp_path / "users.csv").write_text("who\n3\n")
    config = {"run_dir": run_dir, "output": "out", "candidates": str(tmp_path / "items.csv")}
    work = recommendations_of(RecommendConfig(users=str(tmp_path / "users.csv"), **config))
    assert work.made_from["users"][0] == ("who",)
    assert work.made_from["candidates"][0] == ("what",)
    work = recommendations_of(RecommendConfig(histories=str(tmp_path / "histories.csv"), **config))
    assert work.made_from["histories"][0] == ("who", "what", "liked")


def test_recommend_tells_of_files_without_names(run_dir: str, tmp_path: Path) -> None:
    texts = {"histories": "77,1,1\n77,2,1\n77,3,0\n", "candidates": "1\n4\n5\n", "exclude": "5\n"}
    files = {name: str(tmp_path / f"{name}.csv") for name in texts}
    for name, text in texts.items():
        Path(files[name]).write_text(text)
    said: list[str] = []
    work = recommendations_of(RecommendConfig(run_dir=run_dir, output="out", top=3, **files), said.append)
    assert [line.partition(":")[0] for line in said] == [files[name] for name in ("histories", "candidates", "exclude")]
    ((table, _),) = work.tables(0)
    assert table.select(["user_id", "item_id"]).to_pylist() == [{"user_id": 77, "item_id": 4}]
