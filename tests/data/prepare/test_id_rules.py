"""How a log's ids are read: by all of its columns, by what its dataset says, and never two of them as one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_rows import triples_in_order

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset
from distributed_il.data.dataset.manifest import parse_manifest
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.data.prepare.sources import delimited

HEADER = "user_id,item_id,label\n"


def csv(*, users: int = 6, items: int = 5, first: int = 0, form: str = "{}", item: str = "{}") -> str:
    pairs = [(u, i) for u in range(first, first + users) for i in range(items)]
    return HEADER + "".join(f"{form.format(u)},{item.format(i)},{(u + i) % 2}\n" for u, i in pairs)


def run(root: Path, files: dict[str, str], output: str = "out", **options: Any) -> Dataset:
    source = root / f"{output}-logs"
    source.mkdir()
    for name, text in files.items():
        (source / name).write_text(text)
    prepare(PrepareConfig(source=str(source), output=str(root / output), **{"lanes": 2, **options}))
    return Dataset.open(str(root / output))


def rows(dataset: Dataset) -> set[tuple[Any, Any, int]]:
    return {row for split in SPLITS for row in triples_in_order(dataset, split)}


def test_users_whose_ids_differ_by_zeros_stay_apart(tmp_path: Path) -> None:
    """40 users were read as 20, and the rows of two as contradictions."""
    lines = [f"{prefix}{u},{i},{y}\n" for u in range(20) for i in range(3) for prefix, y in (("", 1), ("0", 0))]
    dataset = run(tmp_path, {"x.csv": HEADER + "".join(lines)}, contradictions="error", duplicates="error")
    assert dataset.num_users == 40
    assert dataset.manifest.id_type == {"user": "string", "item": "int64"}
    assert dataset.manifest.id_rule == "plain"
    assert len(rows(dataset)) == 120


def test_text_in_a_later_file_makes_text_of_the_earlier_ones(tmp_path: Path) -> None:
    files = {"a.csv": csv(), "b.csv": csv(first=6, form="u{}"), "c.csv": csv(first=90, item="0{}")}
    dataset = run(tmp_path, files)
    assert dataset.manifest.id_type == {"user": "string", "item": "string"}
    expected = {(str(u), str(i), (u + i) % 2) for u in range(6) for i in range(5)}
    expected |= {(f"u{u}", str(i), (u + i) % 2) for u in range(6, 12) for i in range(5)}
    expected |= {(str(u), f"0{i}", (u + i) % 2) for u in range(90, 96) for i in range(5)}
    assert rows(dataset) == expected
    assert dataset.manifest.counts["rows_read"] == 90
    again = run(tmp_path, dict(reversed(files.items())), "again", id_type="string", name="out-logs")
    assert again.manifest.splits == dataset.manifest.splits


def test_text_of_parquet_stays_text_and_whole_floats_are_integers(tmp_path: Path) -> None:
    table = pa.table(
        {
            "user_id": [str(n % 5) for n in range(30)],
            "item_id": [float(n // 5) for n in range(30)],
            "label": [n % 2 for n in range(30)],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    prepare(PrepareConfig(source=str(tmp_path / "x.parquet"), output=str(tmp_path / "out"), lanes=2))
    assert rows(Dataset.open(str(tmp_path / "out"))) == {(str(n % 5), n // 5, n % 2) for n in range(30)}


def test_one_file_of_integers_and_one_that_pandas_wrote_are_alike(tmp_path: Path) -> None:
    dataset = run(tmp_path, {"a.csv": csv(), "b.csv": csv(first=4, form="{}.0")})
    assert dataset.vocabulary("users").to_pylist() == [*range(10)]


@pytest.mark.parametrize("piece_rows", [1, 1 << 19])
def test_where_a_file_is_cut_into_pieces_does_not_matter(
    piece_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """7.0 and 8 were integers where a cut fell between them, and else text."""
    monkeypatch.setattr(delimited, "_PIECE_ROWS", piece_rows)
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 64)
    dataset = run(tmp_path, {"x.csv": csv(form="{}.0") + csv(first=6).removeprefix(HEADER)})
    assert dataset.manifest.id_type == {"user": "string", "item": "int64"}
    assert {user for user, _, _ in rows(dataset)} == {*(f"{u}.0" for u in range(6)), *map(str, range(6, 12))}
    more = {"x.csv": csv(form="{}.0", items=9) + csv(first=6, items=9).removeprefix(HEADER)}
    run(tmp_path, {"x.csv": csv(users=12)}, "one")
    after = run(tmp_path, more, "two", append_to=str(tmp_path / "one"), max_reject_share=0.6)
    assert after.manifest.counts["rejected_rows"] == 54  # 7.0 is a mistake where 8 stands beside it


def test_ids_of_side_features_are_read_as_those_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "age.csv").write_text("user_id,age\n1,young\n01,old\n")
    options: dict[str, Any] = {"user_features": str(tmp_path / "age.csv"), "user_feature_columns": ["age"]}
    with pytest.raises(UserError, match=r"age\.csv, line 3, column user_id: '01': it is no integer written plainly"):
        run(tmp_path, {"x.csv": csv()}, "integers", **options)
    dataset = run(tmp_path, {"x.csv": csv() + "02,1,1\n"}, "text", **options)
    assert dataset.manifest.counts["users_with_features"] == 1
    assert dataset.manifest.counts["user_features_unused"] == 1


@pytest.mark.parametrize("word", ["nan", "NULL", "None", "NA", ""])
def test_words_of_a_missing_value_are_no_ids(word: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.csv, line 32, column user_id: .*: the id is missing"):
        run(tmp_path, {"x.csv": csv(form="u{}") + f"{word},1,1\n"})


def test_a_known_log_has_plain_integers(tmp_path: Path) -> None:
    lines = [f"{u}::{i}::{1 + (u + i) % 5}::978300000\n" for u in range(6) for i in range(5)]
    with pytest.raises(UserError, match=r"ratings\.dat, line 31:? ?.*'07': it is no integer written plainly"):
        run(tmp_path, {"ratings.dat": "".join([*lines, "07::1::5::978300000\n"])})


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        ("0{}", {}, "column user_id: '00': it is no integer written plainly"),
        ("u{}", {}, "column user_id: 'u0': it is no integer"),
        ("0{}", {"id_type": "integer"}, ""),
        ("{}.0", {}, ""),
    ],
)
def test_what_goes_on_is_read_as_it_began(form: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    run(tmp_path, {"x.csv": csv()}, "one")
    more = {"x.csv": csv(users=8, items=9, form=form)}
    if message:
        with pytest.raises(UserError, match=message):
            run(tmp_path, more, "two", append_to=str(tmp_path / "one"), **options)
        return
    after = run(tmp_path, more, "two", append_to=str(tmp_path / "one"), **options)
    assert after.vocabulary("users").to_pylist() == [*range(8)]
    assert after.manifest.id_rule == options.get("id_type", "plain")


def test_text_goes_on_as_text(tmp_path: Path) -> None:
    run(tmp_path, {"x.csv": csv(form="0{}")}, "one")
    after = run(tmp_path, {"x.csv": csv(form="0{}", items=9) + "7,3,1\n"}, "two", append_to=str(tmp_path / "one"))
    assert after.vocabulary("users").to_pylist() == [*(f"0{u}" for u in range(6)), "7"]


def test_a_log_of_other_ids_is_refused(tmp_path: Path) -> None:
    run(tmp_path, {"x.csv": csv(form="u{}")}, "one")
    append = {"append_to": str(tmp_path / "one")}
    message = r"of the 6 users of the new log only 0 are in .*one, .*: 'U0', 'U1', 'U2', … there 'u0', 'u1', 'u2', …"
    with pytest.raises(UserError, match=message):
        run(tmp_path, {"x.csv": csv(form="U{}", items=9)}, "two", **append)
    with pytest.raises(UserError, match="of the 5 items of the new log only 0 are in"):
        run(tmp_path, {"x.csv": csv(form="u{}", item="7{}")}, "three", **append)
    after = run(tmp_path, {"x.csv": csv(form="U{}", items=9)}, "four", new_ids=True, **append)
    assert after.num_users == 12
    with pytest.raises(UserError, match="give append_to"):
        run(tmp_path, {"x.csv": csv()}, "five", new_ids=True)


def of_before(dataset: Dataset, **changes: Any) -> None:
    """Writes a manifest as it was before datasets told how their ids were read."""
    manifest = dataclasses.replace(dataset.manifest, id_rule="", **changes).with_fingerprint()
    (Path(dataset.path) / "manifest.json").write_text(manifest.to_json())
    assert "id_rule" not in manifest.to_json()
    assert parse_manifest(manifest.to_json(), "here") == manifest


def test_a_dataset_whose_text_ids_may_have_been_merged_is_not_gone_on_from(tmp_path: Path) -> None:
    one = run(tmp_path, {"x.csv": csv(item="i{}")}, "one")
    of_before(one)
    more = {"x.csv": csv(users=8, item="i{}")}
    with pytest.raises(UserError, match="those of its users are integers, so that 007 and 7 may have become one"):
        run(tmp_path, more, "two", append_to=one.path)
    after = run(tmp_path, more, "three", append_to=one.path, id_type="integer")
    assert after.num_users == 8
    of_before(one, rule={**one.manifest.rule, "format": ["kuairand"]})
    assert run(tmp_path, more, "four", append_to=one.path).manifest.id_rule == ""


def test_text_of_a_dataset_of_before_goes_on(tmp_path: Path) -> None:
    one = run(tmp_path, {"x.csv": csv(form="u{}", item="i{}")}, "one")
    of_before(one)
    after = run(tmp_path, {"x.csv": csv(users=8, form="u{}", item="i{}")}, "two", append_to=one.path)
    assert after.num_users == 8
    assert after.manifest.id_rule == ""
