"""Bad rows are set aside with file, line, column and value, as many as the user allows for."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from dataset_rows import triples_in_order

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset
from distributed_il.data.prepare import PrepareConfig, prepare, summary_text
from distributed_il.data.prepare.sources.rejects import Rejects

GOOD = [f"{u},{i},{(u + i) % 2}" for u in range(5) for i in range(6)]
BAD = ["x,1,1", "1,,1", "2,3", "4,3,2,1", "3,4,7", "", "5,\udcff,0"]


def run(root: Path, lines: list[str], **options: Any) -> Dataset:
    root.mkdir(exist_ok=True)
    (root / "log.csv").write_bytes("\n".join(["user_id,item_id,label", *lines]).encode(errors="surrogateescape"))
    config = PrepareConfig(source=str(root / "log.csv"), output=str(root / "out"), lanes=2, **options)
    prepare(config)
    return Dataset.open(str(root / "out"))


def test_they_are_told_and_the_others_kept(tmp_path: Path) -> None:
    lines = [*GOOD[:10], *BAD, *GOOD[10:]]
    dataset = run(tmp_path, lines, max_reject_share=0.2, id_type="integer")
    kept = {row for split in SPLITS for row in triples_in_order(dataset, split)}
    assert kept == {(u, i, (u + i) % 2) for u in range(5) for i in range(6)}
    with (tmp_path / "out" / "rejects.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "line", "column", "value", "problem"]
    assert [row[:4] for row in rows[1:]] == [
        ["log.csv", "12", "user_id", "x"],
        ["log.csv", "13", "item_id", ""],
        ["log.csv", "14", "", "2,3"],
        ["log.csv", "15", "", "4,3,2,1"],
        ["log.csv", "16", "label", "7"],
        ["log.csv", "18", "", "�"],
    ]
    assert rows[3][4] == "2 fields instead of 3"
    assert dataset.manifest.counts["rejected_rows"] == 6
    assert dataset.manifest.counts["rows_read"] == 30
    assert "6 rows: bad rows, listed in rejects.csv" in summary_text(dataset.manifest)


@pytest.mark.parametrize("bad", ["2,40,7", "forty,9,7", "forty,9.5,1e1", "2,4e,7"])
@pytest.mark.parametrize("ending", ["", ".0"])
def test_a_bad_row_has_no_say_in_how_the_ids_of_others_are_read(bad: str, ending: str, tmp_path: Path) -> None:
    good = [f"{u},{i}{ending},{(u + i) % 2}" for u in range(5) for i in range(6)]
    dataset = run(tmp_path, [*good[:7], bad, *good[7:]], max_reject_share=0.1)
    kept = {row for split in SPLITS for row in triples_in_order(dataset, split)}
    assert kept == {(u, i, (u + i) % 2) for u in range(5) for i in range(6)}


def test_the_same_from_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = [(n * 7 % 3) % 2 for n in range(30)]
    labels[4] = labels[20] = 9
    table = pa.table({"user_id": [n % 5 for n in range(30)], "item_id": list(range(30)), "label": labels})
    pq.write_table(table, tmp_path / "log.parquet")
    config = {"source": str(tmp_path / "log.parquet"), "output": str(tmp_path / "out"), "lanes": 2}
    prepare(PrepareConfig(max_reject_share=0.1, **config))  # type: ignore[arg-type]
    text = (tmp_path / "out" / "rejects.csv").read_text().splitlines()
    assert [line.split(",")[:4] for line in text[1:]] == [
        ["log.parquet", "5", "label", "9"],
        ["log.parquet", "21", "label", "9"],
    ]


def test_more_than_allowed_are_an_error_that_shows_some(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(tmp_path, [*GOOD, *BAD], max_reject_share=0.1, id_type="integer")
    message = str(caught.value)
    assert "6 of 36 rows are bad, a share of 0.167, above max_reject_share 0.1" in message
    assert "log.csv, line 32, column user_id: 'x': it is no integer" in message
    assert not (tmp_path / "out").exists()


def test_without_a_share_the_first_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"log\.csv, line 32: 2 fields instead of 3"):
        run(tmp_path, [*GOOD, BAD[2]])
    with pytest.raises(UserError, match=r"line 32, column item_id: '\ufffd'"):
        run(tmp_path, [*GOOD, BAD[6]])


def test_a_log_without_bad_rows_has_no_such_file(tmp_path: Path) -> None:
    dataset = run(tmp_path, GOOD, max_reject_share=0.5)
    assert dataset.manifest.counts["rejected_rows"] == 0
    assert not (tmp_path / "out" / "rejects.csv").exists()


def test_places_of_later_rows_count_the_bad_ones(tmp_path: Path) -> None:
    lines = [*GOOD[:3], *BAD, GOOD[0], *GOOD[3:]]
    with pytest.raises(UserError, match=r"log\.csv, line 2 and log\.csv, line 12 are about the same pair"):
        run(tmp_path, lines, max_reject_share=0.5, id_type="integer", duplicates="error")


def test_a_quotation_over_several_lines_is_refused(tmp_path: Path) -> None:
    lines = [*GOOD[:5], '7,"8,1', *GOOD[5:]]
    with pytest.raises(UserError, match=r"log\.csv has 31 lines but only \d+ rows: a quotation mark is not closed"):
        run(tmp_path, lines, max_reject_share=0.9)


def test_no_cell_is_a_formula() -> None:
    values = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a\r=1", "a\n=1", "1-1", "a=b", "", "'"]
    rejects = Rejects(0.5)
    for row, value in enumerate(values):
        rejects.add("=log.csv", row, "-column", value, "@problem")
    rejects.add("log.csv", 0, "", -5, "below 0")
    table = rejects.table({"=log.csv": list, "log.csv": list})
    rows = list(csv.reader(io.StringIO(table, newline="")))
    escaped = ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "a\\r=1", "a\n=1", "1-1", "a=b", "", "'"]
    assert rows[1:-1] == [["'=log.csv", str(row), "'-column", value, "'@problem"] for row, value in enumerate(escaped)]
    assert rows[-1] == ["log.csv", "0", "", "'-5", "below 0"]
