"""Paths from documents stay below their directory, by their words and by their links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from distributed_il.core.errors import UserError
from distributed_il.core.inside import require_inside

LOCAL = pafs.LocalFileSystem()


def test_what_lies_below_may_be_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    require_inside(LOCAL, str(tmp_path), ["a", "a/b", "a/absent/c", "..c", "d..", ".hidden"], "document")


UP = ["..", "../a", "a/../../b", "a/../b", "a/.."]
ODD = ["", ".", "//a", "a//b", "a/", "./a", "a\0b", 7, None]


@pytest.mark.parametrize("path", [*UP, *ODD, "/etc/passwd"])
def test_words_that_lead_elsewhere_are_refused(path: Any, tmp_path: Path) -> None:
    for fs in (LOCAL, pafs.SubTreeFileSystem(str(tmp_path), LOCAL)):
        with pytest.raises(UserError, match="document names .*, which is no path below"):
            require_inside(fs, str(tmp_path), ["a", path], "document")


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "root-and-more"
    for directory in (root / "real", outside):
        directory.mkdir(parents=True)
        (directory / "file").write_text("x")
    (root / "within").symlink_to(root / "real")
    (root / "out").symlink_to(outside)
    (root / "file").symlink_to("../root-and-more/file")
    (root / "dangling").symlink_to("/nowhere")
    require_inside(LOCAL, str(root), ["within/file", "within", "real/file"], "document")
    for path in ("out/file", "out", "file", "dangling", "out/absent"):
        with pytest.raises(UserError, match=f"{path}, which document names, is a link that leads out"):
            require_inside(LOCAL, str(root), ["real/file", path], "document")


def test_the_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("x")
    (tmp_path / "real" / "again").symlink_to("file")
    (tmp_path / "link").symlink_to("real")
    require_inside(LOCAL, str(tmp_path / "link"), ["file", "again"], "document")
