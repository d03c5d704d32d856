"""The token that a cluster with authentication asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from distributed_il.core.errors import UserError


def authorization(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The header that carries the token; none where there is no token, or RAY_AUTH_MODE is `disabled`.

    The token is looked for where Ray looks for it: RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names,
    `~/.ray/auth_token`. Where RAY_AUTH_MODE is not set, a token that is there is used.

    Args:
        environ: Environment variables.

    Raises:
        UserError: RAY_AUTH_MODE is `token` and there is none, or its file can't be read.
    """
    mode = environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled":
        return {}
    token = environ.get("RAY_AUTH_TOKEN", "").strip() or _from_file(environ)
    if token:
        return {"Authorization": f"Bearer {token}"}
    if mode == "token":
        raise UserError(
            "RAY_AUTH_MODE is token and there is no token here; put the cluster's into ~/.ray/auth_token, or name it "
            "by RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH (`ray get-auth-token` on the head prints it)"
        )
    return {}


def _from_file(environ: Mapping[str, str]) -> str:
    named = environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        if named:
            raise UserError(f"RAY_AUTH_TOKEN_PATH names {named}, which does not exist") from error
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the token in {path} can't be read: {error}") from error
