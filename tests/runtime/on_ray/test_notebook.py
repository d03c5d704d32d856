"""The notebook of jobs/ runs from its first cell to its last, and is committed without what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[3] / "jobs" / "first_steps.ipynb"


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_leads_from_a_frame_to_recommendations(tmp_path: Path) -> None:
    book: Any = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [cell for cell in cells if any("image/png" in output.get("data", {}) for output in cell.outputs)]
    assert len(pictures) == 2
    recommended, similar = (cell.outputs[-1]["data"]["text/plain"] for cell in cells[-2:])
    assert "user 1" in recommended
    assert "rank" in recommended
    assert "song" in similar
