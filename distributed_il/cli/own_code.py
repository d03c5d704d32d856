"""A user's own backbone, named module:Class."""

from __future__ import annotations

import os
import sys


def find_own_code() -> None:
    """Lets a module that lies where the command is given be imported; Ray hands this path on to its workers."""
    sys.path.insert(0, os.getcwd())
