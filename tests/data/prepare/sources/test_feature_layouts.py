"""Files of side features as they come: with a delimiter, a header and an encoding that are not the log's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Entity
from distributed_il.data.prepare import PrepareConfig
from distributed_il.data.prepare.sources.feature_files import open_feature_files


def values(path: Path, entity: Entity, columns: list[str], log: dict[str, str] | None = None, **options: Any) -> Any:
    """Opens one file of side features and returns the values of each column by id."""
    kind = entity.removesuffix("s")
    options |= {f"{kind}_features": str(path), f"{kind}_feature_columns": columns}
    config = PrepareConfig(source="log", output="out", **options)
    (file,) = open_feature_files(config, log or {"user": "user", "item": "item"}, None)
    side = file.read("auto")
    return {
        column: {
            user: None if place < 0 else texts[place].as_py()
            for user, place in zip(side.ids.to_pylist(), side.places[:, number].tolist(), strict=True)
        }
        for number, (column, texts) in enumerate(side.texts.items())
    }


def test_movielens_100k(tmp_path: Path) -> None:
    (tmp_path / "u.user").write_text("1|24|M|technician|85711\n2|53|F|other|94043\n")
    found = values(tmp_path / "u.user", "users", ["gender", "occupation"])
    assert found == {"gender": {1: "M", 2: "F"}, "occupation": {1: "technician", 2: "other"}}
    flags = "|".join(["0"] * 5 + ["1"] + ["0"] * 13)
    line = f"7|Caf\xe9 (1995)|01-Jan-1995||http://us.imdb.com/M|{flags}\n"
    (tmp_path / "u.item").write_bytes(line.encode("latin-1"))
    found = values(tmp_path / "u.item", "items", ["title", "Comedy", "Western"])
    assert found == {"title": {7: "Caf\xe9 (1995)"}, "Comedy": {7: "1"}, "Western": {7: "0"}}


def test_movielens_1m(tmp_path: Path) -> None:
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    assert values(tmp_path / "users.dat", "users", ["age"]) == {"age": {1: "1", 2: "56"}}
    (tmp_path / "movies.dat").write_bytes("73::Mis\xe9rables, Les (1995)::Drama\n".encode("latin-1"))
    found = values(tmp_path / "movies.dat", "items", ["title", "genres"])
    assert found == {"title": {73: "Mis\xe9rables, Les (1995)"}, "genres": {73: "Drama"}}


def test_movielens_latest_and_mind(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text('movieId,title,genres\n11,"American President, The (1995)",Comedy\n')
    found = values(tmp_path / "movies.csv", "items", ["title"], {"user": "userId", "item": "movieId"})
    assert found == {"title": {11: "American President, The (1995)"}}
    (tmp_path / "news.tsv").write_text('N1\tsports\tnfl\tHe said "no\t\thttps://a\t[]\t[]\n')
    found = values(tmp_path / "news.tsv", "items", ["category", "subcategory"], {"user": "user_id", "item": "item_id"})
    assert found == {"category": {"N1": "sports"}, "subcategory": {"N1": "nfl"}}
    # anybody's file of that name
    (tmp_path / "news.tsv").write_text("item_id\tcategory\nN1\tsports\n")
    found = values(tmp_path / "news.tsv", "items", ["category"], {"user": "user_id", "item": "item_id"})
    assert found == {"category": {"N1": "sports"}}


def test_recbole(tmp_path: Path) -> None:
    (tmp_path / "ml.user").write_text("user_id:token\tage:float\tgender:token\n1\t24\tM\n2\t\tF\n")
    log = {"user": "user_id:token", "item": "item_id:token"}
    found = values(tmp_path / "ml.user", "users", ["age", "gender"], log)
    assert found == {"age": {1: "24", 2: None}, "gender": {1: "M", 2: "F"}}
    (tmp_path / "ml.item").write_text("item_id:token\trelease_year:token\n7\t1995\n")
    assert values(tmp_path / "ml.item", "items", ["release_year"], log) == {"release_year": {7: "1995"}}


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
@pytest.mark.parametrize("of_log", [None, ";", "::"])
def test_a_delimiter_need_not_be_that_of_the_log(delimiter: str, of_log: str | None, tmp_path: Path) -> None:
    (tmp_path / "age.csv").write_text("user;id;x\n".replace(";", delimiter) + f"1{delimiter}30{delimiter}a\n")
    assert values(tmp_path / "age.csv", "users", ["x"], delimiter=of_log) == {"x": {1: "a"}}
    assert values(tmp_path / "age.csv", "users", ["x"], user_features_delimiter=delimiter, delimiter=of_log) == {
        "x": {1: "a"}
    }


def test_a_header_and_an_encoding_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "age.csv").write_bytes("1;M\xfcnchen\n2;K\xf6ln\n".encode("latin-1"))
    options = {"user_features_header": ["user", "city"], "user_features_encoding": "latin-1"}
    found = values(tmp_path / "age.csv", "users", ["city"], encoding="utf-8", **options)
    assert found == {"city": {1: "M\xfcnchen", 2: "K\xf6ln"}}
    with pytest.raises(UserError, match=r"has no column 'town', only user, city; correct user_feature_columns"):
        values(tmp_path / "age.csv", "users", ["town"], **options)
    with pytest.raises(UserError, match="user_features_encoding is given; give user_features, the file"):
        PrepareConfig(source="log", output="out", **options)
