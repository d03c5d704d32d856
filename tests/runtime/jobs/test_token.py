"""Where the token is looked for, and what is said where it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs.connection import authorization


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(path: Path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def test_the_variable_prevails_over_the_named_file_and_this_over_the_one_at_home(home: Path) -> None:
    write(home / ".ray" / "auth_token", "at-home\n")
    named = {"RAY_AUTH_TOKEN_PATH": write(home / "token", " named \n")}
    assert authorization({}) == {"Authorization": "Bearer at-home"}
    assert authorization(named) == {"Authorization": "Bearer named"}
    assert authorization({**named, "RAY_AUTH_TOKEN": "given"}) == {"Authorization": "Bearer given"}


def test_nothing_is_sent_where_there_is_no_token_or_authentication_is_off() -> None:
    assert authorization({}) == {}
    assert authorization({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "given"}) == {}


def test_a_token_that_has_to_be_there_and_is_not_is_asked_for() -> None:
    with pytest.raises(UserError, match="no token here; put the cluster's into ~/.ray/auth_token"):
        authorization({"RAY_AUTH_MODE": "token"})


@pytest.mark.parametrize(("name", "words"), [("absent", "does not exist"), ("", "can't be read")])
def test_a_named_file_that_holds_no_token_is_named(home: Path, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        authorization({"RAY_AUTH_TOKEN_PATH": str(home / name)})
