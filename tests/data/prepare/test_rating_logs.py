"""Every public log of ratings or of positives, in exactly its layout, comes out right to the row without options."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest
from prepared_logs import labels, run, sizes

from distributed_il.core.errors import UserError
from distributed_il.data.prepare import PrepareConfig, prepare


def test_movielens_1m(tmp_path: Path) -> None:
    lines = [f"{user}::{item}::{1 + (user + item) % 5}::978300760" for user in range(1, 6) for item in range(1, 5)]
    root = tmp_path / "ml-1m"
    root.mkdir()
    (root / "ratings.dat").write_text("\n".join(lines) + "\n")
    (root / "movies.dat").write_bytes("1::Les Misérables (1995)::Drama\n".encode("latin-1"))
    (root / "users.dat").write_text("1::F::1::10::48067\n")
    dataset = run(root)
    assert labels(dataset) == {(u, i): int(1 + (u + i) % 5 > 2) for u in range(1, 6) for i in range(1, 5)}
    assert sizes(dataset) == {"train": 12, "valid": 4, "test": 4, "unclear": 0}


def test_movielens_100k(tmp_path: Path) -> None:
    root = tmp_path / "ml-100k"
    root.mkdir()
    (root / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t2\t891717742\n22\t377\t1\t878887116\n7\t5\t5\t1\n")
    (root / "u.item").write_bytes(b"1|Toy Story (1995)|\xe9\n")
    dataset = run(root, train_share=0.5, valid_share=0.25)
    assert labels(dataset) == {(196, 242): 1, (186, 302): 0, (22, 377): 0, (7, 5): 1}
    assert dataset.manifest.rule["name"] == "rating"


def movielens_latest(root: Path) -> Path:
    root.mkdir()
    rows = [
        f"{user},{item},{0.5 + (user + item) % 10 / 2},9649{user:02}{item:04}"
        for user in range(1, 6)
        for item in range(1, 11)
    ]
    (root / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]) + "\n")
    (root / "movies.csv").write_text('movieId,title,genres\n1,"American President, The (1995)",Comedy|Drama\n')
    (root / "tags.csv").write_text("userId,movieId,tag,timestamp\n2,60756,funny,1445714994\n")
    (root / "links.csv").write_text("movieId,imdbId,tmdbId\n1,0114709,862\n")
    (root / "README.txt").write_text("Summary\n=======\n")
    return root


def test_movielens_latest_20m_25m(tmp_path: Path) -> None:
    root = movielens_latest(tmp_path / "ml-latest-small")
    dataset = run(root, split="time")
    assert labels(dataset) == {(u, i): int(0.5 + (u + i) % 10 / 2 > 2) for u in range(1, 6) for i in range(1, 11)}
    assert dataset.manifest.id_type == {"user": "int64", "item": "int64"}
    assert [file.path for file in dataset.manifest.source] == ["ratings.csv"]
    assert "format" not in dataset.manifest.rule  # the dataset is what naming the columns makes
    named = PrepareConfig(
        source=str(root / "ratings.csv"),
        output=str(tmp_path / "named"),
        user_column="userId",
        item_column="movieId",
        name="ml-latest-small",
        split="time",
        lanes=2,
    )
    assert prepare(named).fingerprint == dataset.fingerprint


@pytest.mark.parametrize(("year", "name"), [(2014, "ratings_Digital_Music.csv"), (2018, "Digital_Music.csv")])
def test_amazon_2014_and_2018(year: int, name: str, tmp_path: Path) -> None:
    """Without a header, the later one with the item before the user."""
    rated = {
        (f"A2EFCYXHNK06I{user}", f"B00006SH{item}X"): 1 + (user + item) % 5 for user in range(5) for item in range(4)
    }
    order = 1 if year == 2014 else -1
    rows = [",".join([*pair[::order], f"{rating}.0", "978480000"]) for pair, rating in rated.items()]
    (tmp_path / name).write_text("\n".join(rows) + "\n")
    assert labels(run(tmp_path / name)) == {pair: int(rating > 2) for pair, rating in rated.items()}


def test_amazon_2023(tmp_path: Path) -> None:
    rows = [f"AE{user}AXR,B00{item},{1 + (user + item) % 5}.0,168847{user}" for user in range(5) for item in range(4)]
    path = tmp_path / "All_Beauty.csv.gz"
    path.write_bytes(gzip.compress("\n".join(["user_id,parent_asin,rating,timestamp", *rows]).encode()))
    assert labels(run(path)) == {(f"AE{u}AXR", f"B00{i}"): int(1 + (u + i) % 5 > 2) for u in range(5) for i in range(4)}


def test_a_middle_of_ratings_is_unclear(tmp_path: Path) -> None:
    rows = [f"{user}\t{item}\t{1 + (user + item) % 5}\t88125094{user}" for user in range(5) for item in range(8)]
    (tmp_path / "u.data").write_text("\n".join(rows))
    dataset = run(tmp_path / "u.data", positive_above=4, negative_below=3)
    meaning = {1: 0, 2: 0, 3: None, 4: None, 5: 1}
    assert labels(dataset) == {(u, i): meaning[1 + (u + i) % 5] for u in range(5) for i in range(8)}
    assert sizes(dataset)["unclear"] == 16
    assert dataset.manifest.rule | {"split": None} == {
        "name": "rating",
        "positive_above": 4,
        "negative_below": 3,
        "format": ["movielens100k"],
        "split": None,
    }
    with pytest.raises(UserError, match=r"prepared with negative_below 3, not 2; .* set negative_below to what"):
        prepare(
            PrepareConfig(
                source=str(tmp_path / "u.data"),
                output=str(tmp_path / "more"),
                append_to=dataset.path,
                negative_below=2,
            )
        )


def test_an_unclear_middle_is_of_ratings_alone(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,label\n1,2,1\n")
    with pytest.raises(UserError, match=r"negative_below is given, .* the rule of log\.csv is binary"):
        run(tmp_path / "log.csv", negative_below=1)


def test_triples(tmp_path: Path) -> None:
    root = tmp_path / "ml"
    root.mkdir()
    (root / "ml.train.rating").write_text("1\t10\t5\n2\t10\t2\n")
    (root / "ml.valid.rating").write_text("1\t30\t1\n")
    (root / "ml.test.negative").write_text("2\t20\t4\n")
    dataset = run(root)
    assert labels(dataset) == {(1, 10): 1, (2, 10): 0, (1, 30): 0, (2, 20): 1}
    assert sizes(dataset) == {"train": 2, "valid": 1, "test": 1, "unclear": 0}


def test_recbole(tmp_path: Path) -> None:
    root = tmp_path / "ml-100k"
    root.mkdir()
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    rows = [f"{user}\ti{item}\t{1 + (user + item) % 5}\t88125094{user}" for user in range(5) for item in range(4)]
    (root / "ml-100k.inter").write_text("\n".join([header, *rows]))
    (root / "ml-100k.item").write_text("item_id:token\tclass:token_seq\n1\tDrama\n")
    assert labels(run(root)) == {(u, f"i{i}"): int(1 + (u + i) % 5 > 2) for u in range(5) for i in range(4)}


def test_recbole_without_a_value_is_positives_only(tmp_path: Path) -> None:
    rows = [f"{user}\ti{item}\t88125094{user}" for user in range(5) for item in range(4)]
    (tmp_path / "gowalla.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]))
    dataset = run(tmp_path / "gowalla.inter")
    assert labels(dataset) == {(u, f"i{i}"): 1 for u in range(5) for i in range(4)}
    assert dataset.manifest.rule["name"] == "positive"


def test_a_format_may_be_told(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    rows = [f"{user}\t{item}\t{1 + (user + item) % 5}\t88125094{user}" for user in range(5) for item in range(4)]
    (root / "part.tsv").write_text("\n".join(rows))
    dataset = run(root, format="movielens100k")
    assert Counter(labels(dataset).values()) == Counter(int(1 + (u + i) % 5 > 2) for u in range(5) for i in range(4))


def test_an_id_that_is_no_integer_is_a_mistake_in_a_public_log(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("1O6\t242\t3\t881250949\n186\t302\t2\t891717742\n")
    with pytest.raises(UserError, match=r"u\.data, line 1, column user: '1O6': it is no integer"):
        run(tmp_path / "u.data")
