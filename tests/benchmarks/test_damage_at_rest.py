"""The benchmark finds a result that damage has changed, a trace and a hang, and leaves the scene as it was."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.damage import commands
from benchmarks.damage.forgeries import sign
from benchmarks.damage.mutations import KINDS, Mutation, mutate
from benchmarks.damage_at_rest import Outcome, Scene, figures_of, table
from distributed_il.core.errors import UserError


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    for name in ("one", "other"):
        for place in ("data", "run", "stopped"):
            (tmp_path / "scenes" / name / place).mkdir(parents=True)
            (tmp_path / "scenes" / name / place / "a.json").write_text(json.dumps({"name": name, "place": place}))
    (tmp_path / "own").mkdir()
    return tmp_path / "scenes"


@pytest.mark.parametrize(
    ("content", "outcome"),
    [(b"whole", "same"), (b"other", "changed"), (None, "refused"), (b"", "trace"), (b"endless", "hang")],
)
def test_each_outcome_is_told(
    content: bytes | None, outcome: str, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(root: Path, _: Path) -> str:
        if not (root / "data/a.json").exists():
            raise UserError("it is gone")
        text = (root / "data/a.json").read_text()
        while text == "endless":
            time.sleep(0.01)
        return text[0] + text

    monkeypatch.setitem(commands.OF_DATA, "evaluate", read)
    (scenes / "one/data/a.json").write_text("whole")
    scene = Scene(scenes, scenes.parent / "own", limit_s=1)
    scene.learn(("evaluate",))
    with scene.damaged(Mutation("flip", Path("data/a.json"), {Path("data/a.json"): content})):
        assert scene.try_command("evaluate")[0] == outcome
    assert scene.try_command("evaluate")[0] == "same"


def test_every_kind_of_damage_is_drawn_for_every_file(scenes: Path) -> None:
    drawn = [mutate(scenes / "one", scenes / "other", number, seed=0) for number in range(150)]
    assert {one.kind for one in drawn} == set(KINDS)
    assert {str(one.path) for one in drawn} == {"data/a.json", "run/a.json", "stopped/a.json"}
    whole = (scenes / "one/data/a.json").read_bytes()
    flipped = next(one for one in drawn if one.kind == "flip" and str(one.path) == "data/a.json")
    content = flipped.contents[flipped.path]
    assert content is not None
    assert np.unpackbits(np.frombuffer(bytes(a ^ b for a, b in zip(content, whole, strict=True)), np.uint8)).sum() == 1


def test_a_forged_document_gets_hashes_that_fit() -> None:
    before = {"a": 1, "sha256": "x"}
    forged = {"a": 2, "sha256": "x"}
    sign(forged, before)
    assert forged["sha256"] == hashlib.sha256(b'{"a": 2}').hexdigest()


def test_faults_are_counted_first() -> None:
    found = [Outcome("flip", "a", "score", outcome, "") for outcome in ("same", "changed", "same")]
    figures = figures_of(found)
    assert {name: figure.median for name, figure in figures.items()} == {
        "changed": 1,
        "trace": 0,
        "hang": 0,
        "tries": 3,
        "same": 2,
    }
    assert figures["changed"].met is False
    assert "| damage flip | 1 | 2 |" in table(found)
