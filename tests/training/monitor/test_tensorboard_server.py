"""A real TensorBoard server opens what a real run wrote, and lists it through its HTTP API."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import parse_qsl, urlencode
from urllib.request import ProxyHandler, Request, build_opener

import pytest
import torch
from PIL import Image

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.training.monitor import TensorBoardMonitor, event_dir
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.trainer import Trainer

DEADLINE_S = 90.0
RUN = "feed"
"""Of the run's directory: no more and no less."""
ROUNDS = 3
METRICS = (
    "auc",
    "gauc",
    "ndcg@10",
    "ndcg@20",
    "mrr",
    "logloss",
    "ece",
    "gauc_impressions",
    "mrr_first",
    "calibrated_logloss",
    "calibrated_ece",
)
RANKING = tuple(
    f"ranking/{name}@{k}"
    for name in ("recall", "ndcg", "hit_rate", "precision", "map", "mrr", "coverage", "popularity")
    for k in (10, 20, 50)
)
SCALARS = {
    "2_train/loss_training-train",
    "2_train/loss_training-test",
    "2_train/loss_round",
    "candidates/skip",
    "candidates/direct_less_skip",
    "candidates/inverse_less_skip",
    "candidates/chosen_less_skip",
    "decisions/direct",
    "decisions/skip",
    "decisions/inverse",
    "throughput/rows_per_s",
    "throughput/data_wait_share",
    "throughput/collectives_share",
    "throughput/sent_bytes",
    *(f"{split}/{name}" for split in ("1_valid", "test") for name in METRICS),
    *(f"test/{name}" for name in RANKING),
}


class Server:
    """A TensorBoard process and its HTTP API."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log
        self._open = build_opener(ProxyHandler({})).open  # a proxy of the environment knows no local ports
        self._deadline = time.monotonic() + DEADLINE_S
        found = self._poll(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()), bool)
        assert found, f"no address within {DEADLINE_S:.0f} s:\n{log.read_text()}"
        self._address = found.group()

    def raw(self, path: str, *, body: Any = None, **query: str) -> bytes:
        """What one address answers; a body is posted as JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(
            f"{self._address}/data/{path}?{urlencode(query)}", data, headers={"Content-Type": "application/json"}
        )
        with self._open(request, timeout=30) as answer:
            return answer.read()

    def get(self, path: str, *, body: Any = None, **query: str) -> Any:
        return json.loads(self.raw(path, body=body, **query))

    def loaded(self, path: str, enough: Callable[[Any], bool], *, body: Any = None) -> Any:
        """Asks until the answer holds enough; past the deadline the last answer, for the test to find wanting."""

        def ask() -> Any:
            try:
                return self.get(path, body=body)
            except URLError:
                return None  # not listening yet, or a plugin that has nothing loaded

        return self._poll(ask, lambda answer: answer is not None and enough(answer))

    def _poll(self, ask: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
        while True:
            answer = ask()
            if enough(answer) or time.monotonic() > self._deadline:
                return answer
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail(f"TensorBoard ended:\n{self._log.read_text()}")


@contextmanager
def tensorboard(log_dir: Path, log: Path) -> Iterator[Server]:
    """Starts a server on a port of its own choice; it is gone at the end, whatever happened."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir), "--port", "0"]
    command += ["--host", "127.0.0.1", "--load_fast=false", "--reload_interval", "1"]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield Server(process, log)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def train(dataset: Dataset, run_dir: Path) -> dict[str, Any]:
    config = TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(run_dir), max_rounds=ROUNDS, patience=ROUNDS, batch_size=64),
        method=InverseGradientConfig(),
    )
    with TensorBoardMonitor(event_dir(str(run_dir)), purge_step=0) as monitor:
        return Trainer(
            config,
            dataset,
            reader=LocalBlockReader(dataset),
            collectives=LocalCollectives(),
            device=torch.device("cpu"),
            hooks=RunHooks(monitor=monitor),
        ).run()


def check_scalars(server: Server, result: dict[str, Any], history: list[dict[str, Any]]) -> None:
    tags = server.loaded("plugin/scalars/tags", lambda answer: set(answer.get(RUN, ())) >= SCALARS)
    assert set(tags) == {RUN}
    assert set(tags[RUN]) == SCALARS
    assert {tag for tag, shown in tags[RUN].items() if not shown["description"]} == set()
    assert "θ + δ" in tags[RUN]["candidates/inverse_less_skip"]["description"]

    def points(tag: str) -> list[tuple[int, float]]:
        found = server.get("plugin/scalars/scalars", run=RUN, tag=tag)
        return [(step, value) for _, step, value in found]

    steps = [round["step"] for round in history]
    assert len(steps) == ROUNDS
    for name in ("logloss", "auc", "gauc", "ndcg@20"):
        found = points(f"1_valid/{name}")
        assert [step for step, _ in found] == steps
        assert [value for _, value in found] == pytest.approx([round[name] for round in history], rel=1e-6)
        assert points(f"test/{name}") == [(steps[-1] + 1, pytest.approx(result["test"][name], rel=1e-6))]
    assert [step for step, _ in points("2_train/loss_round")] == steps
    shares = [points(f"decisions/{name}")[-1][1] for name in ("direct", "skip", "inverse")]
    assert sum(shares) == pytest.approx(1, abs=1e-6)
    assert shares == pytest.approx(list(result["run"]["decisions"].values()), rel=1e-6)


def check_histograms(server: Server, history: list[dict[str, Any]]) -> None:
    tags = server.get("plugin/histograms/tags")
    assert list(tags[RUN]) == ["weights/w1"]
    found = server.get("plugin/histograms/histograms", run=RUN, tag="weights/w1")
    assert [step for _, step, _ in found] == [history[0]["step"], history[-1]["step"] + 1]
    first, last = (sum(count for _, _, count in bins) for _, _, bins in found)
    assert first == pytest.approx(last)
    assert first > 0


def check_images(server: Server) -> None:
    tags = server.get("plugin/images/tags")
    sizes = {"weights/w1_distribution": (990, 484), "decisions/test_loss": (990, 484)}  # inches × 110 dots
    assert set(tags[RUN]) == set(sizes)
    for tag, size in sizes.items():
        [picture] = server.get("plugin/images/images", run=RUN, tag=tag, sample="0")
        png = Image.open(io.BytesIO(server.raw("plugin/images/individualImage", **dict(parse_qsl(picture["query"])))))
        assert png.format == "PNG"
        assert png.size == size
        assert len(png.convert("RGB").getcolors(2**24)) > 5


def check_texts(server: Server, dataset: Dataset) -> None:
    tags = server.get("plugin/text/tags")
    assert {tag.removesuffix("/text_summary") for tag in tags[RUN]} == {"config", "dataset", "result"}

    def text(tag: str) -> str:
        # TensorBoard makes HTML of the Markdown.
        return server.get("plugin/text/text", run=RUN, tag=f"{tag}/text_summary")[0]["text"]

    assert "dual_learning_rate" in text("config")
    assert dataset.fingerprint in text("dataset")
    assert "<table>" in text("result")
    assert "item mean" in text("result")


def check_hparams(server: Server, result: dict[str, Any]) -> None:
    experiment = server.loaded(
        "plugin/hparams/experiment", lambda answer: bool(answer.get("hparamInfos")), body={"experimentName": ""}
    )
    assert {"method.name", "optimizer.learning_rate", "run.seed"} <= {
        info["name"] for info in experiment["hparamInfos"]
    }
    first = ["method.name", "model.backbone", "optimizer.learning_rate"]
    assert [info["name"] for info in experiment["hparamInfos"]][:3] == first
    shown = [info["name"]["tag"] for info in experiment["metricInfos"]]
    assert shown[:7] == [f"test/{name}" for name in METRICS[:7]]
    assert set(shown) == {f"test/{name}" for name in (*METRICS, *RANKING)}
    columns = [{"metric": info["name"], "includeInResult": True} for info in experiment["metricInfos"]]
    request = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        "colParams": [{"hparam": "method.name", "includeInResult": True}, *columns],
        "startIndex": 0,
        "sliceSize": 10,
    }
    [group] = server.get("plugin/hparams/session_groups", body=request)["sessionGroups"]
    assert group["hparams"]["method.name"] == "ig"
    values = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
    assert values["test/auc"] == pytest.approx(result["test"]["auc"], rel=1e-6)


def test_a_server_lists_all_that_a_run_wrote(tiny_dataset: Dataset, tmp_path: Path) -> None:
    run_dir = tmp_path / "runs" / RUN
    result = train(tiny_dataset, run_dir)
    history = json.loads((run_dir / "metrics.json").read_text())["history"]
    with tensorboard(run_dir.parent, tmp_path / "server.log") as server:
        check_scalars(server, result, history)
        check_histograms(server, history)
        check_images(server)
        check_texts(server, tiny_dataset)
        check_hparams(server, result)
