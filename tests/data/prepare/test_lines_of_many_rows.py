"""Logs whose lines make several rows each, or none: MIND's impressions and the Netflix Prize's text."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from dataset_rows import triples_in_order
from prepared_logs import labels

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.data.prepare.sources import text_lines


def run(source: Path, **options: Any) -> Dataset:
    output = source.parent / "prepared"
    shutil.rmtree(output, ignore_errors=True)
    prepare(PrepareConfig(source=str(source), output=str(output), **{"lanes": 2, "factors": 0, **options}))
    return Dataset.open(str(output))


def rejects(dataset: Dataset) -> list[tuple[int, str]]:
    """Returns line and text of each row that was set aside."""
    with open(f"{dataset.path}/rejects.csv", newline="") as file:
        return [(int(line), value) for _, line, _, value, _ in list(csv.reader(file))[1:]]


def mind(root: Path) -> Path:
    root.mkdir(parents=True)
    lines = [
        "1\tU13740\t11/11/2019 9:05:58 AM\tN55189 N42782\tN55689-1 N35729-0",
        "2\tU91836\t11/12/2019 6:11:30 PM\t\tN20678-0 N39317-0 N58114-1",  # without a history
        "3\tU73700\t11/14/2019 12:01:09 AM\tN10732\tN50014-0",
    ]
    (root / "behaviors.tsv").write_text("\n".join(lines) + "\n")
    (root / "news.tsv").write_text("N55689\tsports\tfootball_nfl\tCharles Rogers\t\thttps://a.html\t[]\t[]\n")
    (root / "entity_embedding.vec").write_text("Q34433\t0.01\n")
    return root


SHOWN = [
    ("U13740", "N55689", 1),
    ("U13740", "N35729", 0),
    ("U91836", "N20678", 0),
    ("U91836", "N39317", 0),
    ("U91836", "N58114", 1),
    ("U73700", "N50014", 0),
]


def test_mind_impressions(tmp_path: Path) -> None:
    mind(tmp_path / "MINDsmall_train")
    dataset = run(tmp_path / "MINDsmall_train", split="time", train_share=0.4, valid_share=0.4)
    assert labels(dataset) == {(user, item): label for user, item, label in SHOWN}
    assert triples_in_order(dataset, "test") == [SHOWN[-1]]
    assert dataset.manifest.times["train"][0] == "2019-11-11 09:05:58"
    assert dataset.manifest.times["valid"][1] == "2019-11-12 18:11:30"


def test_what_is_wrong_in_impressions_is_told_by_its_line(tmp_path: Path) -> None:
    path = mind(tmp_path / "MIND") / "behaviors.tsv"
    whole = path.read_text()
    path.write_text(whole + "4\tU1\t11/15/2019 8:00:00 AM\t\tN1-1 N2\n")
    with pytest.raises(UserError, match=r"behaviors\.tsv, line 4, column label: 'N2': a label is 0, 1 or missing"):
        run(path)
    path.write_text(whole + "4\tU1\t11/15/2019 8:00:00 AM\tN1-1\n")
    with pytest.raises(UserError, match=r"behaviors\.tsv, line 4: it does not have 5 fields: impression id, user"):
        run(path)
    path.write_text("user_id\titem_id\tlabel\n" + "".join(f"{n}\t{n}\t{n % 2}\n" for n in range(9)))
    assert labels(run(path)) == {(n, n): n % 2 for n in range(9)}  # anybody's file of that name


def test_netflix(tmp_path: Path) -> None:
    root = tmp_path / "netflix"
    root.mkdir()
    first = "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n885013,2,2005-10-19\n3:\n"
    (root / "combined_data_1.txt").write_text(first)
    (root / "combined_data_2.txt").write_text("4:\r\n30878,1,2005-12-26\r\n\r\n823519,4,2004-05-03\r\n")
    (root / "movie_titles.csv").write_bytes(b"1,2003,Dinosaur Plan\xe8t\n")
    (root / "probe.txt").write_text("1:\n30878\n")
    dataset = run(root, split="time")
    expected = {(1488844, 1): 1, (822109, 1): 1, (885013, 2): 0, (30878, 4): 0, (823519, 4): 1}
    assert labels(dataset) == expected
    assert triples_in_order(dataset, "test") == [(30878, 4, 0)]
    (root / "combined_data_1.txt").write_text(first + "7,x,2005-01-01\n")
    with pytest.raises(UserError, match=r"combined_data_1\.txt, line 7, column rating: 'x'"):
        run(root)
    (root / "combined_data_1.txt").write_text(first + "7,2005-01-01\n")
    with pytest.raises(UserError, match=r"combined_data_1\.txt, line 7: it is neither movie: nor user,rating,date"):
        run(root)


@pytest.mark.parametrize("block", [30, 1 << 21])
def test_impressions_of_another_width_are_set_aside(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They ended the command whatever share of rows may be bad; and a bad label is told by its line behind them."""
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", block)
    path = mind(tmp_path / "MIND") / "behaviors.tsv"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    bad = [b"4\tU1\t11/15/2019 8:00:00 AM\tN1-1\n", b"5\tU\xe9\t11/15/2019 8:00:00 AM\t\tN1-1\n"]
    more = b"6\tU1\t11/15/2019 8:00:00 AM\t\tN1-1 N2\n"
    path.write_bytes(b"".join([bad[0], first, b"\n", *bad, *rest, more]))
    with pytest.raises(UserError, match=r"behaviors\.tsv, line 1: it does not have 5 fields"):
        run(path)
    dataset = run(path, max_reject_share=0.5)
    assert labels(dataset) == {(user, item): label for user, item, label in [*SHOWN, ("U1", "N1", 1)]}
    assert dataset.manifest.counts["rejected_rows"] == 4
    texts = [line.decode(errors="replace").rstrip("\n") for line in bad]
    assert rejects(dataset) == [(1, texts[0]), (4, texts[0]), (5, texts[1]), (8, "N2")]
    with pytest.raises(UserError, match=r"4 of 11 rows are bad.*behaviors\.tsv, line 1: .*line 4: .*line 5: "):
        run(path, max_reject_share=0.1)


MANY = "4:\n" + "".join(f"{user},4,2005-09-06\n" for user in range(20))
OF_MANY = {(user, 4): 1 for user in range(20)}


@pytest.mark.parametrize("block", [4, 1 << 21])
def test_ratings_of_no_movie_that_is_known_are_set_aside(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below what may have been the line of a movie, ratings would pass for those of the movie before it."""
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", block)
    text = "1:\n6,3,2005-09-06\n7,2005-09-06\n8,5,2005-09-06\n2\n9,4,2005-09-06\n\n3:\n6,1,2005-09-06\n8,x,2005-09-06\n"
    path = tmp_path / "combined_data_1.txt"
    path.write_text(text + MANY)
    with pytest.raises(UserError, match=r"combined_data_1\.txt, line 3: it is neither movie: nor user,rating,date"):
        run(path)
    dataset = run(path, max_reject_share=0.9)
    assert labels(dataset) == {(6, 1): 1, (8, 1): 1, (6, 3): 0} | OF_MANY
    assert rejects(dataset) == [(3, "7,2005-09-06"), (5, "2"), (6, "9,4,2005-09-06"), (10, "x")]


def test_ratings_before_the_first_movie(tmp_path: Path) -> None:
    path = tmp_path / "combined_data_1.txt"
    path.write_text("6,3,2005-09-06\n" + MANY)
    with pytest.raises(UserError, match=r"line 1: a line with a movie and a colon, such as 1:, must come before its"):
        run(path, format="netflix")
    dataset = run(path, format="netflix", max_reject_share=0.5)
    assert labels(dataset) == OF_MANY
    assert rejects(dataset) == [(1, "6,3,2005-09-06")]


def test_lists_of_negatives_of_another_form_are_set_aside(tmp_path: Path) -> None:
    root = tmp_path / "Data"
    root.mkdir()
    (root / "x.train.rating").write_text("".join(f"{u}\t{i}\t1\t9\n" for u in range(4) for i in range(4)))
    (root / "x.test.negative").write_text("(0,20)\t11\n1,21\t12\n(2,22)\t13\n")
    dataset = run(root, max_reject_share=0.1)
    assert set(triples_in_order(dataset, "test")) == {(0, 20, 1), (0, 11, 0), (2, 22, 1), (2, 13, 0)}
    assert rejects(dataset) == [(2, "1,21\t12")]
