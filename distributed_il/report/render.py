"""Pages of one file: text is escaped, style and charts are inside, so that they open without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined

from distributed_il import __version__
from distributed_il.core.drawing import VARIABLES, WIDTH


def render(template: str, **context: Any) -> str:
    """Renders a file of `templates` as HTML, with `context` and what all pages have."""
    return (
        _environment()
        .get_template(template)
        .render(
            context,
            width=WIDTH,
            light=" ".join(f"{name}: {colour};" for colour, name in VARIABLES.items()),
            version=f"distributed_il {__version__}",
            now=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        )
    )


def plain(value: Any) -> str:
    """Returns a plain value as people write it: names before values, commas between, no brackets."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(part)}" for name, part in cast(Mapping[str, Any], value).items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(plain, cast(Sequence[Any], value)))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def setting_text(value: Any) -> str:
    """Returns the value of a setting as people write it."""
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("distributed_il.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number="{:,}".format, percent="{:.1%}".format)
    return environment
