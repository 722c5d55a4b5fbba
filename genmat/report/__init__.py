"""One self-contained HTML page about a list of candidates."""

from __future__ import annotations

from genmat.report.html import write_report
from genmat.report.hulls import hulls_of

__all__ = ["hulls_of", "write_report"]
