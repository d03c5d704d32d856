"""The current folder is nobody's path: what lies there is not taken for a library, and code only where it is named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from saved_runs import save_run

import distributed_il
from distributed_il.cli import main
from distributed_il.core import own_code
from distributed_il.core.errors import UserError
from distributed_il.core.own_code import code_path, find_object
from distributed_il.data.dataset import Dataset
from distributed_il.runtime.session import _job_config  # pyright: ignore[reportPrivateUsage]

BACKBONE = (Path(__file__).parents[1] / "examples" / "own_backbone.py").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder; Python's path and what has been imported from it are as before afterwards."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(own_code, "_found_in", set[str]())
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def trap(folder: Path, *names: str) -> None:
    """Modules of these names that say on standard error that they ran, and end the process."""
    for name in names:
        (folder / f"{name}.py").write_text(f"import sys\nsys.exit('{name} ran')\n")


@pytest.mark.parametrize("by_path", ["", "PYTHONPATH"])
def test_a_command_takes_nothing_in_the_current_folder_for_a_library(by_path: str, tmp_path: Path) -> None:
    trap(tmp_path, "jsonargparse", "yaml", "numpy", "pyarrow", "torch", "ray")
    home = str(Path(distributed_il.__file__).parents[1])
    path = os.pathsep.join([str(tmp_path), home] if by_path else [home])
    ended = subprocess.run(
        [sys.executable, "-m", "distributed_il", "train", "--method.name=none", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "--optimizer.learning_rate" in ended.stdout


def test_own_code_is_found_after_everything_else(folder: Path) -> None:
    trap(folder, "jinja2", "numpy")
    sys.modules.pop("jinja2", None)
    (folder / "mine.py").write_text("import jinja2, numpy\nclass Thing: pass\n")
    assert find_object("model.backbone", "mine:Thing").__name__ == "Thing"
    assert sys.path[-1] == str(folder) == code_path()


def test_what_is_built_in_does_not_ask_for_the_folder(folder: Path) -> None:
    find_object("model.backbone", "distributed_il.models.backbones.gmf:GMF")
    assert str(folder) not in sys.path
    assert code_path() is None


def test_workers_look_where_they_are_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "their.py").write_text("class Thing: pass\n")
    monkeypatch.setenv(own_code.CODE_PATH, str(tmp_path / "elsewhere"))
    assert find_object("model.backbone", "their:Thing").__name__ == "Thing"


def test_code_that_ends_the_process_is_told_of(folder: Path) -> None:
    trap(folder, "leaving")
    with pytest.raises(UserError, match=r"'leaving:Thing' can't be imported \(SystemExit: leaving ran\)"):
        find_object("model.backbone", "leaving:Thing")


def test_a_text_that_ends_a_command_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from distributed_il.cli import report

    monkeypatch.setattr(report, "run", lambda argv: sys.exit("enough"))
    assert main(["report"]) == 1
    assert capsys.readouterr().err == "distributed-il: enough\n"


def test_rays_workers_get_the_folder_first_only_where_this_process_has_it_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _job_config()._client_job  # which keeps Ray from adding it
    find_object("model.backbone", "os:path")  # somebody's own code: last
    assert sys.path[-1] == str(folder)
    assert _job_config()._client_job
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    assert not _job_config()._client_job
    monkeypatch.setattr(sys, "path", ["", *sys.path[1:]])
    assert not _job_config()._client_job


def test_a_checkpoints_own_code_is_imported_only_where_that_is_allowed(
    folder: Path, make_dataset: Callable[..., Dataset], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "theirs.py").write_text(f"{BACKBONE}\nfrom pathlib import Path as _Path\n_Path('it-ran').touch()\n")
    dataset = make_dataset(lanes=2)
    save_run(dataset, folder / "run", backbone="theirs:Distance")
    (folder / "it-ran").unlink()
    del sys.modules["theirs"]
    commands = [["evaluate"], ["score", "--split=test", "--output=a"], ["annotate", "--output=b"]]
    commands += [["recommend", "--output=c"], ["export", "--output=d"]]
    for command, *rest in commands:
        assert main([command, "--run_dir=run", *rest]) == 2
        assert "names code: model.backbone 'theirs:Distance'" in capsys.readouterr().err
    assert not (folder / "it-ran").exists()
    assert main(["evaluate", "--run_dir=run", "--allow_code"]) == 0
    assert (folder / "it-ran").exists()
