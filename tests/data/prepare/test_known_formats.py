"""Every public log, in exactly its layout, is prepared without options, and comes out right to the row."""

from __future__ import annotations

import bz2
import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from dataset_rows import pairs_in_order, triples_in_order

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset
from distributed_il.data.prepare import PrepareConfig, prepare

Label = int | None
Expected = dict[tuple[Any, Any], Label]
"""Label of each pair, None where unclear."""


def run(source: str | Path, **options: Any) -> Dataset:
    output = Path(str(source).partition("*")[0]).parent / "prepared"
    prepare(PrepareConfig(source=str(source), output=str(output), **{"lanes": 2, **options}))
    return Dataset.open(str(output))


def labels(dataset: Dataset) -> Expected:
    found: Expected = {}
    for split in SPLITS:
        found |= {(user, item): label for user, item, label in triples_in_order(dataset, split)}
    return found | (dict.fromkeys(pairs_in_order(dataset, "unclear")) if dataset.rows("unclear") else {})


def sizes(dataset: Dataset) -> dict[str, int]:
    return {split: dataset.rows(split) for split in (*SPLITS, "unclear")}


KUAIREC = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
KUAIRAND = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
KUAISAR = "user_id,item_id,playing_time,duration_ms,time,timestamp,click,forward,like,follow,search,search_item_related"

WATCHES: list[tuple[int, int, Label]] = [
    # play and duration in ms, and what becomes of it
    (2_999, 60_000, 0),  # a short play
    (3_000, 60_000, None),  # no longer one, and not long
    (17_999, 60_000, None),
    (18_000, 60_000, 1),  # a long view
    (17_999, 18_000, None),
    (18_000, 18_000, 1),  # a complete play
    (7_000, 7_000, 1),
    (6_999, 7_000, None),
    (7_001, 7_000, 1),
    (1_999, 2_000, 0),  # shorter than 3 s: what is not complete is short
    (2_000, 2_000, 1),
    (0, 60_000, 0),
    (40_000, 20_000, 1),  # looped
    (5_000, 0, None),  # without a duration nothing is complete
    (2_999, 0, 0),
    (18_000, 0, 1),
    (40_000, 0, 1),
]


def expected_watches(start: int = 0) -> Expected:
    return {(7, start + number): label for number, (_, _, label) in enumerate(WATCHES)}


def kuairec(user: int, item: int, play: int, duration: int) -> str:
    ratio = play / duration if duration else 0
    return f"{user},{item},{play},{duration},2020-07-05 05:27:48.378,20200705,1593898068.378,{ratio}"


def kuairand(user: int, item: int, play: int, duration: int, *, flags: str = "0,0,0,0,0", rand: int = 0) -> str:
    return f"{user},{item},20220408,1000,1649383200000,1,{flags},0,{play},{duration},0,0,0,{rand},1"


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


def test_kuairec_big_alone(tmp_path: Path) -> None:
    rows = [kuairec(7, number, play, duration) for number, (play, duration, _) in enumerate(WATCHES)]
    (tmp_path / "big_matrix.csv").write_text("\n".join([KUAIREC, *rows, rows[0]]) + "\n")  # it has duplicates
    dataset = run(tmp_path / "big_matrix.csv", unseen="keep")
    assert labels(dataset) == expected_watches()
    assert dataset.manifest.counts["duplicate_rows"] == 1
    assert dataset.manifest.rule["name"] == "kuaishou"


def test_kuairec_small_is_the_test_set_of_big(tmp_path: Path) -> None:
    root = tmp_path / "KuaiRec"
    (root / "data").mkdir(parents=True)
    big = [kuairec(7, number, play, duration) for number, (play, duration, _) in enumerate(WATCHES)]
    small = [kuairec(8, number, 20_000, 60_000) for number in range(3)] + ["8,3,1,60000,,,,0.1"]  # without a time
    (root / "data" / "big_matrix.csv").write_text("\n".join([KUAIREC, *big]) + "\n")
    (root / "data" / "small_matrix.csv").write_text("\n".join([KUAIREC, *small]) + "\n")
    (root / "data" / "item_categories.csv").write_text("video_id,feat\n0,[8]\n")
    dataset = run(root)
    assert labels(dataset) == expected_watches() | {(8, 0): 1, (8, 1): 1, (8, 2): 1, (8, 3): 0}
    assert set(triples_in_order(dataset, "test")) == {(8, 0, 1), (8, 1, 1), (8, 2, 1), (8, 3, 0)}
    clear = sum(label is not None for _, _, label in WATCHES)
    assert sizes(dataset) == {
        "train": round(clear * 0.75),
        "valid": clear - round(clear * 0.75),
        "test": 4,
        "unclear": len(WATCHES) - clear,
    }


ENGAGED: list[tuple[str, int, Label]] = [
    # is_like, is_follow, is_comment, is_forward, is_hate; play of 60 s; label
    ("1,0,0,0,0", 10, 1),  # whoever likes it need not watch it
    ("0,1,0,0,0", 10, 1),
    ("0,0,1,0,0", 5_000, 1),
    ("0,0,0,1,0", 5_000, 1),
    ("1,1,1,1,1", 60_000, 0),  # hate prevails over all
    ("0,0,0,0,1", 5_000, 0),
    ("0,0,0,0,1", 60_000, 0),
    ("0,0,0,0,0", 5_000, None),
]


def kuairand_archive(root: Path, parts: tuple[str, ...] = ("log_standard_4_08_to_4_21_1k.csv",)) -> Expected:
    """The archive with its tables of features, and the labels of its standard rows."""
    data = root / "data"
    data.mkdir(parents=True)
    rows = [kuairand(7, number, play, duration) for number, (play, duration, _) in enumerate(WATCHES)]
    rows += [kuairand(9, number, play, 60_000, flags=flags) for number, (flags, play, _) in enumerate(ENGAGED)]
    share = -(-len(rows) // len(parts))
    for number, name in enumerate(parts):
        (data / name).write_text("\n".join([KUAIRAND, *rows[number * share : (number + 1) * share]]) + "\n")
    random = [kuairand(5, 0, 20_000, 60_000, rand=1), kuairand(7, 3, 0, 60_000, rand=1)]
    random += [kuairand(5, 1, 4_000, 60_000, rand=1)]
    (data / "log_random_4_22_to_5_08_1k.csv").write_text("\n".join([KUAIRAND, *random]) + "\n")
    (data / "user_features_1k.csv").write_text("user_id,user_active_degree\n7,full_active\n")
    (data / "video_features_basic_1k.csv").write_text("video_id,author_id\n0,1\n")
    return expected_watches() | {(9, number): label for number, (_, _, label) in enumerate(ENGAGED)}


@pytest.mark.parametrize(
    "parts",
    [
        ("log_standard_4_08_to_4_21_1k.csv", "log_standard_4_22_to_5_08_1k.csv"),
        ("log_standard_4_08_to_4_21_27k_part1.csv", "log_standard_4_08_to_4_21_27k_part2.csv"),
    ],
)
def test_kuairand_is_tested_on_random_exposures(parts: tuple[str, ...], tmp_path: Path) -> None:
    expected = kuairand_archive(tmp_path / "KuaiRand", parts)
    dataset = run(tmp_path / "KuaiRand")
    # The pair (7, 3) is in both logs: it stays in the unbiased one. Its unclear row is set aside.
    assert set(triples_in_order(dataset, "test")) == {(5, 0, 1), (7, 3, 0)}
    assert labels(dataset) == expected | {(5, 0): 1, (7, 3): 0}
    assert dataset.manifest.counts["overlapping_rows"] == 1
    assert dataset.manifest.counts["unclear_rows_outside_train"] == 1
    assert dataset.manifest.rule["format"] == ["kuairand"]


def test_kuairand_mixed(tmp_path: Path) -> None:
    expected = kuairand_archive(tmp_path / "KuaiRand")
    dataset = run(tmp_path / "KuaiRand", unbiased="mix", contradictions="first")
    # log_random comes first by its name.
    assert labels(dataset) == expected | {(5, 0): 1, (7, 3): 0, (5, 1): None}
    clear = sum(label is not None for label in labels(dataset).values())
    assert sizes(dataset)["train"] == round(clear * 0.6)


def test_kuairand_random_alone_is_dealt_like_any_log(tmp_path: Path) -> None:
    rows = [kuairand(7, number, play, duration, rand=1) for number, (play, duration, _) in enumerate(WATCHES)]
    (tmp_path / "log_random_4_22_to_5_08_pure.csv").write_text("\n".join([KUAIRAND, *rows]) + "\n")
    assert labels(run(tmp_path / "log_random_4_22_to_5_08_pure.csv")) == expected_watches()


def test_kuairand_as_parquet_is_told_by_its_header(tmp_path: Path) -> None:
    expected = kuairand_archive(tmp_path / "KuaiRand")
    table = pacsv.read_csv(tmp_path / "KuaiRand" / "data" / "log_standard_4_08_to_4_21_1k.csv")
    pq.write_table(table, tmp_path / "any name.parquet")
    assert labels(run(tmp_path / "any name.parquet")) == expected


def test_kuaisar(tmp_path: Path) -> None:
    root = tmp_path / "KuaiSAR"
    root.mkdir()

    def row(user: int, item: int, play: int, duration: int, flags: str = "0,0,0") -> str:
        return f"{user},{item},{play},{duration},2023-05-22 00:00:01,1684684801000,1,{flags},0,0"

    rows = [row(7, number, play, duration) for number, (play, duration, _) in enumerate(WATCHES)]
    rows += [row(9, number, 10, 60_000, flags) for number, flags in enumerate(("1,0,0", "0,1,0", "0,0,1", "0,0,0"))]
    (root / "rec_inter.csv").write_text("\n".join([KUAISAR, *rows]) + "\n")
    (root / "src_inter.csv").write_text("user_id,search_session_id\n1,2\n")
    assert labels(run(root)) == expected_watches() | {(9, 0): 1, (9, 1): 1, (9, 2): 1, (9, 3): 0}


TENREC = "user_id,item_id,click,follow,like,share,video_category,watching_times,gender,age"


@pytest.mark.parametrize("header", [True, False])
def test_tenrec(header: bool, tmp_path: Path) -> None:
    rows = [f"{1 + number // 3},{number},{number % 2},0,{int(number == 4)},0,1,3,2,5" for number in range(9)]
    (tmp_path / "Tenrec").mkdir()
    (tmp_path / "Tenrec" / "QK-video.csv").write_text("\n".join([TENREC] * header + rows) + "\n")
    assert labels(run(tmp_path / "Tenrec")) == {(1 + number // 3, number): number % 2 for number in range(9)}


def test_tenrec_by_another_column_and_one_log_at_a_time(tmp_path: Path) -> None:
    rows = [f"{number},{number},1,0,{int(number == 4)},0,1,3,2,5" for number in range(9)]
    for name in ("QK-video.csv", "QB-video.csv"):
        (tmp_path / name).write_text("\n".join(rows) + "\n")
    with pytest.raises(UserError, match=r"several logs, QB-video\.csv and QK-video\.csv; name one"):
        run(tmp_path)
    dataset = run(tmp_path / "QK-video.csv", label_column="like")
    assert labels(dataset) == {(number, number): int(number == 4) for number in range(9)}


def test_tiktok(tmp_path: Path) -> None:
    rows = [
        f"{u}\t-1\t{i}\t22\t-1\t0\t{(u + i) % 2}\t0\t-1\t7\t53086339{u}\t{9 + i}" for u in range(3) for i in range(4)
    ]
    path = tmp_path / "final_track2_train.txt"
    path.write_text("\n".join(rows) + "\n")
    assert labels(run(path)) == {(u, i): (u + i) % 2 for u in range(3) for i in range(4)}


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


OWN = "viewer,clip,secs,length,up,down"


def test_columns_of_ones_own(tmp_path: Path) -> None:
    rows = [f"7,{number},{play / 1000},{duration / 1000},0,0" for number, (play, duration, _) in enumerate(WATCHES)]
    rows += ["8,1,0.5,60,1,0", "8,2,0.5,60,1,1", "8,3,9,,0,0"]
    (tmp_path / "own.csv").write_text("\n".join([OWN, *rows]) + "\n")
    dataset = run(
        tmp_path / "own.csv",
        user_column="viewer",
        item_column="clip",
        play_column="secs",
        duration_column="length",
        watch_time_unit="s",
        engagement_columns=["up"],
        hate_column="down",
    )
    assert labels(dataset) == expected_watches() | {(8, 1): 1, (8, 2): 0, (8, 3): None}


def test_thresholds_of_ones_own(tmp_path: Path) -> None:
    plays = [(999, 0), (1_000, None), (9_999, None), (10_000, 1)]
    rows = [f"{user},{number},{play},60000" for user in range(3) for number, (play, _) in enumerate(plays)]
    (tmp_path / "own.csv").write_text("\n".join(["user_id,item_id,play_time_ms,duration_ms", *rows]) + "\n")
    dataset = run(tmp_path / "own.csv", short_play_s=1, long_view_s=10)
    assert labels(dataset) == {(u, number): label for u in range(3) for number, (_, label) in enumerate(plays)}
    assert dataset.manifest.rule["long_view_s"] == 10


@pytest.mark.parametrize("given", [True, False])
def test_watch_ratios(given: bool, tmp_path: Path) -> None:
    cases: list[tuple[int, Label]] = [(200, 0), (201, None), (699, None), (700, 1), (5_000, 1)]
    header = "user_id,item_id,play_time_ms,duration_ms" + ",watch_ratio" * given
    rows = [
        f"{user},{number},{play},1000" + f",{play / 1000}" * given
        for user in range(3)
        for number, (play, _) in enumerate(cases)
    ]
    (tmp_path / "own.csv").write_text("\n".join([header, *rows]) + "\n")
    dataset = run(tmp_path / "own.csv", rule="watch_ratio", high_ratio=0.7, low_ratio=0.2)
    assert labels(dataset) == {(u, number): label for u in range(3) for number, (_, label) in enumerate(cases)}


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(("ending", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstd)])
def test_compressed_files_and_patterns(ending: str, compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    for number in range(3):
        rows = "".join(f"{user},{10 * number + item},{(user + item) % 2}\n" for user in range(4) for item in range(3))
        path = tmp_path / "logs" / f"2024-0{number}" / f"log.csv{ending}"
        path.parent.mkdir(parents=True)
        path.write_bytes(compress(f"user_id,item_id,label\n{rows}".encode()))
    dataset = run(f"{tmp_path}/logs/2024-0[01]/*.csv{ending}")
    assert labels(dataset) == {(u, 10 * n + i): (u + i) % 2 for n in (0, 1) for u in range(4) for i in range(3)}
    assert len(dataset.manifest.source) == 2
    with pytest.raises(UserError, match="no file fits the source"):
        run(f"{tmp_path}/logs/2023-*")


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
