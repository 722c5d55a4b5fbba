"""Reads PDF files in a process of its own, for pdfium is native code: paths on stdin, a line of JSON each on stdout."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

MAX_PAGES = 400
MAX_CHARACTERS = 8_000_000
MEMORY = 1_500_000_000
"""Address space of the reader in bytes; a file that needs more is a failed document."""
LEAST_CHARACTERS = 40
"""Fewer characters than this per page on average mean a scan without a text layer."""


def read_pages(path: Path) -> list[str]:
    """The text of each page.

    Raises:
        ValueError: encrypted, broken or scanned, in words for the user.
    """
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        reason = str(error).lower()
        if "password" in reason or "security" in reason:
            raise ValueError("encrypted PDF; remove the password") from error
        raise ValueError("broken PDF; download it again") from error
    try:
        pages: list[str] = []
        for index in range(min(len(document), MAX_PAGES)):
            pages.append(_page(document, index))
            if sum(map(len, pages)) > MAX_CHARACTERS:
                break
    finally:
        document.close()
    if not pages:
        raise ValueError("PDF without pages; download it again")
    if sum(len(page.strip()) for page in pages) < LEAST_CHARACTERS * len(pages):
        raise ValueError("PDF without a text layer (a scan); run text recognition first")
    return pages


def _page(document, index: int) -> str:
    import pypdfium2 as pdfium

    try:
        page = document[index]
        text = page.get_textpage()
        found = text.get_text_range()
        text.close()
        page.close()
    except pdfium.PdfiumError:
        return ""  # one unreadable page loses itself alone
    return found.replace("\r\n", "\n").replace("\ufffe", "-").encode("utf-8", "replace").decode("utf-8")


def main() -> None:
    """Answer each path with ``{"pages": […]}`` or ``{"error": "reason"}`` until stdin ends."""
    with suppress(ImportError, ValueError, OSError):  # not every system has limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        try:
            answer = {"pages": read_pages(Path(json.loads(line)))}
        except (ValueError, OSError, MemoryError) as error:
            answer = {"error": str(error) or "needs too much memory"}
        except Exception as error:
            answer = {"error": f"broken PDF ({type(error).__name__})"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
