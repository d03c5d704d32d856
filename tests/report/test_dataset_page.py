"""The summary of a dataset as JSON and as a page: its figures add up, and it opens without a network."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from watch_logs import prepared, watches

from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.report.dataset_page import summary_page


class Checker(HTMLParser):
    """Keeps the tags that are open, and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def watch_log(path: Path) -> None:
    plays = [0, 2_999, 3_000, 10_000, 18_000, 59_999, 400_000]
    rows = [f"{u},{n},{play},{60_000 if n else 0}" for u in range(6) for n, play in enumerate(plays)]
    rows += [rows[3], "1,1,oops,3"]
    path.write_text("\n".join(["user_id,item_id,play_time_ms,duration_ms", *rows]) + "\n")


def test_figures_add_up(tmp_path: Path) -> None:
    watch_log(tmp_path / "a <log>.csv")
    prepare(
        PrepareConfig(
            source=str(tmp_path / "a <log>.csv"), output=str(tmp_path / "out"), lanes=2, max_reject_share=0.1, seed=3
        ),
        summary_page=summary_page,
    )
    facts = json.loads((tmp_path / "out" / "summary.json").read_text())
    rows = facts["rows"]
    assert rows["in"] == 44
    assert rows["in"] == rows["out"] + sum(rows["set_aside"].values())
    assert rows["set_aside"] == {"rejected_rows": 1, "duplicate_rows": 1}
    assert (facts["users"], facts["items"]) == (6, 7)
    assert facts["classes"] == {"positive": 18, "negative": 12, "unclear": 12}
    assert facts["density"] == 30 / 42
    watches = facts["watch_time"]
    assert sum(map(sum, (watches[name] for name in ("positive", "negative", "unclear")))) == 43
    by_second = dict(zip(watches["from_s"], watches["unclear"], strict=True))
    assert by_second[3.0] == 6
    assert by_second[10.0] == 7
    negative = dict(zip(watches["from_s"], watches["negative"], strict=True))
    assert (negative[0.0], negative[2.0]) == (6, 6)
    assert dict(zip(watches["from_s"], watches["positive"], strict=True))[300.0] == 6
    assert watches["watches_without_duration"] == 6
    users = facts["train_rows_per_user"]
    assert sum(users["count"]) == 6
    # Every user and item has rows in some split; who is in no labelled row of train is unseen.
    assert facts["splits"]["train"]["unseen_users"] == facts["splits"]["train"]["unseen_items"] == 0
    for kind in ("user", "item"):
        assert facts["splits"]["train"][f"{kind}s"] == sum(facts[f"train_rows_per_{kind}"]["count"][1:])
        for name, split in facts["splits"].items():
            dataset = Dataset.open(str(tmp_path / "out"))
            blocks = (block for lane in range(2) for block in dataset.blocks(name, lane))
            ids = {i for block in blocks for i in dataset.read_block(block, [f"{kind}_id"]).column(0).to_pylist()}
            rows = getattr(dataset.activity(), f"{kind}_rows")
            assert (split[f"{kind}s"], split[f"unseen_{kind}s"]) == (len(ids), sum(rows[i] == 0 for i in ids))
    page = (tmp_path / "out" / "summary.html").read_text()
    # Six watches in [2, 3) and seven in [10, 14), drawn 1 and 4 seconds wide.
    assert "<title>from 10 to 14, unclear: 7</title>" in page
    assert "6 are longer than 300 s." in page
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert "a <log>.csv" in checker.text
    assert "− 1" in checker.text
    assert not re.search(r'(src|href)="[^#]|https?://|@import|url\(', page)


def test_the_spectrum_of_the_exposures_stands_beside_chance(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, "out", watches())
    prepare(PrepareConfig(output=dataset.path, factors_only=True), summary_page=summary_page)
    facts = json.loads((tmp_path / "out" / "summary.json").read_text())["factors"]
    checker = Checker()
    checker.feed((tmp_path / "out" / "summary.html").read_text())
    assert checker.open == []
    left_out = sum(facts["left_out"].values())
    for words in (
        f"the first singular value is {facts['singular_values'][0]:.3f}, chance alone reaches {facts['null_edge']:.3f}",
        f"{left_out} exposures are left out because their pairs stand in valid or test",
        "Singular values",
        facts["fingerprint"][:16],
    ):
        assert words in checker.text


def test_a_log_without_watch_times_has_no_such_picture(tmp_path: Path) -> None:
    rows = "".join(f"{u},{i},{(u + i) % 2}\n" for u in range(5) for i in range(5))
    (tmp_path / "log.csv").write_text("user_id,item_id,label\n" + rows)
    prepare(
        PrepareConfig(source=str(tmp_path / "log.csv"), output=str(tmp_path / "out"), lanes=2),
        summary_page=summary_page,
    )
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["watch_time"] is None
    page = (tmp_path / "out" / "summary.html").read_text()
    assert "Watch time" not in page
    assert "No exposure factors: 15 training exposures of 5 users and 5 items are too few" in page
