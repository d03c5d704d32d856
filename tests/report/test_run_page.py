"""The page of a run and of several: read back as HTML, and compared with what the runs themselves have written."""

from __future__ import annotations

import functools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from local_runs import local_trainer
from small_datasets import make_small_dataset

from distributed_il import __version__
from distributed_il.cli import main
from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseGradientConfig, MethodConfig, NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.inference.loaded_model import load
from distributed_il.report.measurement import compare
from distributed_il.report.records import read_record, short_names
from distributed_il.report.run_page import ReportConfig, write_report

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that what is opened is closed, and keeps the rows of tables, the texts and the pictures' words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.pictures: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.addresses: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()
        self.words = " ".join(self.words.split())
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "svg" and given.get("role") == "img":
            self.pictures.append(given["aria-label"] or "")
        if "id" in given:
            self.ids.append(given["id"] or "")
        if tag == "a":
            self.links.append(given["href"] or "")
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.open[-1:] != ["small"] and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.strip()

    def row(self, first: str) -> list[str]:
        return next(row for row in self.rows if row and row[0] == first)


def train(place: Path, name: str, method: MethodConfig, *, finish: bool = True, seed: int = 0) -> str:
    run = RunConfig(dir=str(place / name), batch_size=50, max_rounds=3, patience=3, seed=seed)
    trainer = local_trainer(TrainConfig(data=DataConfig(path=str(place / "data")), run=run, method=method))
    if finish:
        trainer.run()
    else:
        trainer.fit()
    return run.dir


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a run of `ig` with a name that HTML would stumble over, one of `none`, one that never saw test."""
    place = tmp_path_factory.mktemp("report")
    make_small_dataset(place / "data")
    train(place, "<b>ig & co", InverseGradientConfig(dual_learning_rate=1e-3))
    train(place, "none", NoneConfig())
    train(place, "trial", NoneConfig(), finish=False)
    for seed in (1, 2):
        train(place, f"seeds/seed-{seed}", NoneConfig(), seed=seed)
    return place


@pytest.fixture(scope="module")
def other_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("other")
    make_small_dataset(place / "data", seed=7)
    train(place, "other", NoneConfig())
    return place


@functools.cache
def page_of(place: Path, *names: str) -> Page:
    output = place / "page.html"
    write_report(ReportConfig(output=str(output)), [str(place / name) for name in names])
    return Page(output.read_text())


def metrics_of(place: Path, name: str) -> dict[str, Any]:
    return json.loads((place / name / "metrics.json").read_text())


def test_a_page_shows_what_the_runs_have_measured(place: Path) -> None:
    page = page_of(place, "<b>ig & co", "none")
    names = ("auc", "gauc", "ndcg@10", "ndcg@20", "mrr", "logloss", "ece")
    shown = {row[0]: row[1:] for row in page.rows if len(row) == 8 and re.fullmatch(r"0\.\d{4}", row[1])}
    for name in ("<b>ig & co", "none"):
        assert shown[name] == [f"{metrics_of(place, name)['test'][metric]:.4f}" for metric in names]
    trivial = metrics_of(place, "none")["trivial"]
    for name, title in (("item_mean", "item mean"), ("user_item_bias", "user + item bias")):
        assert shown[title] == [f"{trivial[name][metric]:.4f}" for metric in names]
    ranking = metrics_of(place, "none")["ranking"]
    ranked = [row for row in page.rows if row[:2] == ["none", "20"]]
    assert "Over seeds" not in page.words
    assert [row[2:4] for row in ranked] == [[f"{ranking['recall@20']:.4f}", f"{ranking['ndcg@20']:.4f}"]]
    assert f"over all items that a user has not seen; {ranking['users']} users" in page.words
    shares = metrics_of(place, "<b>ig & co")["run"]["decisions"]
    assert any(f"direct {shares['direct']:.1%}, skip {shares['skip']:.1%}" in words for words in page.pictures)
    assert page.row("method.name")[1:] == ["ig", "none"]
    assert page.row("train")[1] == "600"
    assert "users × items" in page.words
    assert "40 × 60" in page.words


def test_seeds_of_one_configuration_are_taken_together(place: Path) -> None:
    page = page_of(place, "seeds")  # the directory of `run.seeds`
    aucs = [metrics_of(place, f"seeds/seed-{seed}")["test"]["auc"] for seed in (1, 2)]
    assert page.row("mean of seeds")[1:3] == ["2", f"{sum(aucs) / 2:.4f}"]
    assert {"seed-1", "seed-2"} <= {row[0] for row in page.rows if row}
    assert "Difference to user + item bias, resampled" in page.words


def test_a_page_needs_nothing_from_elsewhere_and_all_its_links_lead_somewhere(place: Path) -> None:
    page = page_of(place, "<b>ig & co")
    assert page.links
    assert {f"#{name}" for name in page.ids} >= set(page.links)
    assert len(set(page.ids)) == len(page.ids)
    assert all(address.startswith("#") for address in page.addresses)
    assert "<script" not in (place / "page.html").read_text()
    assert len(page.pictures) >= 12
    assert all(page.pictures)


def test_the_first_words_are_what_was_found(place: Path) -> None:
    page = page_of(place, "<b>ig & co", "none")
    found = {name: metrics_of(place, name)["test"]["auc"] for name in ("<b>ig & co", "none")}
    best, other = sorted(found, key=lambda name: -found[name])
    words = page.words
    assert words.index(f"{best} has AUC {found[best]:.4f} (") < words.index("Settings")
    assert "the highest of 2 runs. That is" in words
    assert re.search(rf"It is {found[best] - found[other]:.4f} above {re.escape(other)}, the next run \(", words)


def test_a_run_says_when_where_and_how_long(place: Path) -> None:
    page = page_of(place, "<b>ig & co", "none")
    told = metrics_of(place, "none")["run"]["environment"]
    assert f"distributed_il {__version__}" in page.words
    row = next(row for row in page.rows if row[:1] == ["none"] and row[3:4] == [told["finished"]])
    assert row[:3] == ["none", "36", "1"]
    assert f"torch {torch.__version__.partition('+')[0]}" in row[-1]
    assert told["processor"] in row[-2]
    seconds = round(metrics_of(place, "none")["run"]["throughput"]["seconds"])
    row = next(row for row in page.rows if row[0] == "none" and told["finished"][:10] in row)
    assert f"0:00:{seconds:02}" in row


def test_runs_on_two_datasets_stand_under_headings(place: Path, other_place: Path) -> None:
    output = place / "two.html"
    write_report(ReportConfig(output=str(output)), [str(place / "none"), str(other_place / "other")])
    html = output.read_text()
    headings = re.findall("<h3>([^<]*) <code>(.{8})</code></h3>", html)
    for path in (place, other_place):
        fingerprint = Dataset.open(str(path / "data")).fingerprint[:8]
        assert [name for name, of in headings if of == fingerprint] == ["tiny, test", "tiny", "tiny, test"]
    # Losses of different rows are no matter of one picture.
    assert html.count("<h4>Validation log loss</h4>") == 2
    assert html.count("<h4>Validation NDCG@20</h4>") == 2


def test_slices_add_up_to_all_rows(place: Path) -> None:
    record = read_record(str(place / "none"), "none")
    (comparison,) = compare([record], None)
    for one in (*comparison.models, *comparison.baselines):
        assert one.metrics["rows"] == 200
        for kind, groups in comparison.slices.items():
            assert [part["rows"] for part in one.slices[kind]] == [
                int((groups.numbers == number).sum()) for number in range(len(groups.names))
            ]
            assert sum(part["rows"] for part in one.slices[kind]) == 200
            mean = sum(part["rows"] * part["logloss"] for part in one.slices[kind]) / 200
            assert mean == pytest.approx(one.metrics["logloss"])


def test_a_run_that_has_not_read_the_test_split_is_measured_on_validation(place: Path) -> None:
    page = page_of(place, "trial", "none")
    assert "validation split: 150 rows" in page.words
    assert "test split: 200 rows" in page.words
    assert "have not read the test split" in page.words


def test_a_finished_run_that_has_lost_its_results_is_told(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Path(shutil.copytree(place / "none", tmp_path / "none"))
    assert read_record(str(run), "none").split == "test"
    assert caplog.messages == []
    (run / "metrics.json").unlink()
    assert read_record(str(run), "none").split == "valid"
    (told,) = caplog.messages
    assert f"{run} has trained to its end and holds no metrics.json" in told


def test_results_of_another_run_are_refused(place: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(place / "none", tmp_path / "none"))
    shutil.copy(place / "<b>ig & co" / "metrics.json", run / "metrics.json")
    with pytest.raises(UserError, match=r"metrics.json is of another run: its round 1 is not that of the checkpoints"):
        read_record(str(run), "none")
    with pytest.raises(UserError, match=r"metrics.json is of another run"):
        load(str(run))


def test_the_command_takes_runs_and_flags_in_any_order(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "page.html")
    assert main(["report", str(place / "none"), "--output", output, str(place / "trial")]) == 0
    assert "2 runs" in Path(output).read_text()
    capsys.readouterr()
    for argv, message in (
        (["--output", output], "say which runs"),
        ([str(place / "none")], "say where to: --output=page.html"),
        ([str(place / "data"), "--output", output], "holds no run that has finished a round"),
        ([str(place / "none"), str(place / "none"), "--output", output], "is given twice"),
        ([str(place / "none"), "--output", str(tmp_path / "no" / "page.html")], "can't be written"),
    ):
        assert main(["report", *argv]) == 2
        assert message in capsys.readouterr().err


def test_names_are_as_short_as_tells_runs_apart() -> None:
    assert short_names(["/runs/a/", "/runs/b"]) == ["a", "b"]
    assert short_names(["/x/a", "/y/a", "/y/b"]) == ["x/a", "y/a", "y/b"]
    with pytest.raises(UserError, match="/x/a is given twice"):
        short_names(["/x/a", "/x/a/"])
