"""Reports for people and programs: Markdown, CSV, JSON, and a page with images."""
