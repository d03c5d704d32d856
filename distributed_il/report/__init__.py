"""One page for a run or several: what they were told, how they went, and how good they are."""

from distributed_il.report.report import ReportConfig, report

__all__ = ["ReportConfig", "report"]
