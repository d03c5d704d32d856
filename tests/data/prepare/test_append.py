"""A log that goes on: ids stay, rows keep their splits, and the new ones are dealt among themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_rows import pairs_in_order, triples_in_order

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import SPLITS, Dataset, Reading
from distributed_il.data.prepare import PrepareConfig, prepare, summary_text

Rows = list[tuple[Any, Any, Any]]


def run(root: Path, output: str, rows: Rows, **options: Any) -> Dataset:
    source = root / f"{output}.csv"
    source.write_text("user_id,item_id,label\n" + "".join(f"{u},{i},{y}\n" for u, i, y in rows))
    config = {"lanes": 3, "name": "log", **options}
    prepare(PrepareConfig(source=str(source), output=str(root / output), **config))
    return Dataset.open(str(root / output))


def day(seed: int, users: int, items: int, prefix: str = "") -> Rows:
    rng = np.random.default_rng(seed)
    drawn = rng.choice(users * items, 200, replace=False)
    labels = rng.choice(["0", "1", ""], 200)
    return [(f"{prefix}{n // items * 3}", f"{n % items * 5}", y) for n, y in zip(drawn, labels, strict=True)]


@pytest.mark.parametrize("prefix", ["", "u"])
def test_a_second_day(prefix: str, tmp_path: Path) -> None:
    first, second = day(1, 20, 30, prefix), day(2, 40, 50, prefix)
    before = run(tmp_path, "one", first)
    after = run(tmp_path, "two", second, append_to=str(tmp_path / "one"))
    for entity in ("users", "items"):
        old, new = before.vocabulary(entity).to_pylist(), after.vocabulary(entity).to_pylist()
        assert new[: len(old)] == old
        assert new[len(old) :] == sorted(set(new) - set(old))
    assert after.num_users > before.num_users
    assert after.manifest.parent == before.fingerprint
    old_rows = {split: set(triples_in_order(before, split)) for split in SPLITS}
    labelled = {pair[:2] for rows in old_rows.values() for pair in rows}
    kind = str if prefix else int
    fresh = {(kind(u), int(i), int(y)) for u, i, y in second if y and (kind(u), int(i)) not in labelled}
    new_rows = {split: set(triples_in_order(after, split)) for split in SPLITS}
    for split in SPLITS:
        assert old_rows[split] <= new_rows[split]
    added = {split: new_rows[split] - old_rows[split] for split in SPLITS}
    assert set().union(*added.values()) == fresh
    assert len(added["train"]) == round(0.6 * len(fresh))
    counts = after.manifest.counts
    assert counts["rows_read"] == 200
    assert counts["parent_rows"] == sum(before.rows(split) for split in (*SPLITS, "unclear"))
    assert counts["overlapping_rows"] == sum(1 for _, _, y in second if y) - len(fresh)
    unclear = {*pairs_in_order(before, "unclear"), *((kind(u), int(i)) for u, i, y in second if not y)}
    assert set(pairs_in_order(after, "unclear")) == unclear - {row[:2] for row in new_rows["train"]}
    assert "rows of the dataset that this one goes on from" in summary_text(after.manifest)


def test_days_on_end_and_another_seed(tmp_path: Path) -> None:
    run(tmp_path, "one", day(1, 20, 30))
    run(tmp_path, "two", day(2, 40, 50), append_to=str(tmp_path / "one"))
    third = run(tmp_path, "three", day(3, 60, 70), append_to=str(tmp_path / "two"), seed=5, lanes=2)
    two = Dataset.open(str(tmp_path / "two"))
    assert third.vocabulary("users").to_pylist()[: two.num_users] == two.vocabulary("users").to_pylist()
    assert set(triples_in_order(two, "test")) <= set(triples_in_order(third, "test"))


def test_an_unclear_pair_that_becomes_clear_is_labelled(tmp_path: Path) -> None:
    first: Rows = [(u, i, (u + i) % 2) for u in range(4) for i in range(5)] + [(9, 9, "")]
    run(tmp_path, "one", first)
    second: Rows = [(u, i, (u + i) % 2) for u in range(4) for i in range(6, 16)] + [(9, 9, 1)]
    after = run(tmp_path, "two", second, append_to=str(tmp_path / "one"))
    assert (9, 9, 1) in {row for split in SPLITS for row in triples_in_order(after, split)}
    assert after.rows("unclear") == 0 or (9, 9, 1) not in triples_in_order(after, "train")


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "one", day(1, 20, 30))
    parent = str(tmp_path / "one")
    with pytest.raises(UserError, match="column user_id: 'x1': it is no integer"):
        run(tmp_path, "two", [("x1", 1, 1)], append_to=parent)
    (tmp_path / "r.csv").write_text("user_id,item_id,rating\n1,2,5\n")
    with pytest.raises(UserError, match="was prepared with rule 'binary', not 'rating'"):
        prepare(PrepareConfig(source=str(tmp_path / "r.csv"), output=str(tmp_path / "r"), append_to=parent))
    with pytest.raises(UserError, match="holds no manifest"):
        run(tmp_path, "two", day(2, 20, 30), append_to=str(tmp_path / "nothing"))
    for options in ({"min_user_rows": 2}, {"overlap": "keep"}):
        with pytest.raises(UserError, match="with append_to"):
            run(tmp_path, "two", day(2, 20, 30), append_to=parent, **options)
    with pytest.raises(UserError, match=r"one, train row \d+ and two\.csv, line 2 are about the same pair"):
        user, item, label = triples_in_order(Dataset.open(parent), "train")[0]
        run(tmp_path, "two", [(user, item, label)], append_to=parent, overlap="error")


OWN = "who;what;when;stars"


def stars(root: Path, name: str, first: int, header: str = OWN) -> str:
    """Twenty rows of five users, rated 1 to 5, a day apart."""
    rows = [f"{n % 5};{n};2024-05-{1 + n - first:02};{1 + n % 5}" for n in range(first, first + 20)]
    (root / name).write_text("\n".join([header, *rows]) + "\n")
    return str(root / name)


COLUMNS = {"user_column": "who", "item_column": "what", "time_column": "when", "rating_column": "stars"}


def test_columns_rule_and_split_are_remembered(tmp_path: Path) -> None:
    first, second, third = (stars(tmp_path, f"{day}.csv", 20 * day) for day in range(3))
    options = {**COLUMNS, "split": "time", "delimiter": ";", "positive_above": 4, "negative_below": 3, "lanes": 2}
    prepare(PrepareConfig(source=first, output=str(tmp_path / "one"), **options))
    plain = {"new_ids": True, "lanes": 2}
    told = prepare(
        PrepareConfig(
            source=second, output=str(tmp_path / "told"), append_to=str(tmp_path / "one"), **{**options, **plain}
        )
    )
    prepare(PrepareConfig(source=second, output=str(tmp_path / "two"), append_to=str(tmp_path / "one"), **plain))
    two = Dataset.open(str(tmp_path / "two"))
    assert two.fingerprint == told.fingerprint
    assert "as then" in summary_text(two.manifest)
    assert "user who" in summary_text(two.manifest)
    assert "split time" in summary_text(two.manifest)
    assert told.reading.recalled == ("rule rating",)
    # and so on from that one; what is given prevails
    again = {**plain, "append_to": str(tmp_path / "two")}
    prepare(PrepareConfig(source=third, output=str(tmp_path / "three"), **again))
    assert Dataset.open(str(tmp_path / "three")).manifest.times["test"][1].startswith("2024-05-20")
    prepare(PrepareConfig(source=third, output=str(tmp_path / "random"), split="random", **again))
    assert not Dataset.open(str(tmp_path / "random")).manifest.times
    with pytest.raises(UserError, match=r"prepared with positive_above 4, not 5"):
        prepare(PrepareConfig(source=third, output=str(tmp_path / "five"), positive_above=5, **again))


def test_a_column_that_is_not_there_is_looked_for_under_its_usual_name(tmp_path: Path) -> None:
    first = stars(tmp_path, "one.csv", 0)
    prepare(PrepareConfig(source=first, output=str(tmp_path / "one"), delimiter=";", **COLUMNS))
    second = stars(tmp_path, "two.csv", 20, "user_id;what;timestamp;stars")
    config = {"append_to": str(tmp_path / "one"), "new_ids": True, "item_column": "what"}
    manifest = prepare(PrepareConfig(source=second, output=str(tmp_path / "two"), **config))
    assert manifest.reading.columns == {"user": "who", "item": "what", "time": "when", "rating": "stars"}
    assert manifest.reading.recalled == ("columns rating stars", "delimiter ;")


def test_what_is_remembered_is_no_part_of_the_fingerprint(tmp_path: Path) -> None:
    """A dataset of the usual names has the bytes that it had before anything was remembered."""
    usual = prepare(
        PrepareConfig(
            source=stars(tmp_path, "usual.csv", 0, "user_id;item_id;timestamp;rating"),
            output=str(tmp_path / "usual"),
            delimiter=";",
        )
    )
    manifest = Dataset.open(str(tmp_path / "usual")).manifest
    assert manifest == usual
    assert manifest.reading.options == {"delimiter": ";"}
    assert replace(manifest, reading=Reading()).computed_fingerprint() == manifest.fingerprint
    assert "reading" not in json.loads(replace(manifest, reading=Reading()).to_json())
