"""`distributed-il report RUN_DIR …`: runs and their results on one page."""

from __future__ import annotations

from collections.abc import Sequence

from distributed_il.cli.given import part_operands
from distributed_il.cli.options import read_options
from distributed_il.core.errors import UserError

ABOUT = (
    "Writes one HTML page for a run or several: settings, data, curves, decisions, and metrics with confidence "
    "intervals beside those of the baselines. It opens without a network."
)


def run(argv: Sequence[str]) -> None:
    """Writes the page and says where it is.

    Raises:
        UserError: See `distributed_il.report.run_page.write_report`.
    """
    from distributed_il.report.run_page import ReportConfig, write_report

    flags, run_dirs = part_operands(argv, switches=("--allow_code",))
    config = ReportConfig(
        **read_options("report", ABOUT, flags, lambda _: {"": ReportConfig}, operands="RUN_DIR [RUN_DIR …]")
    )
    if not run_dirs:
        raise UserError("report: say which runs: distributed-il report RUN_DIR [RUN_DIR …] --output=page.html")
    write_report(config, run_dirs)
    print(f"Page: {config.output}")
