"""Columns in messages: which one may be meant, and no more of them than a line holds."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence

_USUAL = {
    "user": "user userid uid visitorid viewerid reviewerid reviewer customerid customer memberid member accountid",
    "item": "item itemid iid movieid videoid vid asin parentasin productid product bookid isbn songid trackid artistid "
    "businessid articleid newsid gameid anime animeid adid postid venueid",
    "label": "label click clicked isclick liked like target",
    "rating": "rating ratings score stars star overall userrating",
    "time": "timestamp time ts date datetime eventtime unixreviewtime createdat timems",
}
"""What columns are often called, without capitals and signs."""
_SHOWN_CHARACTERS = 40
_SHOWN = 20


def shown(value: object, characters: int = 80) -> str:
    """Returns a value for a message, its end cut where it is long."""
    text = repr(value)
    return text if len(text) <= characters else f"{text[:characters]}… ({len(text):,} characters)"


def shown_names(names: Sequence[str]) -> str:
    """Lists names of columns, long ones and many cut."""
    listed = [n if len(n) <= _SHOWN_CHARACTERS else f"{n[:_SHOWN_CHARACTERS]}…" for n in names[:_SHOWN]]
    rest = len(names) - len(listed)
    return ", ".join(listed) + (f" and {rest:,} more" if rest else "")


def likely(role: str, wanted: str, header: Sequence[str]) -> str | None:
    """Returns the column that may be meant by a role where none is called as is wanted; None where none may."""
    plain = {_plain(name): name for name in reversed(header)}
    usual = _USUAL.get(role, "").split()
    found = next((name for name in (_plain(wanted), *usual) if name in plain), None)
    near = [found] if found else difflib.get_close_matches(_plain(wanted), plain, n=1, cutoff=0.8)
    return plain[near[0]] if near else None


def did_you_mean(roles: Iterable[tuple[str, str]], header: Sequence[str]) -> str:
    """Returns the options that name the columns that may be meant, as the end of a message; empty where none may.

    `roles` are user, item and the like, each with the name that its column was expected to have.
    """
    guesses = [(role, likely(role, wanted, header)) for role, wanted in roles if wanted not in header]
    options = [f"--{role}_column={shlex.quote(name)}" for role, name in guesses if name]
    return f"; did you mean {' '.join(options)}?" if options else ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.partition(":")[0].lower())
