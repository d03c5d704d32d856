"""The commands on an object store, on a private Ray: simulated, trained, killed, resumed, evaluated, recommended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_store import BUCKET, object_store_apart

from distributed_il.core.files import filesystem, read_run_file

pytestmark = pytest.mark.cluster  # some minutes

LOG = (
    *("--preset=demo", "--num_users=200", "--num_items=300"),
    *("--num_positives=3000", "--num_negatives=2800", "--num_unclear=3000"),
)
TRAIN = (
    *("--run.workers=2", "--run.batch_size=64", "--run.max_rounds=4", "--run.patience=4"),
    *("--run.checkpoint_every_steps=5", "--method.name=none", "--model.embedding_dim=4", "--model.factors=0"),
)


def start(*arguments: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "distributed_il", *arguments]
    return subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def said_by(*arguments: str) -> str:
    """What a command prints that must end well."""
    process = start(*arguments)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return output


def train(base: str) -> list[str]:
    return ["train", *TRAIN, f"--data.path={base}/data", f"--run.dir={base}/run"]


def measured(base: str) -> dict[str, Any]:
    """A run's metrics.json, without what tells how fast it was."""
    metrics = json.loads(read_run_file(f"{base}/run", "metrics.json") or "")
    return {name: metrics[name] for name in ("valid", "test", "trivial", "ranking", "history")}


def recommended(base: str) -> pa.Table:
    fs, place = filesystem(f"{base}/best")
    return pq.read_table(place, filesystem=fs)


def test_a_killed_and_resumed_run_on_a_store_ends_as_a_local_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store_apart() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        store, local = f"s3://{BUCKET}", str(tmp_path)
        for base in (store, local):
            said_by("simulate", *LOG, f"--output={base}/data")

        first = start(*train(store))
        assert first.stderr is not None
        assert any(line.startswith("round 2/") for line in first.stderr)
        first.kill()
        first.communicate()
        assert read_run_file(f"{store}/run", "metrics.json") is None
        said_by(*train(store))
        said_by(*train(local))
        assert measured(store) == measured(local)

        evaluated = [said_by("evaluate", f"--run_dir={base}/run") for base in (store, local)]
        assert evaluated[0] == evaluated[1]
        for base in (store, local):
            said_by("recommend", f"--run_dir={base}/run", f"--output={base}/best", "--top=5")
        assert recommended(store).num_rows == 1000
        assert recommended(store).equals(recommended(local))
