"""Files as they lie about: each is prepared by the first command one would type, right to the row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_rows import triples_in_order

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset
from distributed_il.data.id_files.pair_files import find_pairs
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.data.prepare.sources import text_lines

PAIRS = [(user, item) for user in range(1, 6) for item in range(10, 14)]


def run(source: Path, said: list[str] | None = None, **options: Any) -> Dataset:
    output = source.parent / "prepared"
    options = {"lanes": 2, "factors": 0} | options
    prepare(PrepareConfig(source=str(source), output=str(output), **options), say=None if said is None else said.append)
    return Dataset.open(str(output))


def rows(dataset: Dataset) -> set[tuple[Any, Any, int]]:
    found = [row for split in SPLITS for row in triples_in_order(dataset, split)]
    assert len(found) == len(set(found))
    return set(found)


def rated(user: int, item: int) -> int:
    return 1 + (user + item) % 5


RATED = {(user, item, int(rated(user, item) > 2)) for user, item in PAIRS}
POSITIVE = {(user, item, 1) for user, item in PAIRS}


def lines(form: str) -> str:
    return "".join(form.format(u=u, i=i, r=rated(u, i), t=978300000 + u * i) + "\n" for u, i in PAIRS)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("x.csv", "{u},{i},{r},{t}"),
        ("x.tsv", "{u}\t{i}\t{r}\t{t}"),
        ("x.txt", "{u} {i} {r} {t}"),
        ("x.txt", "{u}\t{i}\t{r}.0"),
        ("x.csv", "{u};{i};{r}"),
        ("x.txt", "{u},{i},{r}"),
        ("x.csv", '"{u}","{i}",{r},2024-05-01 10:00:00'),
    ],
)
def test_ratings_without_a_header(name: str, form: str, tmp_path: Path) -> None:
    """The first row was lost as a header, once its values had been named as columns."""
    (tmp_path / name).write_text(lines(form))
    said: list[str] = []
    dataset = run(tmp_path / name, said)
    assert rows(dataset) == RATED
    assert dataset.manifest.rule["name"] == "rating"
    (note,) = said
    assert note.startswith(f"{name}: no header, its first line is a row; columns by position: user_id, item_id, value")


@pytest.mark.parametrize("form", ["{u},{i}", "{u} {i}", "u{u},i{i},{t}", "{u}\t{i}\t{t}"])
def test_positives_without_a_header(form: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(lines(form))
    form = form.removesuffix("{t}")
    expected = {(f"u{u}", f"i{i}", 1) for u, i in PAIRS} if "u{u}" in form else POSITIVE
    assert rows(run(tmp_path / "x.csv")) == expected


def test_labels_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("".join(f"{u},{i},{u % 2}\n" for u, i in PAIRS))
    dataset = run(tmp_path / "x.csv")
    assert rows(dataset) == {(u, i, u % 2) for u, i in PAIRS}
    assert dataset.manifest.rule["name"] == "binary"


def test_text_alone_is_a_row_where_the_user_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(lines("u{u},i{i}"))
    with pytest.raises(UserError, match="has no column 'user_id'.* if its first line is a row, give --no_header"):
        run(tmp_path / "x.csv")
    assert rows(run(tmp_path / "x.csv", no_header=True)) == {(f"u{u}", f"i{i}", 1) for u, i in PAIRS}


def test_columns_in_another_order_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(lines("{t},{i},x,{u},{r},0"))
    with pytest.raises(UserError, match=r"a row of 6 fields; .* name all columns in their order, such as --columns="):
        run(tmp_path / "x.csv")
    dataset = run(tmp_path / "x.csv", columns=["time", "item", "note", "user", "rating", "rest"], split="time")
    assert rows(dataset) == RATED
    assert triples_in_order(dataset, "test")[0][0] in (4, 5)


def test_a_row_whose_values_are_named_as_columns_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(lines("{u},{i},{r}"))
    with pytest.raises(UserError, match=r"its first line \(1,10,2\) looks like a row, .* give --no_header"):
        run(tmp_path / "x.csv", user_column="1", item_column="10", rating_column="2")
    dataset = run(tmp_path / "x.csv", user_column="1", item_column="10", rating_column="2", no_header=False)
    assert rows(dataset) == RATED - {(1, 10, 0)}


def test_numbers_as_names_are_the_users_to_tell(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("0,1,2\n" + lines("{u},{i},{r}"))  # as pandas writes a frame without names
    with pytest.raises(UserError, match=r"its first line \(0,1,2\) may be a row or names"):
        run(tmp_path / "x.csv")
    assert rows(run(tmp_path / "x.csv", user_column="0", item_column="1", rating_column="2")) == RATED


def test_some_files_with_a_header_and_some_without_are_refused(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/a.csv").write_text("item_id,user_id,rating\n" + lines("{i},{u},{r}"))
    (tmp_path / "logs/b.csv").write_text(lines("{i},{u},{r}"))
    with pytest.raises(UserError, match=r"a\.csv has a header, and the first line of b\.csv is a row"):
        run(tmp_path / "logs")


def test_a_compressed_file_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(lines("{u},{i},{r}").encode()))
    assert rows(run(tmp_path / "x.csv.gz")) == RATED


LISTS = {0: [10, 11, 12], 1: [11], 2: [], 3: [10, 12, 13, 14, 15], 4: [12, 10]}
LISTED = {(user, item, 1) for user, items in LISTS.items() for item in items}


@pytest.mark.parametrize("form", ["{u} {i}", "{u} {i} ", "{u}: {i}", "{u}:{i}", "{u}\t{i}"])
def test_lists_of_items(form: str, tmp_path: Path) -> None:
    text = "".join(form.format(u=u, i=" ".join(map(str, items))) + "\n" for u, items in LISTS.items())
    (tmp_path / "x.txt").write_text(text)
    said: list[str] = []
    dataset = run(tmp_path / "x.txt", said)
    assert rows(dataset) == LISTED
    assert said == ["x.txt: no header; each line is a user and their items"]


def test_lists_of_text(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("ann: tea, milk\r\n\r\nbob: tea\r\ncid: rice,tea")
    pairs = {("ann", "tea"), ("ann", "milk"), ("bob", "tea"), ("cid", "rice"), ("cid", "tea")}
    assert rows(run(tmp_path / "x.txt", format="adjacency")) == {(*pair, 1) for pair in pairs}


def test_a_bad_item_of_a_list_is_told_by_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", 16)
    (tmp_path / "x.txt").write_text("1 2 3\n\n2\n3 4\n4 5 6 7\n5 5 x7 8 9\n")
    with pytest.raises(UserError, match=r"x\.txt, line 6, column item_id: 'x7': it is no integer"):
        run(tmp_path / "x.txt", format="adjacency", id_type="integer")


DAYS = {u: f"2024-05-0{u}" for u in range(1, 6)}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_folders_partitioned_by_a_key(kind: str, tmp_path: Path) -> None:
    for user, day in DAYS.items():
        folder = tmp_path / "log" / "place=A%20B" / f"day={day}"
        folder.mkdir(parents=True)
        items = [item for own, item in PAIRS if own == user]
        if kind == "parquet":
            pq.write_table(pa.table({"user_id": [user] * len(items), "item_id": items}), folder / "part-0.parquet")
        else:
            (folder / "part-0.csv").write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for item in items))
    (tmp_path / "log" / "_SUCCESS").write_text("")
    dataset = run(tmp_path / "log", time_column="day", split="time")
    assert rows(dataset) == POSITIVE
    assert {user for user, _, _ in triples_in_order(dataset, "train")} == {1, 2, 3}
    assert {user for user, _, _ in triples_in_order(dataset, "test")} == {5}
    assert "columns_left_aside" not in dataset.manifest.rule


def test_a_key_of_folders_may_be_what_is_read(tmp_path: Path) -> None:
    for label in (0, 1):
        (tmp_path / f"log/label={label}").mkdir(parents=True)
        text = "".join(f"{u},{i}\n" for u, i in PAIRS if rated(u, i) % 2 == label)
        (tmp_path / f"log/label={label}/x.csv").write_text(f"user_id,item_id\n{text}")
    assert rows(run(tmp_path / "log")) == {(u, i, rated(u, i) % 2) for u, i in PAIRS}
    files = find_pairs(str(tmp_path / "log"), ["label", "user_id"])
    found = [piece.batch.to_pydict() for file, part in files.pieces for piece in file.read(["label"], part=part)]
    assert [set(columns["label"]) for columns in found] == [{"0"}, {"1"}]


def test_labels_are_true_and_false_in_any_case(tmp_path: Path) -> None:
    words = ["True", "FALSE", "true", "False"]
    text = "".join(f"{u},{i},{words[(u + i) % 4]}\n" for u, i in PAIRS)
    (tmp_path / "x.csv").write_text(f"user_id,item_id,label\n{text}")
    assert rows(run(tmp_path / "x.csv")) == {(u, i, 1 - (u + i) % 2) for u, i in PAIRS}


@pytest.mark.parametrize(
    ("encoding", "written"), [("latin-1", "latin-1"), ("cp1252", "cp1252"), ("utf-16", "utf-16"), (None, "utf-8-sig")]
)
def test_text_of_other_encodings(encoding: str | None, written: str, tmp_path: Path) -> None:
    text = "user_id,item_id,rating\r\n" + lines("Zoë{u},é{i},{r}")
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(text.encode(written)))
    if encoding == "latin-1":
        with pytest.raises(UserError, match=r"x\.csv\.gz, line 2, column user_id.*encoding, such as latin-1"):
            run(tmp_path / "x.csv.gz")
    assert rows(run(tmp_path / "x.csv.gz", encoding=encoding)) == {(f"Zoë{u}", f"é{i}", y) for u, i, y in RATED}


def test_a_bad_value_of_another_encoding_is_told_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("user_id,item_id,rating\n\nZoë,1,2\nZoë,1,good\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"x\.csv, line 4, column rating: 'good'"):
        run(tmp_path / "x.csv", encoding="utf-16")


@pytest.mark.parametrize(("typed", "delimiter"), [("::", "::"), ("||", "||"), ("\\t", "\t"), ("§", "§"), (None, "||")])
def test_delimiters_as_they_are_typed(typed: str | None, delimiter: str, tmp_path: Path) -> None:
    text = delimiter.join(["user_id", "item_id", "rating"]) + "\n" + lines(delimiter.join(["u{u}", '"{i}"', "{r}"]))
    (tmp_path / "x.csv").write_text(text + delimiter.join("abcd") + "\n")
    with pytest.raises(UserError) as caught:
        run(tmp_path / "x.csv", delimiter=typed)
    assert f"x.csv, line 22: 4 fields instead of 3 ({delimiter.join('abcd')!r})" in str(caught.value)
    (tmp_path / "x.csv").write_text(text + delimiter.join(["ann", f'"a{delimiter}b"', "1"]) + "\n")
    said: list[str] = []
    expected = {(f"u{u}", str(i), y) for u, i, y in RATED} | {("ann", f"a{delimiter}b", 0)}
    assert rows(run(tmp_path / "x.csv", said, delimiter=typed)) == expected
    assert said == ([] if typed else ["x.csv: fields are parted by '||'"])


@pytest.mark.parametrize("name", ["x.jsonl", "x.json.gz"])
def test_json_lines(name: str, tmp_path: Path) -> None:
    objects = [{"asin": f"B{i}", "user": u, "overall": float(rated(u, i)), "more": {"a": [1]}} for u, i in PAIRS]
    data = "\n\n".join(map(json.dumps, objects)).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    dataset = run(tmp_path / name, user_column="user", item_column="asin", rating_column="overall")
    assert rows(dataset) == {(u, f"B{i}", y) for u, i, y in RATED}


@pytest.mark.parametrize("block", [40, 1 << 21])
def test_json_of_many_blocks(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that are numbers and text come out alike, whether a cut falls between them or not, and bad lines are told."""
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", block)
    ids = {1: 1, 2: 2.0, 3: "3", 4: "2024-05-01", 5: "five"}
    objects = [{"item_id": i, "user_id": ids[u], "label": u % 2 == 0} for u, i in PAIRS]
    text = "".join(json.dumps(one) + "\n" for one in objects)
    (tmp_path / "x.jsonl").write_text(text + '{"user_id": 1,\n[]\n')
    with pytest.raises(UserError, match=r"x\.jsonl, line 21: '\{\"user_id\": 1,' is no JSON object"):
        run(tmp_path / "x.jsonl")
    dataset = run(tmp_path / "x.jsonl", max_reject_share=0.1)
    names = {1: "1", 2: "2", 3: "3", 4: "2024-05-01", 5: "five"}
    assert rows(dataset) == {(names[u], i, 1 - u % 2) for u, i in PAIRS}
    assert dataset.manifest.counts["rejected_rows"] == 2


def test_json_beside_other_files_is_about_them(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log/info.json").write_text("{}")
    (tmp_path / "log/x.csv").write_text("user_id,item_id\n" + lines("{u},{i}"))
    assert rows(run(tmp_path / "log")) == POSITIVE


@pytest.mark.parametrize(
    ("header", "options", "cure"),
    [
        ("userId,bookId,rating", {}, r"did you mean --user_column=userId --item_column=bookId\?"),
        ("uid,isbn,score", {}, r"--user_column=uid --item_column=isbn --rating_column=score\?"),
        ("User ID,item_id,Rating", {}, r"did you mean --user_column='User ID' --rating_column=Rating\?"),
        ("user_id,item_id,stars", {}, r"did you mean --rating_column=stars\?"),
        (
            "user_id,itm_id,rating",
            {"item_column": "itemid"},
            r"no column 'itemid', .*did you mean --item_column=itm_id\?",
        ),
        ("user_id,item_id,rating,Date", {"split": "time"}, r"did you mean --time_column=Date\?"),
        ("a,b,c", {}, "no column 'user_id', only a, b, c; name the columns"),
    ],
)
def test_a_wrong_guess_is_answered_with_the_option_that_cures_it(
    header: str, options: dict[str, Any], cure: str, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text(f"{header}\n1,2,3{',x' * ('Date' in header)}\n")
    with pytest.raises(UserError, match=cure):
        run(tmp_path / "x.csv", **options)


@pytest.mark.parametrize(
    "text",
    [
        ",".join(f"column {n}" for n in range(3000)) + "\n1\n",
        "x" * 14_000 + "\n" + "1,2\n",
        "user_id,item_id,label\n1,2," + "y" * 14_000 + "\n",
        "user_id,item_id,label\n1,2" + ",y" * 7_000 + "\n",
        ",".join(["7"] * 5_000) + "\n",
    ],
)
def test_no_message_holds_a_whole_line(text: str, tmp_path: Path) -> None:
    for name in ("x.csv", "x.jsonl"):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError) as caught:
            run(tmp_path / name)
        assert len(str(caught.value)) < 1_200
