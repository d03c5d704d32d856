"""Where a private Ray may not be started, said in a line; and what it leaves behind. Without Ray."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ray._raylet import AuthenticationTokenLoader

from distributed_il.core.errors import UserError
from distributed_il.runtime.private_ray import check_machine, private_ray, read_token_again


@pytest.fixture(autouse=True)
def token_of_before() -> Iterator[None]:
    """A Ray that this process may have started before goes on being asked with its own token."""
    yield
    read_token_again()  # the variables are those of before by now


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = Path("/tmp", f"b{os.getpid()}")
    path.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(path))
    yield path
    shutil.rmtree(path)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_directory_and_a_token_are_this_users_alone_and_go(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    tokens = set[str]()
    for _ in range(2):
        with private_ray() as place:
            own = Path(place).parent
            assert own.parent == base
            assert stat.S_IMODE(own.stat().st_mode) == 0o700
            assert stat.S_IMODE((own / "token").stat().st_mode) == 0o600
            assert os.environ["RAY_AUTH_MODE"] == "token"
            token = AuthenticationTokenLoader.instance().get_raw_token()
            assert token == (own / "token").read_text()
            tokens.add(token)
        assert list(base.iterdir()) == []
    assert len(tokens) == 2
    assert os.environ["RAY_AUTH_TOKEN"] == "f" * 64
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


def test_what_a_killed_driver_left_goes_and_what_a_living_one_has_stays(base: Path) -> None:
    program = "import sys; from distributed_il.runtime.private_ray import private_ray\n"
    program += "with private_ray() as place: print(place, flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    theirs = Path(other.stdout.readline().strip()).parent
    (base / "ray-of-user").mkdir()
    (base / "ray-abcdefgh").mkdir()  # as made by another program
    with private_ray() as mine:
        assert theirs.is_dir()
        other.kill()
        other.communicate()
        with private_ray():
            assert not theirs.exists()
            assert Path(mine).parent.is_dir()
    assert sorted(path.name for path in base.iterdir()) == ["ray-abcdefgh", "ray-of-user"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file another user's")
def test_what_another_user_left_is_not_touched(base: Path) -> None:
    owner = base / "ray-abcdefgh" / "driver"
    owner.parent.mkdir()
    owner.touch()
    os.chown(owner, 12345, -1)
    with private_ray():
        assert owner.exists()
    os.chown(owner, os.getuid(), -1)
    with private_ray():
        assert not owner.exists()


def test_a_temporary_directory_too_deep_for_sockets_is_not_taken(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = base / ("d" * 60)
    deep.mkdir()
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv("TMPDIR", str(deep))
    with private_ray() as place:
        assert Path(place).parents[1] == Path("/tmp")
    monkeypatch.setenv("TMPDIR", str(base))
    with private_ray() as place:
        assert Path(place).parents[1] == base


def test_a_directory_too_deep_for_sockets_is_named(base: Path) -> None:
    room = 107 - len("/ray-abcdefgh/r/session_2026-11-30_16-43-58_307620_4194304/sockets/plasma_store")
    fits = base / ("d" * (room - len(str(base)) - 1))
    fits.mkdir()
    check_machine(str(fits))
    deep = Path(f"{fits}d")
    deep.mkdir()
    with pytest.raises(UserError, match=rf"{deep} is too long .* {room + 1} bytes .* {room} fit; set RAY_TMPDIR"):
        check_machine(str(deep))


def test_a_full_or_missing_directory_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=rf"{base}/no: No such file or directory; .* RAY_TMPDIR"):
        check_machine(f"{base}/no")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 30, 1 << 30, 3 << 20))
    with pytest.raises(UserError, match=rf"{base} has 3 MiB free, and Ray needs 64: .* RAY_TMPDIR"):
        check_machine(str(base))


def test_few_files_are_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 4096))
    with pytest.raises(UserError, match=r"may open 64 files, .* `ulimit -n 4096`"):
        check_machine(str(base))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    check_machine(str(base))


def test_loopback_that_is_down_is_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> socket.socket:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(UserError, match=r"loopback interface, .* \(Cannot assign .*`ip link set lo"):
        check_machine(str(base))


def test_a_directory_that_can_not_be_written_is_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(UserError, match=rf"{base} can't be written; .* RAY_TMPDIR"), private_ray():
        pass
