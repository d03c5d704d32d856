"""Ids are integers only where they are written as such; two that are written differently never become one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributed_il.data.prepare.sources.column_types import BadValueError
from distributed_il.data.prepare.sources.ids import read_ids


@pytest.mark.parametrize(
    ("column", "wanted", "expected"),
    [
        (pa.array([3, 1], pa.int32()), "auto", [3, 1]),
        (pa.array([3, 1], pa.uint64()), "auto", [3, 1]),
        (pa.array([3.0, 0.0]), "auto", [3, 0]),
        (pa.array([3.0, 0.0], pa.float32()), "string", ["3", "0"]),
        (pa.array(["3", "1", "0"]), "auto", [3, 1, 0]),
        (pa.array([str(2**63 - 1)]), "auto", [2**63 - 1]),
        (pa.array([str(2**63), "1"]), "auto", [str(2**63), "1"]),
        (pa.array(["3.0", "1.0", "0.0"]), "auto", [3, 1, 0]),
        (pa.array(["3.0", "1"]), "auto", ["3.0", "1"]),
        (pa.array([f"{2**53}.0"]), "auto", [f"{2**53}.0"]),
        (pa.array(["3.5", "1.0"]), "auto", ["3.5", "1.0"]),
        (pa.array(["3 ", " 1"]), "auto", ["3 ", " 1"]),
        (pa.array(["007", "7"]), "auto", ["007", "7"]),
        (pa.array(["+7", "7"]), "auto", ["+7", "7"]),
        (pa.array(["-0", "0"]), "auto", ["-0", "0"]),
        (pa.array(["0x10", "16"]), "auto", ["0x10", "16"]),
        (pa.array(["1e5", "12e45678"]), "auto", ["1e5", "12e45678"]),  # hashes in hexadecimal
        (pa.array(["007", "7", " 7"]), "integer", [7, 7, 7]),
        (pa.array(["3", "u1"]), "auto", ["3", "u1"]),
        (pa.array(["3", "1"]), "string", ["3", "1"]),
        (pa.array(["NA", "1.23E+10"]), "string", ["NA", "1.23E+10"]),
        (pa.array([3, 1]), "string", ["3", "1"]),
        (pa.array([3, 1]), "text", ["3", "1"]),
        (pa.array(["3", "03"]), "text", ["3", "03"]),
        (pa.array(["é", "b"], pa.large_string()), "auto", ["é", "b"]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), "auto", ["b", "a", "b"]),
    ],
)
def test_ids(column: pa.Array, wanted: Any, expected: list[Any]) -> None:
    ids = read_ids(column, wanted)
    assert ids.type == (pa.string() if isinstance(expected[0], str) else pa.int64())
    assert ids.to_pylist() == expected


@pytest.mark.parametrize("column", [pa.array(["3", "1"]), pa.array(["3", "1"]).dictionary_encode()])
def test_text_of_a_file_with_types_stays_text(column: pa.Array) -> None:
    assert read_ids(column, "auto", typed=True).to_pylist() == ["3", "1"]
    assert read_ids(column, "plain", typed=True).to_pylist() == [3, 1]


@given(st.lists(st.from_regex(r"[ +-]?0{0,2}[0-9]{1,20}(\.0)?", fullmatch=True), min_size=1, max_size=4))
def test_different_texts_are_different_ids(texts: list[str]) -> None:
    with suppress(BadValueError):  # negative integers are none
        ids = read_ids(pa.array(texts), "auto").to_pylist()
        assert len(set(ids)) == len(set(texts))


@pytest.mark.parametrize(
    ("column", "wanted", "row", "value", "message"),
    [
        (pa.array([1, None]), "auto", 1, None, "the id is missing"),
        (pa.array(["1", "", "2"]), "auto", 1, "", "the id is missing"),
        (pa.array(["u1", ""]), "string", 1, "", "the id is missing"),
        *((pa.array(["u1", word]), "auto", 1, word, "missing; .* set id_type to string") for word in ("nan", "NULL")),
        *((pa.array(["1", word]), "text", 1, word, "the id is missing") for word in ("None", "NA", " ", " NaN")),
        (pa.array([1.0, float("nan")]), "auto", 1, pytest.approx(float("nan"), nan_ok=True), "the id is missing"),
        (pa.array([1.0, 1.5]), "auto", 1, 1.5, "an id is text or a whole number"),
        (pa.array([1.0, 2.0**53]), "auto", 1, 2.0**53, r"a whole number, as a float below 2\*\*53"),
        (pa.array([4, 5, -1, -2]), "auto", 2, -1, "must not be negative"),
        (pa.array(["4", "-5"]), "auto", 1, -5, "must not be negative"),
        (pa.array([2**63], pa.uint64()), "auto", 0, 2**63, r"above 2\*\*63"),
        (pa.array([True]), "auto", 0, True, "type bool; ids are integers or strings"),
        *(
            (pa.array(["u1", one]), "auto", 1, one, "a spreadsheet has rounded")
            for one in ("1.23E+10", "1e+16", "1.5E9")
        ),
        (pa.array(["1", "2", "u3", "4", "u5"]), "integer", 2, "u3", "it is no integer"),
        (pa.array(["1", "2", "03", "4"]), "plain", 2, "03", "it is no integer written plainly"),
        (pa.array(["1", "2.0"]), "plain", 1, "2.0", "it is no integer written plainly"),
    ],
)
def test_the_first_bad_id_is_told(column: pa.Array, wanted: Any, row: int, value: object, message: str) -> None:
    with pytest.raises(BadValueError, match=message) as caught:
        read_ids(column, wanted)
    assert (caught.value.row, caught.value.value) == (row, value)


def test_all_bad_ids_are_found() -> None:
    with pytest.raises(BadValueError) as caught:
        read_ids(pa.array(["1", "02", "2", " 3", "x"]), "plain")
    assert caught.value.all_rows is not None
    assert caught.value.all_rows().tolist() == [1, 3, 4]
