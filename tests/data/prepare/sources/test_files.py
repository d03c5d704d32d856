"""Which files of a source are read, as what, for which split."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from remote_directory import serve_as_remote

from distributed_il.core.errors import UserError
from distributed_il.data.prepare.config import PrepareConfig
from distributed_il.data.prepare.sources.files import find_files


def source(root: Path, *names: str) -> str:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return str(root)


def found(path: str, **options: Any) -> list[tuple[str, str, str]]:
    files = find_files(PrepareConfig(source=path, output="out", **options)).files
    return [(file.split, file.name, file.format) for file in files]


def test_triples_by_their_endings(tmp_path: Path) -> None:
    path = source(tmp_path, "ml.test.negative", "ml.train.rating", "ml.valid.rating", "readme.md")
    assert found(path) == [
        ("train", "ml.train.rating", "triples"),
        ("valid", "ml.valid.rating", "triples"),
        ("test", "ml.test.negative", "triples"),
    ]


def test_movielens_by_its_name(tmp_path: Path) -> None:
    path = source(tmp_path, "ratings.dat", "users.dat", "README")
    assert found(path) == [("all", "ratings.dat", "movielens")]
    assert found(f"{path}/ratings.dat") == [("all", "ratings.dat", "movielens")]


def test_splits_by_their_names(tmp_path: Path) -> None:
    path = source(tmp_path, "train.parquet", "valid.parquet", "test.parquet", "README.md")
    assert [split for split, _, _ in found(path)] == ["train", "valid", "test"]


def test_many_files_of_one_format_are_read_in_order_of_name(tmp_path: Path) -> None:
    path = source(tmp_path, "part-1.csv.gz", "part-0.csv.gz", "_SUCCESS", ".hidden.csv")
    assert found(path) == [("all", "part-0.csv.gz", "csv"), ("all", "part-1.csv.gz", "csv")]


def test_splits_by_patterns(tmp_path: Path) -> None:
    path = source(tmp_path, "train/b.parquet", "train/a.parquet", "eval/v.csv", "eval/t.tsv")
    assert found(path, train="train/*.parquet", valid="eval/v.csv", test="./eval/t.tsv") == [
        ("train", "train/a.parquet", "parquet"),
        ("train", "train/b.parquet", "parquet"),
        ("valid", "eval/v.csv", "csv"),
        ("test", "eval/t.tsv", "csv"),
    ]


def test_a_format_that_is_given_goes_before_the_name(tmp_path: Path) -> None:
    path = source(tmp_path, "log.bin")
    assert found(f"{path}/log.bin", format="parquet") == [("all", "log.bin", "parquet")]


def test_files_elsewhere_are_found_and_fingerprinted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source(tmp_path / "data", "log.csv")
    serve_as_remote(monkeypatch, tmp_path)
    files = find_files(PrepareConfig(source="remote://data", output="out"))
    (fingerprint,) = files.fingerprints()
    assert (files.name, fingerprint.path, fingerprint.bytes) == ("data", "log.csv", 7)
    assert fingerprint.sha256 == hashlib.sha256(b"log.csv").hexdigest()


@pytest.mark.parametrize(
    ("names", "path", "options", "message"),
    [
        ((), "nothing", {}, "nothing does not exist"),
        ((), "", {}, "not clear which files to read.*it holds no files"),
        (("a.csv", "b.parquet"), "", {}, r"not clear.*it holds a\.csv, b\.parquet"),
        (("train.csv", "valid.csv"), "", {}, "not clear which files to read"),
        (("x.train.rating", "x.valid.rating"), "", {}, r"one X\.train\.rating, one X\.valid\.rating"),
        (("log.bin",), "log.bin", {}, "the name does not tell the format"),
        (("a.csv",), "a.csv", {"train": "a", "valid": "b", "test": "c"}, "is a file; with train, valid and test"),
        (("a.csv",), "", {"train": "a.csv", "valid": "v.csv", "test": "c"}, r"holds no file v\.csv \(option valid\)"),
        (("a.csv",), "", {"train": "a.csv", "valid": "a.csv", "test": "a.csv"}, r"a\.csv is in two splits"),
    ],
)
def test_what_is_not_clear_is_told(
    names: tuple[str, ...], path: str, options: dict[str, str], message: str, tmp_path: Path
) -> None:
    root = source(tmp_path, *names)
    with pytest.raises(UserError, match=message):
        found(f"{root}/{path}".rstrip("/"), **options)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.csv", ["a.csv", "b.csv"]),
        ("day/*.csv", ["c.csv"]),
        ("**/*.csv", ["a.csv", "b.csv", "day/c.csv", "day/late/d.csv"]),
        ("day/**", ["c.csv", "late/d.csv"]),
        ("*/[cd].csv", ["day/c.csv"]),
        (".*.csv", [".hidden.csv"]),
        ("**/.old/*", [".old/e.csv", "day/.old/f.csv"]),
    ],
)
def test_patterns_go_by_the_rules_of_shells(pattern: str, names: list[str], tmp_path: Path) -> None:
    files = ["a.csv", "b.csv", "day/c.csv", "day/late/d.csv", ".hidden.csv", ".old/e.csv", "day/.old/f.csv"]
    path = source(tmp_path, *files)
    assert sorted(name for _, name, _ in found(f"{path}/{pattern}")) == sorted(names)


@pytest.mark.parametrize(
    ("name", "format"),
    [("LOG.CSV", "csv"), ("Log.Parquet", "parquet"), ("RATINGS.DAT", "movielens"), ("LOG.CSV.GZ", "csv")],
)
def test_upper_case_is_no_other_format(name: str, format: str, tmp_path: Path) -> None:
    assert found(source(tmp_path, name)) == [("all", name, format)]


def test_a_pipe_is_told_in_a_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UserError, match=r"pipe\.csv is no file and no directory; write what comes out of it"):
        found(str(tmp_path / "pipe.csv"))
