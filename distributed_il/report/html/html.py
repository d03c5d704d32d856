"""Pages of one file: text is escaped, style and pictures are inside, so that they open without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, cast

from distributed_il.report.html.style import STYLE


@dataclass(frozen=True, slots=True)
class Markup:
    """Text that is HTML already; everything else is escaped on its way into a page."""

    text: str


def text_of(content: str | Markup) -> str:
    """HTML of a text or of what is HTML already."""
    return content.text if isinstance(content, Markup) else escape(content)


def words(value: Any) -> str:
    """A plain value as people write it: names before values, commas between, no brackets."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(part)}" for name, part in cast(Mapping[str, Any], value).items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(words, cast(Sequence[Any], value)))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def page(title: str, lead: str, sections: Mapping[str, Markup], footer: str) -> str:
    """A whole page.

    Args:
        title: Of the page and its heading.
        lead: A line under it.
        sections: Content by heading, in order; those without content are left out.
        footer: The last line.
    """
    shown = {name: content.text for name, content in sections.items() if content.text}
    names = {name: f"part-{number}" for number, name in enumerate(shown, 1)}
    links = "".join(f'<a href="#{names[name]}">{escape(name)}</a>' for name in shown)
    body = "\n".join(
        f'<section id="{names[name]}" aria-labelledby="{names[name]}-title">'
        f'<h2 id="{names[name]}-title">{escape(name)}</h2>\n{content}</section>'
        for name, content in shown.items()
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f'<body>\n<header><h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n'
        f'<nav aria-label="Parts of this page">{links}</nav></header>\n<main>\n{body}\n</main>\n'
        f"<footer>{escape(footer)}</footer>\n</body>\n</html>\n"
    )


def paragraph(content: str | Markup, kind: str = "") -> Markup:
    """A paragraph; `kind` is `note` for small print."""
    return Markup(f"<p{_class(kind)}>{text_of(content)}</p>\n")


def heading(text: str) -> Markup:
    """A heading within a section."""
    return Markup(f"<h3>{escape(text)}</h3>\n")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Markup]],
    *,
    caption: str = "",
    texts: int = 1,
    marked: Sequence[int] = (),
) -> Markup:
    """A table whose first column names the rows; it scrolls by itself where the page is narrow.

    Args:
        columns: Headings.
        rows: Cells.
        caption: What it shows.
        texts: How many of the first columns are texts, at the left; the others are numbers, at the right.
        marked: Numbers of rows to set off.
    """
    head = "".join(f'<th scope="col"{_style(n < texts)}>{escape(name)}</th>' for n, name in enumerate(columns))
    body = ""
    for number, (first, *cells) in enumerate(rows):
        line = f'<th scope="row">{text_of(first)}</th>'
        line += "".join(
            f"<td{_class('text' if n < texts else '')}>{text_of(cell)}</td>" for n, cell in enumerate(cells, 1)
        )
        body += f"<tr{_class('marked' if number in marked else '')}>{line}</tr>\n"
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return Markup(
        f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n'
    )


def numbers(values: Mapping[str, str]) -> Markup:
    """The few numbers that matter most, each large above its name."""
    cards = "".join(f"<li><b>{escape(value)}</b>{escape(name)}</li>" for name, value in values.items())
    return Markup(f'<ul class="numbers">{cards}</ul>\n')


def details(summary: str, content: Markup) -> Markup:
    """Content that is shown when it is asked for."""
    return Markup(f"<details><summary>{escape(summary)}</summary>\n{content.text}</details>\n")


def figures(*pictures: Markup) -> Markup:
    """Pictures side by side, as many as there is room for."""
    return Markup(f'<div class="figures">{"".join(picture.text for picture in pictures)}</div>\n')


def joined(*parts: Markup) -> Markup:
    """Parts after one another."""
    return Markup("".join(part.text for part in parts))


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _style(left: bool) -> str:
    return ' style="text-align:left"' if left else ""
