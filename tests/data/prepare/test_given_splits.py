"""Folders whose files are splits already, as public data sets and other libraries leave them, right to the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dataset_rows import triples_in_order

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset
from distributed_il.data.prepare import PrepareConfig, prepare


def run(source: Path, said: list[str] | None = None, **options: Any) -> Dataset:
    output = source.parent / "prepared"
    options = {"lanes": 2, "factors": 0} | options
    prepare(PrepareConfig(source=str(source), output=str(output), **options), say=None if said is None else said.append)
    return Dataset.open(str(output))


def by_split(dataset: Dataset) -> dict[str, set[tuple[Any, Any, int]]]:
    return {split: set(triples_in_order(dataset, split)) for split in SPLITS}


def write(root: Path, **files: str) -> Path:
    """Writes files whose names have two underscores for a dot."""
    root.mkdir()
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


def test_the_folder_of_lightgcn(tmp_path: Path) -> None:
    """train.txt and test.txt are lists; what lies beside them numbers users and items, and is not read."""
    (tmp_path / "gowalla").mkdir()
    for name, lists in (
        ("train", {0: [1, 2, 3, 4], 1: [1, 2], 2: [5, 6, 7], 3: [2]}),
        ("test", {0: [5, 6], 1: [3, 4]}),
    ):
        text = "".join(f"{u} {' '.join(map(str, items))}\n" for u, items in lists.items())
        (tmp_path / "gowalla" / f"{name}.txt").write_text(text)
    (tmp_path / "gowalla/user_list.txt").write_text("org_id remap_id\n17 0\n")
    said: list[str] = []
    dataset = run(tmp_path / "gowalla", said)
    assert set(triples_in_order(dataset, "test")) == {(0, 5, 1), (0, 6, 1), (1, 3, 1), (1, 4, 1)}
    assert {split: dataset.rows(split) for split in SPLITS} == {"train": 7, "valid": 3, "test": 4}
    assert said[0] == "train.txt: there is no valid beside it, which gets 25% of its labelled rows"
    assert len(said) == 3


@pytest.mark.parametrize("valid", ["val", "validation", "dev", ""])
def test_valid_by_its_other_names_or_of_train(valid: str, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    header = "user_id,item_id,label\n"
    for name, first in (("train", 0), ("test", 20), *([(valid, 40)] if valid else [])):
        text = "".join(f"{n % 5},{n},1\n" for n in range(first, first + 20))
        (tmp_path / f"log/{name}.csv").write_text(header + text)
    options: dict[str, Any] = {} if valid else {"train": "train.csv", "test": "test.csv"}
    dataset = run(tmp_path / "log", **options)
    found = {split: {item for _, item, _ in triples_in_order(dataset, split)} for split in SPLITS}
    assert found["test"] == {*range(20, 40)}
    if valid:
        assert found == {"train": {*range(20)}, "valid": {*range(40, 60)}, "test": {*range(20, 40)}}
    else:
        assert found["train"] | found["valid"] == {*range(20)}
        assert len(found["valid"]) == 5


def test_the_folder_of_ncf(tmp_path: Path) -> None:
    """Each rating is a positive; of a line of negatives the first item is one, and the others are none."""
    (tmp_path / "Data").mkdir()
    train = "".join(f"{u}\t{i}\t{1 + i % 5}\t{978300000 + i}\n" for u in range(4) for i in range(u, u + 5))
    (tmp_path / "Data/ml.train.rating").write_text(train)
    (tmp_path / "Data/ml.test.rating").write_text("0\t20\t1\t978301968\n1\t21\t4\t978301968\n")
    (tmp_path / "Data/ml.test.negative").write_text("(0,20)\t11\t12\n(1,21)\t12\t13\n")
    said: list[str] = []
    dataset = run(tmp_path / "Data", said)
    tests = {(0, 20, 1), (0, 11, 0), (0, 12, 0), (1, 21, 1), (1, 12, 0), (1, 13, 0)}
    assert set(triples_in_order(dataset, "test")) == tests
    found = by_split(dataset)
    assert found["train"] | found["valid"] == {(u, i, 1) for u in range(4) for i in range(u, u + 5)}
    assert (dataset.rows("train"), dataset.rows("valid")) == (15, 5)
    assert said == ["ml.train.rating: there is no valid beside it, which gets 25% of its labelled rows"]
    (tmp_path / "Data/ml.test.negative").write_text("(0,20)\t11\t12\n\n1,21\t12\t13\n")
    with pytest.raises(UserError, match=r"ml\.test\.negative, line 3.*does not begin with \(user,item\)"):
        prepare(PrepareConfig(source=str(tmp_path / "Data"), output=str(tmp_path / "again")))


def test_negatives_beside_a_valid(tmp_path: Path) -> None:
    """As in a data set of DenoisingRec, whose train has labels of its own."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log/a.train.rating").write_text("1\t10\t1\n1\t11\t0\n2\t10\t1\n")
    (tmp_path / "log/a.valid.rating").write_text("1\t12\t1\n")
    (tmp_path / "log/a.test.negative").write_text("(1, 13)\t14\t15\n(2, 14)\t15\n")
    dataset = run(tmp_path / "log")
    assert set(triples_in_order(dataset, "test")) == {(1, 13, 1), (1, 14, 0), (1, 15, 0), (2, 14, 1), (2, 15, 0)}
    assert set(triples_in_order(dataset, "train")) == {(1, 10, 1), (1, 11, 0), (2, 10, 1)}


POSITIVES = "1\t10\t1\n1\t11\t0\n2\t10\t1\n"


@pytest.mark.parametrize("tests", ["x__test__negative", "x__test__rating"])
def test_denoising_rec_whose_test_has_users_and_items_alone(tests: str, tmp_path: Path) -> None:
    """As its Yelp and Amazon-book: train and valid tell the clean from the noisy, and the test is clean throughout."""
    files = {"x__train__rating": POSITIVES, "x__valid__rating": "1\t12\t1\n2\t12\t0\n"}
    said: list[str] = []
    dataset = run(write(tmp_path / "yelp", **files, **{tests: "0\t14\n1\t13\n1\t14\n"}), said)
    assert by_split(dataset) == {
        "train": {(1, 10, 1), (1, 11, 0), (2, 10, 1)},
        "valid": {(1, 12, 1), (2, 12, 0)},
        "test": {(0, 14, 1), (1, 13, 1), (1, 14, 1)},
    }
    assert dataset.manifest.rule["name"] == "binary"
    assert said == [f"{tests.replace('__', '.')}: users and items alone, each row is a positive"]


def test_pairs_alone_in_each_split_and_no_valid(tmp_path: Path) -> None:
    train = "".join(f"{u}\t{i}\n" for u in range(4) for i in range(u, u + 5))
    dataset = run(write(tmp_path / "x", x__train__rating=train, x__test__negative="0\t20\n3\t21\n"))
    found = by_split(dataset)
    assert found["train"] | found["valid"] == {(u, i, 1) for u in range(4) for i in range(u, u + 5)}
    assert found["test"] == {(0, 20, 1), (3, 21, 1)}
    assert len(found["valid"]) == 5


@pytest.mark.parametrize("test", ["1\t13\n", "(1,13)\t14\n"])
def test_beside_ratings_what_is_positive_by_its_place_stays_so(test: str, tmp_path: Path) -> None:
    """A 1 that only says that a pair is positive was taken for a rating of 1, and so every row of test was negative."""
    files = {"x__train__rating": "1\t10\t5\n1\t11\t2\n", "x__valid__rating": "1\t12\t3\n"}
    dataset = run(write(tmp_path / "x", **files, x__test__negative=test))
    found = by_split(dataset)
    assert found["train"] == {(1, 10, 1), (1, 11, 0)}
    assert found["test"] == {(1, 13, 1)} | ({(1, 14, 0)} if "(" in test else set())
    assert dataset.manifest.rule["name"] == "rating"


def test_a_line_of_three_among_pairs_is_no_pair(tmp_path: Path) -> None:
    root = write(tmp_path / "x", x__train__rating=POSITIVES, x__test__negative="0\t14\n1\t13\t0\n")
    with pytest.raises(UserError, match=r"x\.test\.negative, line 2: 3 fields instead of 2"):
        run(root)


INTER = "user_id:token\titem_id:token\tlabel:float\n"
BENCHMARK = {
    "train": {("a", "p", 1), ("a", "q", 0), ("b", "p", 1), ("b", "r", 1)},
    "valid": {("a", "r", 1)},
    "test": {("b", "q", 0)},
}


def inter(*splits: str) -> str:
    rows = sorted(row for split in splits for row in BENCHMARK[split])
    return INTER + "".join(f"{user}\t{item}\t{float(label)}\n" for user, item, label in rows)


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("train", "val", "test"), ("part1", "part2", "part3")])
def test_the_benchmark_of_recbole(names: tuple[str, ...], tmp_path: Path) -> None:
    """Its splits were read as one log and dealt anew."""
    files = {f"ml-1m__{name}__inter": inter(split) for name, split in zip(names, SPLITS, strict=True)}
    said: list[str] = []
    root = write(tmp_path / "ml-1m", **files, **{"ml-1m__user": "user_id:token\tage:float\na\t5\n"})
    assert by_split(run(root, said)) == BENCHMARK
    parts = "ml-1m.part1.inter, ml-1m.part2.inter, ml-1m.part3.inter are train, valid and test"
    assert said == [parts] * ("part1" in names)


def test_a_benchmark_without_valid_beside_the_whole_log(tmp_path: Path) -> None:
    files = {"x__train__inter": inter("train"), "x__test__inter": inter("test"), "x__inter": inter(*SPLITS)}
    said: list[str] = []
    found = by_split(run(write(tmp_path / "x", **files), said))
    assert found["test"] == BENCHMARK["test"]
    assert found["train"] | found["valid"] == BENCHMARK["train"]
    assert len(found["valid"]) == 1
    assert said == [
        "x.train.inter: there is no valid beside it, which gets 25% of its labelled rows; "
        "x.inter: not read, beside the files of splits"
    ]


@pytest.mark.parametrize("names", [("x.train", "x.valid"), ("x.train", "x.test", "y.train", "y.test")])
def test_which_benchmark_is_meant_must_be_clear(names: tuple[str, ...], tmp_path: Path) -> None:
    root = write(tmp_path / "x", **{f"{name}__inter": inter("train") for name in names})
    with pytest.raises(UserError, match=r"not clear which files to read.* by the options train, valid and test"):
        run(root)


def test_parts_of_a_log_of_another_number_are_one_log(tmp_path: Path) -> None:
    root = write(tmp_path / "x", x__part1__inter=inter("train"), x__part2__inter=inter("valid", "test"))
    found = by_split(run(root))
    assert found["train"] | found["valid"] | found["test"] == {row for rows in BENCHMARK.values() for row in rows}
