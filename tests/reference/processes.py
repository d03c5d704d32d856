"""What the kernel says of processes and of the sockets that they listen on."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path

_LISTENING = "0A"


def alive(pids: Iterable[int]) -> set[int]:
    """Those of the processes that have not ended; one that waits to be collected has."""
    return {pid for pid in pids if _state(pid) not in ("", "Z", "X")}


def listening_addresses(pids: Iterable[int]) -> set[str]:
    """The addresses on which any of the processes listens, in the network namespace of this process."""
    listening: dict[str, str] = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                listening[fields[9]] = _address(fields[1].split(":")[0])
    return {listening[inode] for pid in pids for inode in _sockets(pid) if inode in listening}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _sockets(pid: int) -> set[str]:
    try:
        targets = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {target.removeprefix("socket:[").removesuffix("]") for target in targets if target.startswith("socket:[")}


def _address(digits: str) -> str:
    """An address as the kernel writes it: 32-bit words in the machine's order."""
    words = bytes.fromhex(digits)
    packed = b"".join(words[start : start + 4][::-1] for start in range(0, len(words), 4))
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return f"::ffff:{mapped}" if mapped else str(address)
