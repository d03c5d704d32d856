"""Side features of several values a field: told apart, coded, laid out, appended to, and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare, summary_text
from distributed_il.data.prepare.sources.feature_values import lay_out

LOG = "user_id,item_id,label\n" + "".join(f"{u},{i},{(u + i) % 2}\n" for u in range(4) for i in range(1, 6))
GENRES = {1: "Drama|Comedy", 2: "", 3: "Comedy", 4: " War | Drama|Comedy|War"}
OPTIONS: dict[str, Any] = {"item_feature_columns": ["year", "genres"], "item_features_separator": "|"}


def run(root: Path, output: str = "data", log: str = LOG, **options: Any) -> Dataset:
    (root / f"{output}.csv").write_text(log)
    for name in ("item_features", "append_to"):
        if name in options:
            options[name] = str(root / options[name])
    config = PrepareConfig(source=str(root / f"{output}.csv"), output=str(root / output), lanes=2, factors=0, **options)
    prepare(config)
    return Dataset.open(str(root / output))


def given(dataset: Dataset) -> dict[int, dict[str, list[str]]]:
    """Returns the values of each item by column, from its codes one by one."""
    codes, values = dataset.feature_codes("items").tolist(), dataset.feature_values("items")
    found: dict[int, dict[str, list[str]]] = {}
    for item, row in zip(dataset.vocabulary("items").to_pylist(), codes, strict=True):
        rest, found[item] = list(row), {}
        for column in dataset.feature_columns("items"):
            own, rest = rest[: column.width], rest[column.width :]
            found[item][column.name] = [values[column.name][code - 1].as_py() for code in own if code]
            assert own == sorted(own, key=lambda code: (code == 0, code))
    return found


def write_csv(root: Path, genres: dict[int, str] = GENRES, name: str = "items.csv") -> None:
    (root / name).write_text("item_id,year,genres\n" + "".join(f"{i},{1990 + i},{g}\n" for i, g in genres.items()))


def test_values_that_a_separator_parts(tmp_path: Path) -> None:
    """Their order does not matter, nor does one that stands twice, nor blanks; a field without any is unknown."""
    write_csv(tmp_path)
    dataset = run(tmp_path, item_features="items.csv", **OPTIONS)
    assert [(column.name, column.values, column.width) for column in dataset.feature_columns("items")] == [
        ("year", 4, 1),
        ("genres", 3, 3),
    ]
    assert dataset.feature_values("items")["genres"].to_pylist() == ["Comedy", "Drama", "War"]
    assert dataset.feature_codes("items").tolist() == [
        [1, 1, 2, 0],
        [2, 0, 0, 0],
        [3, 1, 0, 0],
        [4, 1, 2, 3],
        [0, 0, 0, 0],
    ]
    assert "genres (3 values, up to 3 at once)" in summary_text(dataset.manifest)
    assert "year (4 values)," in summary_text(dataset.manifest)


def test_without_a_separator_a_field_is_one_value_as_ever(tmp_path: Path) -> None:
    write_csv(tmp_path)
    dataset = run(tmp_path, item_features="items.csv", item_feature_columns=["genres"])
    assert dataset.feature_values("items")["genres"].to_pylist() == [
        " War | Drama|Comedy|War",
        "Comedy",
        "Drama|Comedy",
    ]
    assert "width" not in (tmp_path / "data/manifest.json").read_text()


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_lists_hold_several_values_by_themselves(kind: str, tmp_path: Path) -> None:
    lists: list[list[str] | None] = [["b", "a"], [], None, ["c", "a", "c"], ["a"]]
    if kind == "parquet":
        pq.write_table(pa.table({"item_id": [*range(1, 6)], "tags": lists}), tmp_path / "items.parquet")
    else:
        rows = [json.dumps({"item_id": i, "tags": tags}) for i, tags in enumerate(lists, start=1)]
        (tmp_path / "items.jsonl").write_text("\n".join(rows))
    dataset = run(tmp_path, item_features=f"items.{kind}", item_feature_columns=["tags"])
    found = {item: values["tags"] for item, values in given(dataset).items()}
    assert found == {1: ["a", "b"], 2: [], 3: [], 4: ["a", "c"], 5: ["a"]}


def test_of_recbole_only_sequences_are_parted(tmp_path: Path) -> None:
    header = "item_id:token\ttitle:token\tclass:token_seq\tscores:float_seq\n"
    text = f"{header}1\tToy Story\tComedy War\t1.5 2\n2\tHeat\t\t2\n"
    (tmp_path / "x.item").write_text(text)
    columns = ["title", "class", "scores"]
    dataset = run(tmp_path, item_features="x.item", item_feature_columns=columns, item_features_separator=" ")
    found = given(dataset)
    assert found[1] == {"title": ["Toy Story"], "class": ["Comedy", "War"], "scores": ["1.5", "2"]}
    assert found[2] == {"title": ["Heat"], "class": [], "scores": ["2"]}


def test_a_dataset_that_grows_keeps_codes_and_makes_room(tmp_path: Path) -> None:
    """New items have more values than any before; the separator is remembered."""
    write_csv(tmp_path, {1: "Drama|Comedy", 2: "Comedy", 3: ""})
    old = run(tmp_path, item_features="items.csv", **OPTIONS)
    write_csv(tmp_path, {2: "War|Comedy", 3: "", 6: "Action|War|Drama|Comedy"}, "more.csv")
    log = "user_id,item_id,label\n" + "".join(f"{u},{i},1\n" for u in range(4) for i in (2, 3, 6))
    new = run(tmp_path, "grown", log, append_to="data", item_features="more.csv")
    before, now = given(old), given(new)
    assert {item: sorted(values["genres"]) for item, values in now.items() if values["genres"]} == {
        1: ["Comedy", "Drama"],
        2: ["Comedy", "War"],
        6: ["Action", "Comedy", "Drama", "War"],
    }
    assert now[1] == before[1]
    assert new.feature_values("items")["genres"].to_pylist() == ["Comedy", "Drama", "Action", "War"]
    assert [column.width for column in new.feature_columns("items")] == [1, 4]
    # And where those that come have fewer, those that are there keep theirs.
    write_csv(tmp_path, {7: "War"}, "fewer.csv")
    log = "user_id,item_id,label\n" + "".join(f"{u},{i},1\n" for u in range(4) for i in (2, 3, 7))
    third = given(run(tmp_path, "third", log, append_to="grown", item_features="fewer.csv"))
    assert third == now | {7: {"year": ["1997"], "genres": ["War"]}}


def test_what_one_item_has_must_be_clear(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,year,genres\n1,1990,a|b\n1,1990,b|a|b\n2,1991,a\n2,1991,a|b\n")
    with pytest.raises(UserError, match=r"line 5, column genres: \['a', 'b'\], but .*line 4 has \['a'\] for the sa"):
        run(tmp_path, item_features="items.csv", **OPTIONS)


def test_more_values_than_there_is_room_for(tmp_path: Path) -> None:
    write_csv(tmp_path, {1: "a", 2: "|".join(map(str, range(65)))})
    with pytest.raises(UserError, match=r"items\.csv, line 3, column genres: 65 values in one field, and at most 64"):
        run(tmp_path, item_features="items.csv", **OPTIONS)


def test_a_separator_is_not_nothing_and_has_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="item_features_separator is empty"):
        PrepareConfig(source="x", output="y", item_features="items.csv", **OPTIONS | {"item_features_separator": ""})
    with pytest.raises(UserError, match="item_features_separator is given; give item_features"):
        PrepareConfig(source="x", output="y", item_features_separator="|")


def plain(places: list[int], counts: list[int]) -> NDArray[Any]:
    """The same, one row after another."""
    rest, sets = list(places), list[list[int]]()
    for count in counts:
        sets.append(sorted(set(rest[:count])))
        rest = rest[count:]
    width = max(1, *map(len, sets)) if sets else 1
    return np.array([row + [-1] * (width - len(row)) for row in sets]).reshape(len(sets), width)


@pytest.mark.parametrize("seed", range(5))
def test_rows_against_a_plain_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, 7 * seed)
    places = rng.integers(0, 5, counts.sum())
    assert lay_out(places, counts).tolist() == plain(places.tolist(), counts.tolist()).tolist()
