"""`distributed-il report RUN_DIR …`: runs and their results on one page."""

from __future__ import annotations

from collections.abc import Sequence

from distributed_il.cli.given import part_operands
from distributed_il.cli.options import read_options
from distributed_il.core.errors import UserError

ABOUT = (
    "Writes one HTML page for a run or several: settings, data, curves, decisions, and metrics with confidence "
    "intervals beside those of the baselines. It opens without a network. Also draws the paper's figures of runs."
)

NOTHING_TO_DRAW = "No figure: these runs annotated no unlabelled pairs and took no inverse steps, as idl and ig do"


def run(argv: Sequence[str]) -> None:
    """Writes the page or the figures, or both, and says where they are.

    Raises:
        UserError: See `distributed_il.report.run_page.write_report` and `paper_figures.write_figures`.
    """
    from distributed_il.report.paper_figures import write_figures
    from distributed_il.report.run_page import ReportConfig, write_report

    flags, run_dirs = part_operands(argv, switches=("--allow_code",))
    config = ReportConfig(
        **read_options("report", ABOUT, flags, lambda _: {"": ReportConfig}, operands="RUN_DIR [RUN_DIR …]")
    )
    if not run_dirs and config.alpha_study is None:
        raise UserError("report: say which runs: distributed-il report RUN_DIR [RUN_DIR …] --output=page.html")
    if config.output is None and config.figures is None:
        raise UserError("report: say where to: --output=page.html for the page, --figures=DIR for the paper's figures")
    if config.figures is None and config.alpha_study is not None:
        raise UserError("report: --alpha_study is for the paper's Figure 6; say where to: --figures=DIR")
    if config.output is not None:
        write_report(config, run_dirs)
        print(f"Page: {config.output}")
    if config.figures is not None:
        written = write_figures(config.figures, run_dirs, config.alpha_study)
        print("\n".join(f"Figure: {path}" for path in written) or NOTHING_TO_DRAW)
