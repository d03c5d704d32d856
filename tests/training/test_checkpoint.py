"""Checkpoints over ranks that are threads: any ranks go on where others stopped, and a failed one leaves the last."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forged_checkpoints import rewrite_manifests
from random_batches import part_of_rank, random_batch
from rank_cases import Case, make_learner, whole_table
from saved_runs import about_no_run
from thread_ranks import ThreadCollectives, run_on_threads
from torch import Tensor

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.errors import UserError
from distributed_il.core.files import write_atomically
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.methods import make_method
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner
from distributed_il.training import checkpoint, checkpoint_shards
from distributed_il.training.checkpoint import CheckpointStore, SavedState

IG = InverseGradientConfig(dual_learning_rate=5e-3)
STATE = SavedState({"best": 0.25}, {"counts": np.arange(5), "shares": np.array([0.5, 0.125])})
USERS, ITEMS = 7, 11
ONE_AT_A_TIME = threading.Lock()
"""The start of a tower is drawn from torch's global generator, which threads share."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of 12 float64 and one int32 a part."""
    monkeypatch.setattr(checkpoint_shards, "PART_BYTES", 2 * 100)


def new_learner(ranks: Collectives, tables: Any) -> Learner:
    with ONE_AT_A_TIME:
        return make_learner(Case(IG, missed_steps="catch_up", tables=tables), ranks, num_users=USERS, num_items=ITEMS)


def take_step(learner: Learner, step: int) -> int:
    """The run's inverse step of this number; returns what was chosen."""
    ranks = learner.collectives
    batch = random_batch(np.random.default_rng(step), rows=13, num_users=USERS, num_items=ITEMS, rate=1)
    decision = make_method(IG).step(StepExecutor(learner), part_of_rank(batch, ranks.rank, ranks.world_size)).decision
    assert decision is not None
    return decision.choice


def tensors(learner: Learner) -> list[Tensor]:
    """The whole model."""
    ranks = learner.collectives
    return [whole_table(learner.users, ranks), whole_table(learner.items, ranks), learner.tower.packed.clone()]


def save(learner: Learner, run_dir: Path, *, names: Any = ("last",)) -> None:
    CheckpointStore(str(run_dir)).save(learner, STATE, round=1, about=about_no_run(USERS, ITEMS), names=names)


def restore(learner: Learner, run_dir: Path) -> SavedState:
    store = CheckpointStore(str(run_dir))
    manifest = store.manifest("last")
    assert manifest is not None
    return store.restore(manifest, learner)


def on_ranks(world_size: int, function: Callable[[Collectives], Any]) -> list[Any]:
    return [function(LocalCollectives())] if world_size == 1 else run_on_threads(world_size, function)


def write_run(run_dir: Path, world_size: int, tables: str) -> list[tuple[list[Tensor], int, list[Tensor]]]:
    """Three steps, a checkpoint, one step: of each rank the model at the checkpoint, the choice, the model after it."""

    def run(ranks: Collectives) -> tuple[list[Tensor], int, list[Tensor]]:
        learner = new_learner(ranks, tables)
        for step in range(3):
            take_step(learner, step)
        save(learner, run_dir)
        return tensors(learner), take_step(learner, 3), tensors(learner)

    return on_ranks(world_size, run)


@pytest.mark.parametrize(("writers", "written"), [(3, "sharded"), (3, "replicated"), (1, "replicated")], ids=str)
def test_any_ranks_go_on_where_others_stopped(writers: int, written: str, tmp_path: Path) -> None:
    saved, choice, after = write_run(tmp_path, writers, written)[0]
    for readers, tables in ((1, "sharded"), (2, "sharded"), (2, "replicated"), (3, "sharded"), (4, "sharded")):

        def go_on(ranks: Collectives, tables: str = tables) -> tuple[SavedState, int, list[Tensor], int, list[Tensor]]:
            learner = new_learner(ranks, tables)
            take_step(learner, 9)  # elsewhere than the checkpoint
            state = restore(learner, tmp_path)
            return state, learner.step, tensors(learner), take_step(learner, 3), tensors(learner)

        for state, step, found, chosen, then in on_ranks(readers, go_on):
            assert (step, state.facts) == (3, STATE.facts)
            assert {name: array.tolist() for name, array in state.arrays.items()} == {
                name: array.tolist() for name, array in STATE.arrays.items()
            }
            assert all(torch.equal(*pair) for pair in zip(found, saved, strict=True))
            assert chosen == choice
            tolerance = 0 if (readers, tables) == (writers, written) else 1e-12
            for ours, theirs in zip(then, after, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("tables", ["replicated", "sharded"])
def test_every_rank_writes_its_share_and_the_manifest_says_which_rows(
    tables: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[int, list[str]] = {}
    write_parts = checkpoint.write_parts

    def noted(*arguments: Any, rank: int, world_size: int) -> Any:
        parts = write_parts(*arguments, rank=rank, world_size=world_size)
        written.setdefault(rank, []).extend(part.file for part in parts)
        return parts

    monkeypatch.setattr(checkpoint, "write_parts", noted)
    run_on_threads(3, lambda ranks: save(new_learner(ranks, tables), tmp_path))
    manifest = CheckpointStore(str(tmp_path)).manifest("last")
    assert manifest is not None
    for rank in range(3):
        assert written[rank]
        assert {int(file.split("-")[1]) % 3 for file in written[rank]} == {rank}
    assert (
        sorted(file for files in written.values() for file in files) == [part["file"] for part in manifest["parts"]][:]
    )
    for name, rows in (("users", USERS), ("items", ITEMS)):
        parts = [part for part in manifest["parts"] if part["table"] == name]
        numbers = [part["first"] + k * part["stride"] for part in parts for k in range(part["rows"])]
        assert sorted(numbers) == list(range(rows))
        assert {part["stride"] for part in parts} == {3 if tables == "sharded" else 1}
    sizes = {path.stem: path.stat().st_size for path in Path(manifest["place"]).glob("*.safetensors")}
    assert sizes == manifest["files"]


def outcome(save_it: Callable[[], None]) -> str:
    try:
        save_it()
    except (OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "saved"


@pytest.mark.parametrize(
    ("refused", "rank"),
    [("users-00001.safetensors", 1), ("items-00002.safetensors", 2), ("tower.safetensors", 0), ("manifest.json", 0)],
)
def test_what_one_rank_cannot_write_is_no_checkpoint_for_any(
    refused: str, rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fs: Any, path: str, content: bytes) -> None:
        if path.endswith(refused) and "-00000002" in path:
            raise OSError("the disk is gone")
        write_atomically(fs, path, content)

    for module in (checkpoint_shards, checkpoint):
        monkeypatch.setattr(module, "write_atomically", refuse)

    def run(ranks: Collectives) -> tuple[str, list[Tensor], str]:
        learner = new_learner(ranks, "sharded")
        take_step(learner, 0)
        save(learner, tmp_path, names=("last", "best"))
        saved = tensors(learner)
        take_step(learner, 1)
        failed = outcome(lambda: save(learner, tmp_path, names=("last", "best")))
        restore(learner, tmp_path)
        assert learner.step == 1
        assert all(torch.equal(*pair) for pair in zip(tensors(learner), saved, strict=True))
        for step in (1, 2):
            take_step(learner, step)
        return failed, saved, outcome(lambda: save(learner, tmp_path, names=("last", "best")))

    for found, (failed, _, then) in enumerate(run_on_threads(3, run)):
        if found == rank:
            assert failed == "OSError: the disk is gone"
        else:
            assert failed.startswith("RuntimeError: ")
            assert f"stands: this one could not be written on ranks [{rank}]" in failed
        assert then == "saved"
    # What the attempt left behind has gone with the checkpoint before it.
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()] == ["000001-00000003"]


def test_whichever_write_is_the_last_before_a_kill_both_names_are_of_one_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = new_learner(LocalCollectives(), "replicated")
    save(learner, tmp_path, names=("last", "best"))
    writes = 0

    def die(fs: Any, path: str, content: bytes) -> None:
        nonlocal writes
        if not writes:
            raise KeyboardInterrupt  # as a kill, it is no error that ranks would tell each other of
        writes -= 1
        write_atomically(fs, path, content)

    for module in (checkpoint_shards, checkpoint):
        monkeypatch.setattr(module, "write_atomically", die)
    take_step(learner, 0)
    store, allowed = CheckpointStore(str(tmp_path)), 0
    for allowed in range(100):
        writes = allowed
        try:
            save(learner, tmp_path, names=("last", "best"))
        except KeyboardInterrupt:
            assert [store.manifest(name)["step"] for name in ("last", "best")] == [0, 0]  # type: ignore[index]
        else:
            break
    assert allowed > 4
    assert [store.manifest(name)["step"] for name in ("last", "best")] == [1, 1]  # type: ignore[index]


@pytest.mark.parametrize("file", ["users-00002", "items-00000", "tower", "state"])
def test_a_damaged_or_missing_file_is_named(file: str, tmp_path: Path) -> None:
    write_run(tmp_path, 3, "sharded")
    path = tmp_path / "checkpoints" / "000001-00000003" / f"{file}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=rf"{file}.safetensors is missing or cut short \({len(whole) - 1} of"):
        CheckpointStore(str(tmp_path)).manifest("last")
    path.unlink()
    with pytest.raises(UserError, match=rf"{file}.safetensors is missing or cut short \(0 of {len(whole)} bytes\)"):
        CheckpointStore(str(tmp_path)).manifest("last")
    flipped = bytearray(whole)
    flipped[-3] ^= 16  # a bit of a weight
    for content in (b"\0" * len(whole), bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"{file}.safetensors can't be read \(its content is not what was written"):
            restore(new_learner(LocalCollectives(), "replicated"), tmp_path)
    path.write_bytes(b"\0" * len(whole))
    rewrite_manifests(tmp_path, lambda _: None)  # without hashes nonsense is found all the same
    with pytest.raises(UserError, match=rf"{file}.safetensors can't be read"):
        restore(new_learner(LocalCollectives(), "replicated"), tmp_path)


def test_a_manifest_without_a_part_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, 3, "sharded")

    def change(manifest: dict[str, Any]) -> None:
        # Rows 0 and 3 of 7 users: the first part of rank 0.
        manifest["parts"] = [part for part in manifest["parts"] if part["file"] != "users-00000"]

    rewrite_manifests(tmp_path, change)
    with pytest.raises(UserError, match="holds 5 of 7 rows of users"):
        restore(new_learner(LocalCollectives(), "replicated"), tmp_path)

    def message(ranks: ThreadCollectives) -> str:
        learner = new_learner(ranks, "sharded")
        try:
            restore(learner, tmp_path)
        except UserError as error:
            return str(error)
        return "restored"

    found = run_on_threads(3, message)
    assert all("holds 5 of 7 rows of users that belong here" in message for message in found)


@pytest.mark.parametrize("damage", ["{", None], ids=["cut", "gone"])
def test_a_checkpoint_without_a_manifest_is_refused(damage: str | None, tmp_path: Path) -> None:
    write_run(tmp_path, 1, "replicated")
    path = tmp_path / "checkpoints" / "000001-00000003" / "manifest.json"
    path.unlink()
    if damage:
        path.write_text(damage)
    with pytest.raises(UserError, match=r"manifest\.json (can't be read|is not JSON)"):
        CheckpointStore(str(tmp_path)).manifest("last")


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, 1, "replicated")
    rewrite_manifests(tmp_path, lambda manifest: manifest.update(format_version=2))
    with pytest.raises(UserError, match="has format version 2, this program reads 3"):
        CheckpointStore(str(tmp_path)).manifest("last")


def test_checkpoints_of_an_earlier_version_are_not_taken_for_none(tmp_path: Path) -> None:
    write_run(tmp_path, 1, "replicated")
    (tmp_path / "checkpoints" / "names.json").rename(tmp_path / "checkpoints" / "last.json")
    with pytest.raises(UserError, match=r"named by last.json, as an earlier version did; use the program"):
        CheckpointStore(str(tmp_path)).manifest("last")


def test_a_manifest_of_another_run_is_refused(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        write_run(tmp_path / name, 1, "replicated")
    place = "checkpoints/000001-00000003/manifest.json"
    content = json.loads((tmp_path / "other" / place).read_text())
    rewrite_manifests(tmp_path / "other", lambda manifest: manifest.update(dataset="e"))
    (tmp_path / "mine" / place).write_text((tmp_path / "other" / place).read_text())
    with pytest.raises(UserError, match=r"`last` names .*, which is another checkpoint than was written there"):
        CheckpointStore(str(tmp_path / "mine")).manifest("last")
    (tmp_path / "mine" / place).write_text(json.dumps(content))
    assert CheckpointStore(str(tmp_path / "mine")).manifest("last") is not None


def test_a_manifest_that_was_changed_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, 1, "replicated")
    path = tmp_path / "checkpoints" / "000001-00000003" / "manifest.json"
    path.write_text(path.read_text().replace('"best": 0.25', '"best": 0.75'))
    with pytest.raises(UserError, match="manifest.json is not what was written: the hashes differ; restore it"):
        CheckpointStore(str(tmp_path)).manifest("last")


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"lasu": "000001-00000003"}', '{"last": "../elsewhere"}'])
@pytest.mark.parametrize("more", [{}, {"best": 3}], ids=["alone", "beside"])
def test_damaged_names_are_refused(content: str, more: dict[str, Any], tmp_path: Path) -> None:
    write_run(tmp_path, 1, "replicated")
    path = tmp_path / "checkpoints" / "names.json"
    path.write_text(content if not more else json.dumps({"last": "000001-00000003"} | more))
    with pytest.raises(UserError, match=r"names\.json(:| is damaged| is not JSON).*; restore it"):
        CheckpointStore(str(tmp_path)).manifest("last")
    with pytest.raises(UserError, match=r"names\.json(:| is damaged| is not JSON)"):
        save(new_learner(LocalCollectives(), "replicated"), tmp_path)
    assert (tmp_path / "checkpoints" / "000001-00000003" / "manifest.json").exists()


def test_checkpoints_that_lost_their_names_are_not_taken_for_none(tmp_path: Path) -> None:
    write_run(tmp_path, 1, "replicated")
    path = tmp_path / "checkpoints" / "names.json"
    before = path.read_text()
    path.unlink()
    with pytest.raises(
        UserError, match=r'names.json is missing, and .*restore the file \(\{"last": "000001-00000003"}'
    ):
        CheckpointStore(str(tmp_path)).manifest("last")
    with pytest.raises(UserError, match="names.json is missing"):
        save(new_learner(LocalCollectives(), "replicated"), tmp_path)
    path.write_text(before)
    assert CheckpointStore(str(tmp_path)).newest() == "000001-00000003"


def test_only_what_this_program_made_is_removed(tmp_path: Path) -> None:
    learner = new_learner(LocalCollectives(), "replicated")
    mine = [tmp_path / "checkpoints" / name for name in ("notes", "000001", "000001-00000001-best", "x000001-00000001")]
    for path in mine:
        path.mkdir(parents=True)
    assert CheckpointStore(str(tmp_path)).manifest("last") is None
    for step in (1, 2):
        take_step(learner, step)
        save(learner, tmp_path)
    left = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert left == {"names.json", "000001-00000002", *(path.name for path in mine)}


def test_a_run_that_was_killed_in_its_first_checkpoint_begins_anew(tmp_path: Path, monkeypatch: Any) -> None:
    def killed(self: CheckpointStore, names: Any) -> None:
        if names.directories:
            raise KeyboardInterrupt
        monkeypatch.undo()
        self._write_names(names)
        monkeypatch.setattr(CheckpointStore, "_write_names", killed)

    learner = new_learner(LocalCollectives(), "replicated")
    monkeypatch.setattr(CheckpointStore, "_write_names", killed)
    with pytest.raises(KeyboardInterrupt):
        save(learner, tmp_path)
    monkeypatch.undo()
    assert list((tmp_path / "checkpoints").glob("*/manifest.json"))
    assert CheckpointStore(str(tmp_path)).manifest("last") is None
    take_step(learner, 1)
    save(learner, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").glob("0*")] == ["000001-00000001"]


def test_a_run_without_a_checkpoint_has_none(tmp_path: Path) -> None:
    assert CheckpointStore(str(tmp_path)).manifest("last") is None
