"""Paths and URIs, hashing while writing, and directories that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from remote_directory import serve_as_remote

from distributed_il.core.errors import UserError
from distributed_il.core.files import (
    HashingSink,
    StagedDirectory,
    explain_full_disk,
    filesystem,
    is_local,
    sha256_of,
)


def test_paths_and_uris_lead_to_the_same_file(tmp_path: Path) -> None:
    for path in (str(tmp_path / "a"), f"file://{tmp_path}/a/"):
        fs, inside = filesystem(path)
        assert is_local(fs)
        assert inside == str(tmp_path / "a")


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert filesystem("data/x")[1] == str(tmp_path / "data" / "x")


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UserError, match=r"ftp://host/x.*give a local path or a URI"):
        filesystem("ftp://host/x")


def test_the_sink_counts_and_hashes_what_it_writes(tmp_path: Path) -> None:
    fs, path = filesystem(str(tmp_path / "x"))
    with HashingSink(fs, path) as sink:
        sink.write(b"abc")
        sink.write(memoryview(b"defg"))
    assert Path(path).read_bytes() == b"abcdefg"
    assert sink.bytes == 7
    assert sink.sha256 == sha256_of(fs, path) == hashlib.sha256(b"abcdefg").hexdigest()


def test_a_staged_directory_appears_when_published(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "data"
    staged = StagedDirectory(str(target))
    Path(staged.building, "x").write_text("1")
    (staged.scratch / "temporary").write_text("2")
    assert not target.exists()
    staged.publish()
    assert [path.name for path in target.parent.iterdir()] == ["data"]
    assert [path.name for path in target.iterdir()] == ["x"]


def test_a_discarded_directory_leaves_nothing(tmp_path: Path) -> None:
    staged = StagedDirectory(str(tmp_path / "data"))
    (staged.scratch / "temporary").write_text("2")
    staged.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_directory_may_be_filled_and_a_full_one_may_not(tmp_path: Path) -> None:
    target = tmp_path / "data"
    target.mkdir()
    StagedDirectory(str(target)).publish()
    (target / "x").write_text("1")
    with pytest.raises(UserError, match="data is not empty"):
        StagedDirectory(str(target))
    with pytest.raises(UserError, match="x is a file"):
        StagedDirectory(str(target / "x"))


def test_what_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    staged = StagedDirectory(str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("1")
    with pytest.raises(UserError, match="not empty"):
        staged.publish()
    staged.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_leavings_of_a_killed_run_are_removed_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    code = (
        "import sys; from distributed_il.core.files import StagedDirectory\n"
        "staged = StagedDirectory(sys.argv[1]); print(staged.building, flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        building = Path(child.stdout.readline().strip())
        StagedDirectory(str(tmp_path / "data")).discard()
        assert building.is_dir()
        child.send_signal(signal.SIGKILL)
        child.wait()
    StagedDirectory(str(tmp_path / "data")).discard()
    assert not building.exists()


def test_elsewhere_a_directory_is_built_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_as_remote(monkeypatch, tmp_path)
    staged = StagedDirectory("remote://data")
    scratch = staged.scratch
    with staged.filesystem.open_output_stream(f"{staged.building}/x") as stream:
        stream.write(b"1")
    staged.publish()
    assert not scratch.exists()
    assert (tmp_path / "data" / "x").read_text() == "1"
    other = StagedDirectory("remote://other")
    other.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_its_cure(number: int) -> None:
    with pytest.raises(UserError, match=r"/some/where: the disk .*make room"), explain_full_disk("/some/where"):
        raise OSError(number, os.strerror(number))


def test_other_errors_pass() -> None:
    with pytest.raises(FileNotFoundError), explain_full_disk("x"):
        raise FileNotFoundError(errno.ENOENT, "no such file")


def test_a_place_without_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match="can't be made: Permission denied"):
        StagedDirectory(str(tmp_path / "data"))
    assert isinstance(filesystem(str(tmp_path))[0], pafs.LocalFileSystem)
