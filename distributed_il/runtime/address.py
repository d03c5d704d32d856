"""Finds out within seconds whether anything listens at an address: Ray itself tries for a minute and more."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from distributed_il.core.errors import UserError

CONNECT_WITHIN_S = 5.0
_PORTS = {"http": 80, "https": 443}


def check_address(address: str, place: str) -> None:
    """Connects to `HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT` and hangs up; messages name the `place`.

    Raises:
        UserError: It is no such address.
        OSError: Nothing answers there.
    """
    scheme, separator, _ = address.partition("://")
    parts = urlsplit(address if separator else f"//{address}")
    try:
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError as error:
        raise UserError(f"{place} {address}: {error}") from error
    if not host or not port or (separator and scheme not in _PORTS):
        raise UserError(f"{place} {address} is not HOST:PORT, nor http://HOST:PORT")
    socket.create_connection((host, port), CONNECT_WITHIN_S).close()
