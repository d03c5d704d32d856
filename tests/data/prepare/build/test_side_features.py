"""Side features from their files to codes: unknown values, codes that stay, and files that are refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare, summary_text
from distributed_il.data.prepare.sources.column_types import BadValueError, read_categories
from distributed_il.report.dataset_page import summary_page

LOG = "uid,vid,label\n" + "".join(f"{u},v{i},{(u + i) % 2}\n" for u in range(1, 7) for i in range(5))
USERS = "age,uid,gender\n25,1,F\n,2,M\n35,3,F\n25,4,\n50,9,X\n"
USER_OPTIONS: dict[str, Any] = {"user_features": "users.csv", "user_feature_columns": ["gender", "age"]}


def run(root: Path, output: str = "data", log: str = LOG, **options: Any) -> Dataset:
    (root / f"{output}.csv").write_text(log)
    for name in ("user_features", "item_features", "append_to"):
        if name in options:
            options[name] = str(root / options[name])
    columns = {"user_column": "uid", "item_column": "vid", "name": "log", "lanes": 2}
    config = PrepareConfig(source=str(root / f"{output}.csv"), output=str(root / output), **columns, **options)
    prepare(config, summary_page=summary_page)
    return Dataset.open(str(root / output))


def codes(dataset: Dataset) -> list[list[list[int]]]:
    return [dataset.feature_codes("users").tolist(), dataset.feature_codes("items").tolist()]


def values(dataset: Dataset) -> dict[str, list[str]]:
    return {
        name: found.to_pylist()
        for entity in ("users", "items")
        for name, found in dataset.feature_values(entity).items()
    }


def test_codes_by_hand(tmp_path: Path) -> None:
    """Users 1 … 6 of gender F, M, F, and age 25, –, 35, 25; 5 and 6 have no row, 9 is not in the log."""
    (tmp_path / "users.csv").write_text(USERS)
    items = pa.table({"vid": ["v3", "v1", "v3"], "live": [True, False, True], "shop": [7.0, float("nan"), 7.0]})
    pq.write_table(items, tmp_path / "items.parquet")
    more = {"item_features": "items.parquet", "item_feature_columns": ["shop", "live"]}
    dataset = run(tmp_path, **USER_OPTIONS, **more)
    assert dataset.vocabulary("users").to_pylist() == [1, 2, 3, 4, 5, 6]
    assert dataset.vocabulary("items").to_pylist() == ["v0", "v1", "v2", "v3", "v4"]
    # Values that no user of the log has, X and 50, have no code.
    assert values(dataset) == {"gender": ["F", "M"], "age": ["25", "35"], "shop": ["7"], "live": ["false", "true"]}
    assert codes(dataset) == [
        [[1, 1], [2, 0], [1, 2], [0, 1], [0, 0], [0, 0]],
        [[0, 0], [0, 1], [0, 0], [1, 2], [0, 0]],
    ]
    counts = dataset.manifest.counts
    assert [counts[name] for name in ("users_with_features", "user_features_unused")] == [4, 1]
    assert [counts[name] for name in ("items_with_features", "item_features_unused")] == [2, 0]
    assert [file.path for file in dataset.manifest.source] == ["data.csv", "users.csv", "items.parquet"]
    assert (
        "  features             4 users have some: gender (2 values), age (2 values); 1 users of the file are not in "
        "the log"
    ) in summary_text(dataset.manifest).splitlines()
    page = (tmp_path / "data" / "summary.html").read_text()
    assert "users</th><td>6</td><td>4</td><td>1</td>" in page


def test_without_side_features_a_dataset_is_as_before(tmp_path: Path) -> None:
    dataset = run(tmp_path)
    assert codes(dataset) == [[[]] * dataset.num_users, [[]] * dataset.num_items]
    assert "features" not in (tmp_path / "data" / "manifest.json").read_text()


def test_the_order_of_rows_does_not_matter_and_files_may_be_compressed(tmp_path: Path) -> None:
    header, *rows = USERS.splitlines()
    (tmp_path / "users.csv").write_text(USERS)
    with gzip.open(tmp_path / "users.csv.gz", "wt") as file:
        file.write("\n".join([header, *reversed(rows), rows[2]]))  # a row that comes twice says nothing new
    one, other = (
        run(tmp_path, "one", **USER_OPTIONS),
        run(tmp_path, "two", **USER_OPTIONS | {"user_features": "users.csv.gz"}),
    )
    assert codes(one) == codes(other)
    assert values(one) == values(other)
    assert one.fingerprint != other.fingerprint  # of another source


def test_codes_stay_and_new_values_come_after_them(tmp_path: Path) -> None:
    """User 1 moves to 18, 2's age becomes known, 3 is not given again, 7 is new and of a new gender."""
    (tmp_path / "users.csv").write_text(USERS)
    before = run(tmp_path, "one", **USER_OPTIONS)
    (tmp_path / "new.csv").write_text("uid,gender,age\n1,,18\n2,M,35\n7,A,25\n")
    second = "uid,vid,label\n" + "".join(f"{u},w{i},{(u + i) % 2}\n" for u in (1, 7) for i in range(9))
    options: dict[str, Any] = USER_OPTIONS | {"user_features": "new.csv", "append_to": "one", "new_ids": True}
    after = run(tmp_path, "two", second, **options)
    assert values(before) == {"gender": ["F", "M"], "age": ["25", "35"]}
    assert values(after) == {"gender": ["F", "M", "A"], "age": ["25", "35", "18"]}
    assert codes(after)[0] == [[1, 3], [2, 2], [1, 2], [0, 1], [0, 0], [0, 0], [3, 1]]


def test_a_dataset_that_had_none_may_get_some(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    run(tmp_path, "one")
    second = "uid,vid,label\n" + "".join(f"7,w{i},{i % 2}\n" for i in range(9))
    assert codes(run(tmp_path, "two", second, append_to="one", new_ids=True, **USER_OPTIONS))[0][0] == [1, 1]


def test_appending_without_the_same_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(USERS)
    run(tmp_path, "one", **USER_OPTIONS)
    with pytest.raises(
        UserError, match=r"has the user features \[gender, age\], and here they are not given; give user"
    ):
        run(tmp_path, "two", append_to="one")
    with pytest.raises(UserError, match=r"and here they are \[age\]; give user_features and user_feature_columns="):
        run(tmp_path, "two", append_to="one", **USER_OPTIONS | {"user_feature_columns": ["age"]})


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        # A user of gender F and age 35 is 1 here.
        (USERS + "1,3,F\n", {}, r"users\.csv, line 7, column age: '1', but .*line 4 has '35' for the same uid"),
        ("uid,gender,age\n1,F,25\n\n1,F,26\n", {}, r"line 4, column age: '26', but .*line 2 has '25' for the same uid"),
        ("uid,gender,age\n1,F,25\n1,F,\n", {}, r"line 3, column age: None, but .*leave one row for each user"),
        ("uid,gender,age\nx,F,25\n", {}, r"users\.csv, line 2, column uid: 'x': it is no integer"),
        ("uid,gender,age\n,F,25\n", {}, r"line 2, column uid: '': the id is missing"),
        ("uid,gender,age\n1,F\n", {}, r"line 2: 2 fields instead of 3"),
        ("uid,gender,age\n", {}, "users.csv holds no rows; give a file with rows, or leave user_features out"),
        ("", {}, "users.csv is empty"),
        ("uid,gender\n1,F\n", {}, r"has no column 'age', only uid, gender; correct user_feature_columns"),
        ("u,gender,age\n1,F,3\n", {}, r"has no column 'user_id', only u, gender, age; correct user_features_id"),
        ("uid,age,age\n1,F,3\n", {"user_feature_columns": ["age"]}, "has 2 columns called 'age'"),
        (USERS, {"user_feature_columns": ["uid"]}, "the column 'uid' holds the ids; leave it out of"),
        (
            USERS,
            {"user_features": "nowhere.csv"},
            "nowhere.csv is no file; give user_features a CSV, JSON or Parquet",
        ),
        (USERS, {"user_features": "."}, "is no file"),
    ],
)
def test_what_does_not_say_clearly_what_is_meant_is_refused(
    text: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "users.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        run(tmp_path, **USER_OPTIONS | options)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user_features": "u.csv"}, "give user_feature_columns, such as"),
        ({"item_feature_columns": ["a"]}, "give item_features, the file that"),
        ({"item_features_id": "a"}, "give item_features, the file that"),
        ({"user_features": "u.csv", "user_feature_columns": ["a", "b", "a"]}, "names a column twice: a, b, a"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PrepareConfig(source="x", output="y", **options)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", "", None, "NA"]), ["a", None, None, "NA"]),
        (pa.array([3, None], pa.uint8()), ["3", None]),
        (pa.array([3.0, float("nan"), None]), ["3", None, None]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["x", "x"]).dictionary_encode(), ["x", "x"]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_categories_are_told_apart_by_their_text(column: pa.Array, expected: list[str | None]) -> None:
    assert read_categories(column).to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "row", "message"),
    [
        (pa.array([1.0, 2.5, 3.5]), 1, "cut numbers like this into classes"),
        (pa.array([1.0, float("inf")]), 1, "a category is text or a whole number"),
        (pa.array([[1], [2]]), 0, "the column is of type list"),
    ],
)
def test_what_is_no_category_is_refused(column: pa.Array, row: int, message: str) -> None:
    with pytest.raises(BadValueError, match=message) as caught:
        read_categories(column)
    assert caught.value.row == row
