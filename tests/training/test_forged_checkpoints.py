"""Checkpoints that name files elsewhere, or declare more than their files hold, are refused before memory is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forged_checkpoints import rewrite_manifests
from saved_runs import save_run

from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.inference.trained_run import open_run

HUGE = 10**12


@pytest.fixture
def run(tiny_dataset: Dataset, tmp_path: Path) -> Path:
    save_run(tiny_dataset, tmp_path / "run")
    return tmp_path / "run"


def forge(run: Path, change: Callable[[Any], Any]) -> None:
    rewrite_manifests(run, change)


@pytest.mark.parametrize("name", ["../elsewhere", "/elsewhere", "..", "", "a/../b"])
def test_a_name_that_leads_out_is_refused(name: str, run: Path) -> None:
    (run / "checkpoints" / "names.json").write_text(json.dumps({"best": name, "last": name}))
    with pytest.raises(UserError, match=r"names\.json is damaged"):
        open_run(str(run), "best", None)


def test_a_checkpoint_without_hashes_is_told_once(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_run(str(run), "best", None)
    assert caplog.messages == []
    forge(run, lambda content: None)
    for _ in range(2):
        open_run(str(run), "best", None)
    (told,) = caplog.messages
    assert f"checkpoint {run}/checkpoints/" in told
    assert "has no hashes" in told


@pytest.mark.parametrize("listed", ["files", "parts"])
def test_a_file_elsewhere_is_refused(listed: str, run: Path) -> None:
    def change(content: Any) -> None:
        if listed == "files":
            content["files"]["../../../tower"] = content["files"].pop("tower")
        else:
            content["parts"][0]["file"] = "../../../users"

    forge(run, change)
    with pytest.raises(UserError, match=r"manifest\.json names '\.\./\.\./\.\./.*, which is no path below"):
        open_run(str(run), "best", None)


def test_a_link_out_of_the_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    (path,) = run.glob("checkpoints/*/tower.safetensors")
    path.rename(tmp_path / "tower")
    path.symlink_to(tmp_path / "tower")
    with pytest.raises(UserError, match=r"tower\.safetensors, which .*manifest\.json names, is a link"):
        open_run(str(run), "best", None)
    path.unlink()
    (tmp_path / "tower").rename(path)
    path.parent.rename(tmp_path / "elsewhere")
    path.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"names\.json names, is a link"):
        open_run(str(run), "best", None)


def _embedding(content: Any) -> None:
    content["config"]["model"]["embedding_dim"] = HUGE


def _rows(content: Any) -> None:
    content["parts"][0]["rows"] = HUGE


def _fewer(content: Any) -> None:
    del content["parts"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_embedding, r"users-00000 has .* bytes, too few for 40 rows of 12,000,000,000,000 bytes"),
        (_rows, r"-00000 has .* bytes, too few for 1,000,000,000,000 rows"),
        (_fewer, r"holds 0 of \d+ rows of"),
    ],
)
def test_sizes_are_held_against_the_files(change: Callable[[Any], None], message: str, run: Path) -> None:
    open_run(str(run), "best", None)
    forge(run, change)
    with pytest.raises(UserError, match=message):
        open_run(str(run), "best", None)
