"""Reports for people and programs: Markdown, CSV, JSON, and a page with pictures."""

from eval.report.files import write_comparison, write_report
from eval.report.markdown import comparison_to_markdown, to_markdown

__all__ = ["comparison_to_markdown", "to_markdown", "write_comparison", "write_report"]
