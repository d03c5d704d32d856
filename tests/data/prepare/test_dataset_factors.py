"""Exposure factors of datasets: which there are, what they see of the log, and how they grow with it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exposure_reference import planted
from numpy.typing import NDArray
from remote_directory import serve_as_remote
from watch_logs import Watches, contents, prepared, watches

from distributed_il.cli import main
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset, StoredFactors
from distributed_il.data.dataset import factors as files_module
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.data.prepare.build.exposure_factors import add_factors
from distributed_il.data.prepare.build.training_exposures import training_exposures


def factors_of(dataset: Dataset) -> StoredFactors:
    found = dataset.factors()
    assert found is not None
    return found


def only(path: Path, **options: Any) -> StoredFactors:
    prepare(PrepareConfig(output=str(path), factors_only=True, **options))
    return factors_of(Dataset.open(str(path)))


def facts(path: Path) -> dict[str, Any]:
    return json.loads((path / "summary.json").read_text())["factors"]


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("log")
    prepared(root, "data", watches())
    return root / "data"


@pytest.fixture
def data(prepared_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared_once, tmp_path / "data"))


def test_prepare_computes_them(data: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(str(data))
    found = factors_of(dataset)
    assert found.columns == 16
    assert found.has_structure
    assert found.basis_fingerprint == found.fingerprint != dataset.fingerprint
    assert (found.z_users.shape, found.z_items.shape) == ((dataset.num_users, 16), (dataset.num_items, 16))
    np.testing.assert_array_equal(found.z_items, found.basis().of_items())
    exposures = training_exposures(dataset, tmp_path)
    assert found.manifest.exposures == exposures.counts
    assert found.manifest.left_out == exposures.left_out
    np.testing.assert_array_equal(found.z_users, found.basis().user_folder().fold(exposures.exposures.by_user))
    # Ids without exposures are exactly 0, all others are not.
    for factors, degrees in (
        (found.z_users, exposures.exposures.user_degrees()),
        (found.z_items, exposures.exposures.item_degrees()),
    ):
        assert not factors[degrees == 0].any()
        assert factors[degrees > 0].any(axis=1).all()
    assert facts(data)["singular_values"] == list(found.manifest.singular_values)


def test_the_fingerprint_and_the_files_of_the_dataset_stay_what_they_are(data: Path, tmp_path: Path) -> None:
    without = contents(Path(prepared(tmp_path, "without", watches(), factors=0).path))
    assert not any(name.startswith("factors/") for name in without)
    for name, content in contents(data).items():
        if name == "manifest.json":
            assert json.loads(content)["fingerprint"] == json.loads(without[name])["fingerprint"]
        elif not name.startswith(("factors/", "summary.")):
            assert content == without[name], name


def test_held_out_pairs_tell_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    splits: dict[str, Watches] = {name: [] for name in ("train", "valid", "test")}
    for row in watches(seed=3, unclear=0):
        splits[rng.choice(["train", "valid", "test"], p=[0.6, 0.2, 0.2])].append(row)
    held_out = [(user, item, "") for name in ("valid", "test") for user, item, _ in splits[name]]
    rest = [(user, item, "") for user, item, _ in splits["train"] if rng.random() < 0.3]
    found: list[StoredFactors] = []
    for name, logged in (("blind", rest), ("leaking", rest + held_out)):
        source = tmp_path / f"{name}-log"
        source.mkdir()
        shown = watches(seed=4, unclear=1)
        for split, rows in splits.items():
            rows = [*rows, *(row for row in shown if row[:2] not in {r[:2] for r in held_out}), *logged] * (
                split == "train"
            ) or rows
            text = "".join(f"{user},{item},{label}\n" for user, item, label in rows)
            (source / f"{split}.csv").write_text(f"user_id,item_id,label\n{text}")
        prepare(PrepareConfig(source=str(source), output=str(tmp_path / name), lanes=3))
        found.append(factors_of(Dataset.open(str(tmp_path / name))))
    blind, leaking = found
    assert leaking.manifest.left_out["logged"] == len(held_out)
    assert blind.manifest.left_out["logged"] == 0
    assert leaking.manifest.exposures == blind.manifest.exposures
    for name in ("z_users", "z_items", "x_items", "singular_values"):
        np.testing.assert_array_equal(getattr(leaking, name), getattr(blind, name))


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_same_bits_on_every_number_of_threads(data: Path, tmp_path: Path, threads: int) -> None:
    found = add_factors(Dataset.open(str(data)), tmp_path, threads=threads)
    assert found.fingerprint == add_factors(Dataset.open(str(data)), tmp_path, threads=1).fingerprint


def test_a_log_without_taste_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    rows: Watches = [(user, item, str(rng.integers(2))) for user, item, _ in watches() for item in [rng.integers(90)]]
    assert not factors_of(prepared(tmp_path, "data", rows)).has_structure
    assert main(["prepare", "--factors_only", f"--output={tmp_path / 'data'}"]) == 0
    assert "tells no more than activity and popularity" in capsys.readouterr().out


def test_small_logs_have_none(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, "data", watches(users=40, items=30))
    assert dataset.factors() is None
    assert "are too few for 16 exposure factors" in facts(tmp_path / "data")["reason"]
    before = contents(tmp_path / "data")
    with pytest.raises(UserError, match="data: .* too few for 16 exposure factors, which need 1,000 of 33 and 33"):
        only(tmp_path / "data")
    assert contents(tmp_path / "data") == before
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["data"]


def test_defaults_follow_from_the_log(tmp_path: Path, data: Path) -> None:
    assert factors_of(Dataset.open(str(data))).manifest.tau == 0.3
    mostly_unclear = factors_of(prepared(tmp_path, "unclear", watches(unclear=0.8)))
    assert mostly_unclear.manifest.tau == 1.0
    asked = only(data, factors=5, factors_tau=0.7)
    assert (asked.columns, asked.manifest.tau) == (5, 0.7)


# Of a dataset that is there


def test_a_dataset_of_before_gets_them_and_repeats_them(tmp_path: Path, data: Path) -> None:
    old = tmp_path / "old"
    prepared(tmp_path, "old", watches(), factors=0)
    (old / "summary.json").unlink()
    manifest = (old / "manifest.json").read_bytes()
    assert Dataset.open(str(old)).factors() is None
    found = only(old)
    assert (old / "manifest.json").read_bytes() == manifest
    assert found.fingerprint == factors_of(Dataset.open(str(data))).fingerprint
    assert facts(old) == facts(data)
    files = contents(old)
    only(old)
    assert contents(old) == files


def test_earlier_factors_stay_for_their_runs(data: Path) -> None:
    before = factors_of(Dataset.open(str(data)))
    after = only(data, factors=3)
    assert factors_of(Dataset.open(str(data))).fingerprint == after.fingerprint != before.fingerprint
    kept = Dataset.open(str(data)).factors(before.fingerprint)
    assert kept is not None
    np.testing.assert_array_equal(kept.z_users, before.z_users)


@pytest.mark.parametrize("number", range(5))
def test_an_interrupted_writing_leaves_the_dataset_as_it_was(
    data: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    class KilledError(BaseException):
        pass

    calls = 0

    def counting(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > number:
                raise KilledError
            return function(*arguments)

        return call

    before = contents(data)
    monkeypatch.setattr(files_module, "write_array", counting(files_module.write_array))
    monkeypatch.setattr(files_module, "write_atomically", counting(files_module.write_atomically))
    monkeypatch.setattr(files_module.os, "rename", counting(files_module.os.rename))
    with pytest.raises(KilledError):
        only(data, factors=3)
    left = contents(data)
    assert {name: left[name] for name in before} == before
    assert all(name.startswith("factors/") for name in left.keys() - before.keys())
    assert factors_of(Dataset.open(str(data))).columns == 16
    monkeypatch.undo()
    assert only(data, factors=3).columns == 3


def test_what_a_killed_process_left_is_cleared_away(data: Path) -> None:
    abandoned = data / "new_factors.tmp-999999"
    (abandoned / "scratch").mkdir(parents=True)
    only(data)
    assert not abandoned.exists()


def test_damaged_files_are_found_and_cured(data: Path) -> None:
    found = factors_of(Dataset.open(str(data)))
    directory = data / "factors" / found.fingerprint
    (directory / "z_users.arrow").write_bytes(b"short")
    cure = rf"compute them again: distributed-il prepare --factors_only --output={data}"
    with pytest.raises(UserError, match=rf"z_users.arrow has 5 bytes instead of \d+; {cure}"):
        Dataset.open(str(data)).factors()
    only(data)
    np.testing.assert_array_equal(factors_of(Dataset.open(str(data))).z_users, found.z_users)
    manifest = directory / "factors.json"
    manifest.write_text(manifest.read_text().replace('"tau": 0.3', '"tau": 0.4'))
    with pytest.raises(UserError, match="its fingerprint does not fit its content"):
        Dataset.open(str(data)).factors()
    manifest.write_text("{}")
    with pytest.raises(UserError, match=r"factors\.json: dataset is missing"):
        Dataset.open(str(data)).factors()
    manifest.unlink()
    with pytest.raises(UserError, match="factors.json is missing"):
        Dataset.open(str(data)).factors()
    (data / "factors" / "current.json").write_text("[")
    with pytest.raises(UserError, match="current.json is not JSON"):
        Dataset.open(str(data)).factors()
    assert only(data).fingerprint == found.fingerprint


def test_factors_that_nothing_names_any_more_are_not_taken_for_none(data: Path) -> None:
    found = factors_of(Dataset.open(str(data)))
    (data / "factors" / "current.json").unlink()
    with pytest.raises(UserError, match=r"current\.json is missing, and .*factors holds factors; compute them again"):
        Dataset.open(str(data)).factors()
    assert Dataset.open(str(data)).factors(found.fingerprint) is not None  # runs name theirs themselves
    assert only(data).fingerprint == found.fingerprint


def test_factors_of_another_dataset_are_refused(data: Path, tmp_path: Path) -> None:
    other = Path(prepared(tmp_path, "other", watches(seed=5), factors=0).path)
    shutil.copytree(data / "factors", other / "factors")
    with pytest.raises(UserError, match="is of the dataset"):
        Dataset.open(str(other)).factors()


def test_on_a_filesystem_that_is_not_local(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_as_remote(monkeypatch, tmp_path)
    found = only(data)
    prepared(tmp_path, "log", watches(), factors=0)
    prepare(PrepareConfig(output="remote://log", factors_only=True))
    remote = factors_of(Dataset.open("remote://log"))
    assert remote.fingerprint == found.fingerprint
    np.testing.assert_array_equal(remote.z_users, found.z_users)
    prepare(PrepareConfig(source=str(tmp_path / "log.csv"), output="remote://new", name="log", lanes=3))
    assert factors_of(Dataset.open("remote://new")).fingerprint == found.fingerprint


# A log that goes on


def test_by_append_to_the_basis_stays_and_new_ids_are_folded_in(data: Path, tmp_path: Path) -> None:
    before = factors_of(Dataset.open(str(data)))
    # New users and a new item, and new watches of user 5 alone of the old ones.
    counts = planted(200, 90, seed=7)
    later: Watches = [(1000 + user, item, "1") for user, item in np.argwhere(counts[:60]).tolist()]
    later += [(1000 + user, 500, "1") for user in range(40)] + [(5, item, "") for item in range(0, 90, 4)]
    grown = prepared(tmp_path, "grown", later, append_to=str(data))
    after = factors_of(grown)
    assert after.basis_fingerprint == before.fingerprint != after.fingerprint
    for name in ("singular_values", "user_scales", "item_scales"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    items, users = before.x_items.shape[0], before.z_users.shape[0]
    vectors = before.x_items.any(axis=1)
    np.testing.assert_array_equal(after.x_items[:items][vectors], before.x_items[vectors])
    np.testing.assert_array_equal(after.z_items[:items][vectors], before.z_items[vectors])
    five = grown.vocabulary("users").to_pylist().index(5)
    same = np.arange(users) != five
    np.testing.assert_array_equal(after.z_users[:users][same], before.z_users[same])
    assert not np.array_equal(after.z_users[five], before.z_users[five])
    assert after.z_users[users:].any(axis=1).sum() > 50
    assert after.z_items[grown.vocabulary("items").to_pylist().index(500)].any()
    assert "Their basis is that of the dataset" in _words(tmp_path / "grown")
    # Once more, from the grown one.
    third = factors_of(prepared(tmp_path, "third", [(2000, 3, "1"), (2001, 4, "")], append_to=grown.path, new_ids=True))
    assert third.basis_fingerprint == before.fingerprint


def _words(path: Path) -> str:
    from distributed_il.data.prepare import factors_text

    return factors_text(facts(path))


LOG = watches(users=260, seed=1)
"""A log that goes on: its users come one after another. Two of five columns flip when 60 are added to 160."""


@pytest.fixture(scope="module")
def lineage_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`old` with 160 users, and `grown` with 60 more, whose factors are folded in."""
    root = tmp_path_factory.mktemp("lineage")
    prepared(root, "old", [row for row in LOG if row[0] < 160], factors=5)
    prepared(root, "grown", [row for row in LOG if 160 <= row[0] < 220], append_to=str(root / "old"), new_ids=True)
    return root


@pytest.fixture
def grown(lineage_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lineage_once / "grown", tmp_path / "grown"))


def test_factors_computed_anew_after_growth_are_aligned(lineage_once: Path, grown: Path, tmp_path: Path) -> None:
    before, folded = factors_of(Dataset.open(str(lineage_once / "old"))), factors_of(Dataset.open(str(grown)))
    after = only(grown)
    assert after.rotation is not None
    assert (after.basis_fingerprint, after.columns) == (before.fingerprint, 5)
    assert after.manifest.tau == before.manifest.tau
    assert after.manifest.exposures == folded.manifest.exposures
    assert "computed anew after the log had grown, and aligned" in _words(grown)
    # z is (z / scales) Q of the same factors without alignment.
    plain = add_factors(Dataset.open(str(grown)), tmp_path, columns=5, tau=before.manifest.tau)
    unaligned = Dataset.open(str(grown)).factors(plain.fingerprint)
    assert unaligned is not None
    np.testing.assert_array_equal(unaligned.x_items, after.x_items)
    for z, scales, turned, old in (
        (unaligned.z_users, unaligned.user_scales, after.z_users, folded.z_users),
        (unaligned.z_items, unaligned.item_scales, after.z_items, folded.z_items),
    ):
        np.testing.assert_allclose(turned, z / scales @ after.rotation, atol=1e-5)
        assert (_cosines(z, old) < -0.5).sum() == 2
        assert (_cosines(turned, old) > 0.9).all()
    np.testing.assert_array_equal(after.user_scales, np.ones(5))
    # Whoever is folded in comes out in the same columns.
    exposures = training_exposures(Dataset.open(str(grown)), tmp_path).exposures
    np.testing.assert_array_equal(after.basis().user_folder().fold(exposures.by_user), after.z_users)


def _cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the columns of one with those of the other."""
    return (one * other).sum(axis=0) / np.linalg.norm(one, axis=0) / np.linalg.norm(other, axis=0)


def test_alignment_goes_on_with_the_log(data: Path, lineage_once: Path, grown: Path, tmp_path: Path) -> None:
    before, second = factors_of(Dataset.open(str(lineage_once / "old"))), only(grown)
    files = contents(grown)
    assert only(grown).fingerprint == second.fingerprint
    assert contents(grown) == files
    later = [row for row in LOG if row[0] >= 220]
    third = factors_of(prepared(tmp_path, "third", later, append_to=str(grown), new_ids=True))
    np.testing.assert_array_equal(third.rotation, second.rotation)
    np.testing.assert_array_equal(third.z_items[: len(second.z_items)], second.z_items)
    fourth = only(tmp_path / "third")
    assert not np.array_equal(fourth.x_items, third.x_items)
    assert {found.basis_fingerprint for found in (second, third, fourth)} == {before.fingerprint}
    # Other columns can't be aligned, and of a log that has not grown nothing is.
    assert only(grown, factors=3).manifest.basis == ""
    assert only(data, factors_tau=0.7).rotation is None


def test_damaged_aligned_factors_are_found_and_cured(grown: Path) -> None:
    found = only(grown)
    directory = grown / "factors" / found.fingerprint
    (directory / "z_users.arrow").unlink()
    with pytest.raises(UserError, match=r"z_users.arrow is missing; compute them again"):
        Dataset.open(str(grown)).factors()
    assert only(grown).fingerprint == found.fingerprint
    np.testing.assert_array_equal(factors_of(Dataset.open(str(grown))).z_users, found.z_users)
    place = directory / "factors.json"
    rotation = found.manifest.rotation
    place.write_text(dataclasses.replace(found.manifest, rotation=rotation[::-1]).to_json())
    with pytest.raises(UserError, match="its fingerprint does not fit its content"):
        Dataset.open(str(grown)).factors()
    # Whoever puts the fingerprint right, too, still has to give a rotation.
    for damaged in (rotation[:-1], (2.0, *rotation[1:])):
        forged = dataclasses.replace(found.manifest, rotation=damaged)
        place.write_text(dataclasses.replace(forged, fingerprint=forged.computed_fingerprint()).to_json())
        with pytest.raises(UserError, match="rotation is no orthogonal matrix of 5 columns; compute them again"):
            Dataset.open(str(grown)).factors()
    # Whose columns they had can't be told any more.
    assert only(grown).manifest.basis == ""


def test_folded_factors_whose_files_are_damaged_give_way_to_a_basis_of_their_own(grown: Path) -> None:
    found = factors_of(Dataset.open(str(grown)))
    (grown / "factors" / found.fingerprint / "z_items.arrow").unlink()
    assert only(grown).manifest.basis == ""


def test_a_dataset_that_goes_on_from_one_without_factors_computes_its_own(tmp_path: Path) -> None:
    before = prepared(tmp_path, "before", watches(), factors=0)
    later: Watches = [(user + 300, item, label) for user, item, label in watches(seed=8)]
    found = factors_of(prepared(tmp_path, "after", later, append_to=before.path, new_ids=True))
    assert found.manifest.basis == ""


def test_other_factors_than_those_of_the_parent_are_refused(data: Path, tmp_path: Path) -> None:
    rows: Watches = [(1, 1, "1"), (2000, 3, "1"), (2001, 4, "0")]
    with pytest.raises(UserError, match="factors is 8, and .*data has factors with 16, whose basis stays"):
        prepared(tmp_path, "after", rows, append_to=str(data), factors=8)
    with pytest.raises(UserError, match="factors_tau is 1.0, and"):
        prepared(tmp_path, "after", rows, append_to=str(data), factors_tau=1.0)
    assert prepared(tmp_path, "after", rows, append_to=str(data), factors=0).factors() is None


# The command


def test_the_command_prints_what_was_found(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "--factors_only", f"--output={data}"]) == 0
    out = capsys.readouterr().out
    assert "16 exposure factors from" in out
    assert "Who watched what carries structure: the first singular value is" in out
    assert "are left out because their pairs stand in valid or test" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "log.csv", "factors_only": True}, "leave source away"),
        ({"factors_only": True, "append_to": "x"}, "leave append_to away"),
        ({"factors_only": True, "lanes": 4}, "leave lanes away"),
        ({"factors_only": True, "factors": 0}, "factors is 0, which is none, and factors_only is given"),
        ({"source": "x", "factors": 0, "factors_tau": 1.0}, "factors is 0, which is none, and factors_tau is given"),
        ({"source": "x", "factors": -1}, "factors is -1; it must lie between 1 and 512"),
        ({"source": "x", "factors": 513}, "factors is 513; it must lie between 1 and 512"),
        ({"source": "x", "factors_tau": -0.5}, "factors_tau is -0.5; it must be 0 or a finite number above it"),
        ({}, "source is missing; give it as --source=…"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PrepareConfig(output="data", **options)


def test_of_no_dataset_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no manifest.json"):
        only(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())
