"""Reports for people and programs: Markdown, CSV, JSON, and a page with pictures."""

from eval.report.files import write_report
from eval.report.markdown import to_markdown

__all__ = ["to_markdown", "write_report"]
