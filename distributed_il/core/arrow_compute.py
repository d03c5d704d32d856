"""pyarrow's compute functions, for type checkers too: they are made at import, so that these do not know them."""

from __future__ import annotations

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
