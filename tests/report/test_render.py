"""Blocks that pages are made of."""

from __future__ import annotations

from typing import Any

from distributed_il.core.charts import Interval, Series, interval_chart, line_chart
from distributed_il.report import render
from distributed_il.report.results import MetricCell


def block(name: str, *arguments: Any, **named: Any) -> str:
    environment = render._environment()
    blocks = environment.get_template("blocks.html").make_module({"width": 560})
    return str(getattr(blocks, name)(*arguments, **named))


def test_plain_values_as_people_write_them() -> None:
    value = {"split": {"name": "random", "share": 0.6}, "files": ["a", "b"], "rows": 1000, "kept": True}
    assert render.plain(value) == "split name random, share 0.6, files a, b, rows 1,000, kept True"
    assert [render.setting_text(value) for value in (None, 1e-4, 3, "a")] == ["null", "0.0001", "3", "a"]


def test_tables_set_off_rows_and_best_values() -> None:
    cells = [["a", MetricCell("0.5", "0.4 to 0.6", True)], ["b", MetricCell("0.4", "", False)]]
    html = block("table", ["", "AUC"], cells, marked=[1])
    assert '<td><span class="best">0.5</span><small>0.4 to 0.6</small></td>' in html
    assert '<tr class="marked"><th scope="row">b</th><td>0.4</td></tr>' in html


def test_text_is_escaped_everywhere() -> None:
    bad = '<script>"&'
    series = [Series(bad, [0, 1], [0, 1], style) for style in (0, 1)]
    charts = [
        line_chart(bad, series, x_label=bad, note=bad),
        interval_chart(bad, [Interval(bad, 0.5, 0.4, 0.6, 0)]),
        None,
    ]
    for html in (block("table", [bad], [[bad], [MetricCell(bad, bad, True)]], caption=bad), block("figures", charts)):
        assert "<script>" not in html
        assert "&lt;script&gt;" in html
        assert '"&' not in html.replace('"&lt;', "").replace('script&gt;"&amp;', "")
