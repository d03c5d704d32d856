"""The whole of `prepare`, from files of every format, and what it says about bad ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_rows import pairs_in_order, triples_in_order
from remote_directory import serve_as_remote

from distributed_il.core.errors import UserError
from distributed_il.core.files import sha256_of
from distributed_il.data.dataset import SPLITS, Dataset, Manifest
from distributed_il.data.prepare import PrepareConfig, prepare, summary_text


def write(root: Path, **files: str) -> None:
    """Writes text files; two underscores in a name stand for a dot."""
    root.mkdir(exist_ok=True)
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)


def run(source: Path, **options: Any) -> Dataset:
    output = source.parent / "prepared"
    prepare(PrepareConfig(source=str(source), output=str(output), **{"lanes": 2, **options}))
    return Dataset.open(str(output))


def refused(source: Path, message: str, **options: Any) -> None:
    """Checks that preparing fails with the message and leaves nothing beside the source."""
    before = sorted(source.parent.rglob("*"))
    with pytest.raises(UserError, match=message):
        run(source, **options)
    assert sorted(source.parent.rglob("*")) == before


def split_sets(dataset: Dataset) -> dict[str, set[tuple[Any, Any, int]]]:
    return {split: set(triples_in_order(dataset, split)) for split in SPLITS}


def test_triples_with_ratings(tmp_path: Path) -> None:
    write(
        tmp_path / "ml",
        x__train__rating="1\t10\t5\n2\t10\t2\n2\t30\t3\n",
        x__valid__rating="1\t30\t1\n",
        x__test__negative="2\t20\t4\n",
    )
    dataset = run(tmp_path / "ml")
    assert split_sets(dataset) == {
        "train": {(1, 10, 1), (2, 10, 0), (2, 30, 1)},
        "valid": {(1, 30, 0)},
        "test": {(2, 20, 1)},
    }
    assert dataset.manifest.rule == {"name": "rating", "positive_above": 2.0, "split": {"name": "given"}}
    assert dataset.manifest.name == "ml"
    assert [file.path for file in dataset.manifest.source] == ["x.train.rating", "x.valid.rating", "x.test.negative"]
    local = pa.fs.LocalFileSystem()
    for file in dataset.manifest.source:
        assert file.sha256 == sha256_of(local, str(tmp_path / "ml" / file.path))


def test_triples_with_labels(tmp_path: Path) -> None:
    write(
        tmp_path / "ml",
        x__train__rating="a\tp\t1\nb\tp\t0\n",
        x__valid__rating="a\tq\t0\n",
        x__test__negative="b\tq\t1\n",
    )
    dataset = run(tmp_path / "ml")
    assert split_sets(dataset)["train"] == {("a", "p", 1), ("b", "p", 0)}
    assert dataset.manifest.rule["name"] == "binary"
    (tmp_path / "prepared").rename(tmp_path / "first")
    # The rule may be set; then no value is above 2.
    assert split_sets(run(tmp_path / "ml", rule="rating"))["train"] == {("a", "p", 0), ("b", "p", 0)}


def test_movielens(tmp_path: Path) -> None:
    lines = [f"{user}::{item}::{1 + (user + item) % 5}::97830{user}" for user in range(1, 6) for item in range(1, 5)]
    write(tmp_path / "ml-1m", ratings__dat="\n".join(lines) + "\n")
    dataset = run(tmp_path / "ml-1m")
    found = split_sets(dataset)
    assert [len(rows) for rows in found.values()] == [12, 4, 4]
    assert set().union(*found.values()) == {
        (user, item, int(1 + (user + item) % 5 > 2)) for user in range(1, 6) for item in range(1, 5)
    }
    assert dataset.manifest.rule["split"] == {"name": "random", "train_share": 0.6, "valid_share": 0.2}


def test_csv_with_names_of_its_own(tmp_path: Path) -> None:
    rows = [f"v{item},{user},{(user * item) % 3}.5,{user * 100}" for user in range(6) for item in range(5)]
    write(tmp_path / "logs", a__csv="\n".join(["video,viewer,stars,time", *rows[:20]]) + "\n")
    write(tmp_path / "logs", b__csv="\n".join(["time,stars,viewer,video"]) + "\n")
    (tmp_path / "logs" / "b.csv").unlink()
    write(
        tmp_path / "logs",
        b__csv="\n".join(
            ["viewer,video,stars,time"] + [",".join(r.split(",")[k] for k in (1, 0, 2, 3)) for r in rows[20:]]
        ),
    )
    dataset = run(
        tmp_path / "logs",
        user_column="viewer",
        item_column="video",
        rating_column="stars",
        positive_above=1.0,
        train_share=0.5,
        valid_share=0.1,
        name="logs of mine",
    )
    found = split_sets(dataset)
    assert [len(rows) for rows in found.values()] == [15, 3, 12]
    assert set().union(*found.values()) == {
        (user, f"v{item}", int((user * item) % 3 + 0.5 > 1)) for user in range(6) for item in range(5)
    }
    manifest = dataset.manifest
    assert (manifest.name, manifest.id_type) == ("logs of mine", {"user": "int64", "item": "string"})
    assert manifest.rule["columns_left_aside"] == {"a.csv": ["time"], "b.csv": ["time"]}


def test_tab_separated_files_and_delimiters(tmp_path: Path) -> None:
    header, rows = ["user_id:token", "item_id:token", "rating:float"], [[1, 1, 5], [1, 2, 1], [2, 1, 3], [2, 2, 4]]
    names = {"user_column": header[0], "item_column": header[1], "rating_column": header[2]}
    shares = {"train_share": 0.5, "valid_share": 0.25}
    fingerprints: set[str] = set()
    for name, separator, options in (("x.inter", "\t", {}), ("x.csv", ";", {"delimiter": ";"})):
        source = tmp_path / name
        source.write_text("\n".join(separator.join(map(str, line)) for line in [header, *rows]))
        dataset = run(source, **names, **options, **shares)
        assert len(set().union(*split_sets(dataset).values())) == 4
        fingerprints.add(dataset.fingerprint)
        (tmp_path / "prepared").rename(tmp_path / f"{name}.prepared")
    assert len(fingerprints) == 2


def parquet(root: Path, split: str, **columns: Any) -> None:
    root.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), root / f"{split}.parquet")


def test_parquet_in_given_splits_with_unclear_rows_and_preferences(tmp_path: Path) -> None:
    for number, split in enumerate(SPLITS):
        parquet(
            tmp_path / "logs",
            split,
            user_id=pa.array([3, 4], pa.int32()),
            item_id=pa.array([f"i{number}", f"j{number}"]).dictionary_encode(),
            label=pa.array([1, None], pa.int8()),
            preference=pa.array([0.5, 0.25], pa.float64()),
        )
    dataset = run(tmp_path / "logs")
    assert split_sets(dataset) == {split: {(3, f"i{n}", 1)} for n, split in enumerate(SPLITS)}
    assert pairs_in_order(dataset, "unclear") == [(4, "j0")]
    assert dataset.manifest.splits["train"].columns == ("user_id", "item_id", "label", "preference")
    assert dataset.manifest.counts["unclear_rows_outside_train"] == 2
    text = summary_text(dataset.manifest)
    assert "2 rows: unclear rows of valid and test" in text
    assert "2 rows of valid and test, kept: 0 users and 2 items are not in train" in text


def test_a_preference_that_not_every_file_has_is_left_aside(tmp_path: Path) -> None:
    for split in SPLITS:
        extra = {"preference": [0.5]} if split == "train" else {}
        parquet(tmp_path / "logs", split, user_id=[1], item_id=[len(split) * 10 + len(extra)], label=[1], **extra)
    dataset = run(tmp_path / "logs", overlap="keep")
    assert dataset.manifest.splits["train"].columns == ("user_id", "item_id", "label")
    assert dataset.manifest.rule["columns_left_aside"] == {"train.parquet": ["preference"]}


def test_formats_of_the_same_rows_agree(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = rng.choice(40 * 50, size=1000, replace=False)
    columns = {"user_id": pairs // 50, "item_id": pairs % 50, "label": rng.integers(0, 2, 1000)}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet", row_group_size=77)
    lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    (tmp_path / "x.csv").write_text("\n".join([",".join(columns), *lines]))
    manifests: list[Manifest] = []
    for name in ("x.parquet", "x.csv"):
        manifests.append(run(tmp_path / name, name="x").manifest)
        (tmp_path / "prepared").rename(tmp_path / f"{name}.prepared")
    assert manifests[0].splits == manifests[1].splits
    assert manifests[0].tables == manifests[1].tables


def test_files_and_dataset_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_as_remote(monkeypatch, tmp_path)
    rows = "".join(f"{u},{i},{(u + i) % 2}\n" for u in range(6) for i in range(6))
    write(tmp_path / "logs", x__csv=f"user_id,item_id,label\n{rows}")
    near = run(tmp_path / "logs")
    far = prepare(PrepareConfig(source="remote://logs", output="remote://far", lanes=2))
    assert Dataset.open("remote://far").fingerprint == far.fingerprint == near.fingerprint


CSV = "user_id,item_id,label\n"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, r"x\.csv is empty"),
        (CSV, {}, r"x\.csv holds no rows"),
        (
            "user,item_id,label\n1,2,1\n",
            {},
            r"x\.csv has no column 'user_id', only user, item_id, label; did you mean --user_column=user\?",
        ),
        ("user_id,user_id,item_id,label\n1,1,2,1\n", {}, r"x\.csv has 2 columns called 'user_id'"),
        ("user_id,item_id,score\n1,2,1\n", {}, "neither 'label' nor .* where each row is a positive, set rule to pos"),
        ("user_id,item_id\n1,2\n", {"label_column": "y"}, "neither 'y' nor 'rating' is a column of every file"),
        ("user_id,item_id\n1,2\n", {"rule": "binary"}, "has no column 'label'"),
        (CSV + "1,2,1\n1,3\n", {}, r"x\.csv, line 3: 2 fields instead of 3"),
        (CSV + "1,2,1\n\n-1,3,1\n", {}, r"x\.csv, line 4, column user_id: -1: ids must not be negative"),
        (CSV + "1,2,1\n1,,1\n", {}, r"x\.csv, line 3, column item_id: '': the id is missing"),
        (CSV + "1,2,1\n1,3,2\n", {}, r"x\.csv, line 3, column label: '2': a label is 0, 1 or missing"),
        (CSV + "1,2,1\nu2,3,1\n", {"id_type": "integer"}, r"line 3, column user_id: 'u2': it is no integer"),
        ("user_id,item_id,rating\n1,2,5\n1,3,\n", {}, r"line 3, column rating: '': a rating is a finite number"),
        (CSV + "1,2,1\n1,2,0\n", {"contradictions": "error"}, r"x\.csv, line 2 and x\.csv, line 3 .*labels 1 and 0"),
        (CSV + "1,2,1\n1,2,1\n", {"duplicates": "error"}, r"x\.csv, line 2 and x\.csv, line 3 are about the same pair"),
        (CSV + "1,2,1\n1,3,0\n", {}, "the split test gets no labelled rows"),
    ],
)
def test_bad_text_is_told_by_its_line(text: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / "logs", x__csv=text)
    refused(tmp_path / "logs", message, **options)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1::2::3", r"ratings\.dat, line 2: 3 fields instead of 4 \(\'1::2::3\'\)"),
        ("1:x:2::3::4", r"ratings\.dat, line 2: 3 fields instead of 4"),
        ("1::2::good::4", r"ratings\.dat, line 2, column rating: 'good': a rating is a finite number"),
    ],
)
def test_lines_that_movielens_has_not_are_told(line: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "ml", ratings__dat=f"1::1::5::9\n{line}\n")
    refused(tmp_path / "ml", message)


def test_triples_of_another_width_are_told(tmp_path: Path) -> None:
    write(tmp_path / "ml", x__train__rating="1\t1\t1\n", x__valid__rating="1\t2\t1\t0\n", x__test__negative="1\t3\t1\n")
    refused(tmp_path / "ml", r"x\.valid\.rating, line 1: 4 fields instead of 3")


GOOD: dict[str, Any] = {"user_id": [1, 2, 3], "item_id": [4, 5, 6], "label": [1, 0, 1]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": [1, -2, 3]}, r"valid\.parquet, row 2, column user_id: -2: ids must not be negative"),
        ({"item_id": [1, 2, None]}, r"valid\.parquet, row 3, column item_id: None: the id is missing"),
        ({"user_id": [1.0, 2.5, 3.0]}, r"row 2, column user_id: 2\.5: an id is text or a whole number"),
        ({"label": [1, 5, 0]}, r"valid\.parquet, row 2, column label: 5: a label is 0, 1 or missing"),
        ({"label": pa.array([b"1", b"0", b"1"])}, "column label: it is of type binary"),
        ({"user_id": ["a", "b", None]}, r"valid\.parquet, row 3, column user_id: None: the id is missing"),
        ({"label": pa.array([None] * 3, pa.int8())}, "the split valid gets no labelled rows"),
        ({"user_id": pa.array([], pa.int64()), "item_id": pa.array([], pa.int64()), "label": []}, "holds no rows"),
        ({"item_id": None}, r"valid\.parquet has no column 'item_id'"),
    ],
)
def test_bad_parquet_is_told_by_its_row(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    for number, split in enumerate(SPLITS):
        own = {**GOOD, "item_id": [n + 10 * number for n in GOOD["item_id"]], **(columns if split == "valid" else {})}
        parquet(tmp_path / "logs", split, **{name: values for name, values in own.items() if values is not None})
    refused(tmp_path / "logs", message)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "middle"])
def test_damaged_parquet_is_told(damage: str, tmp_path: Path) -> None:
    root = tmp_path / "logs"
    for split in SPLITS:
        parquet(root, split, **{name: values * 1000 for name, values in GOOD.items()})
    path = root / "valid.parquet"
    whole = path.read_bytes()
    half = len(whole) // 2
    damaged = {
        "truncated": whole[:half],
        "foreign": b"PAR2" * 50,
        "middle": b"PAR1" + b"\xff" * half + whole[half + 4 :],
    }
    path.write_bytes(damaged[damage])
    refused(root, r"valid\.parquet can't be read as Parquet")


def test_an_output_that_is_taken_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    write(tmp_path / "logs", x__csv=CSV + "1,2,7\n")
    write(tmp_path / "prepared", mine__txt="x")
    refused(tmp_path / "logs", "prepared is not empty; give a directory that does not exist yet")


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    rows = "".join(f"{u},{i},{(u + i) % 2}\n" for u in range(60) for i in range(60))
    write(tmp_path / "logs", x__csv=CSV + rows)
    code = """
import resource, sys
from distributed_il.core.errors import UserError
from distributed_il.data.prepare import PrepareConfig, prepare
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    prepare(PrepareConfig(source=sys.argv[1], output=sys.argv[2]))
except UserError as error:
    print(error)
"""
    arguments = [str(tmp_path / "logs"), str(tmp_path / "prepared")]
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert "prepared: the disk takes no files of that size" in result.stdout
    assert result.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
