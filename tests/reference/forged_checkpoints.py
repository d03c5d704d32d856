"""Checkpoints whose manifests are rewritten, as by an earlier version, which wrote no hashes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def rewrite_manifests(run_dir: str | Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the manifests of all checkpoints of a run in place, and takes all hashes out."""
    for path in Path(run_dir, "checkpoints").glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        del manifest["manifest_sha256"], manifest["sha256"]
        for part in manifest["parts"]:
            del part["sha256"]
        change(manifest)
        path.write_text(json.dumps(manifest))
    names = Path(run_dir, "checkpoints", "names.json")
    content = json.loads(names.read_text())
    content.pop("sha256", None)
    names.write_text(json.dumps(content))
