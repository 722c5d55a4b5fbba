"""A page to check records by hand: sentences with material and value marked, and the corrections as training data.

Every confirmed or corrected record gives up to two questions, forward (the answer is the value) and reverse (the answer
is the material); of a rejected one the answers are empty. They are what `genmat train experiments/qa.yaml --add` reads:
objects with ``text``, ``question``, ``start``, ``answer``, `start` counting characters (code points) of `text`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genmat.errors import GenmatError
from genmat.literature.properties import Property
from genmat.literature.records import Record
from genmat.literature.text import plain

TEMPLATE = Path(__file__).parent / "check.html"
MOST = 5000
"""Records on one page; more would make it slow."""


def write_check(records: Sequence[Record], properties: Mapping[str, Property], out: Path) -> Path:
    """Write the page: one HTML file that works offline and runs only its own script.

    Raises:
        GenmatError: `out` cannot be written.
    """
    ordered = sorted(records[:MOST], key=lambda r: (not r.outlier, r.property, r.key, r.document, r.page, r.start))
    rows = [_row(record, properties[record.property].questions) for record in ordered]
    template = TEMPLATE.read_text(encoding="utf-8")
    found = re.search(r"<script>(.*?)</script>", template, re.DOTALL)
    assert found is not None
    digest = base64.b64encode(hashlib.sha256(found.group(1).encode()).digest()).decode()
    # every "<" and the two line ends JavaScript knows and JSON does not are escaped: no text can end the element
    island = json.dumps({"name": out.stem, "left_out": max(len(records) - MOST, 0), "rows": rows}, ensure_ascii=False)
    island = re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match.group()):04x}", island)
    page = template.replace("SCRIPT-HASH", f"'sha256-{digest}'").replace("PAGE-DATA", island)
    try:
        out.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise GenmatError(f"{out}: cannot write the page ({error.strerror}); choose another output") from error
    return out


def _row(record: Record, questions: Mapping[str, str]) -> dict[str, Any]:
    top = "" if record.value_max is None else f" to {record.value_max:g}"
    value = place(record.sentence, " ".join(plain(record.raw).text.split()))
    return {
        "text": record.sentence,
        "material": record.material,
        "materialSpan": place(record.sentence, record.series or record.material, near=value),
        "valueSpan": value,
        "raw": record.raw,
        "read": f"{record.qualifier}{record.value:g}{top} {record.unit}",
        "property": record.property,
        "condition": record.condition,
        "confidence": record.confidence,
        "outlier": record.outlier,
        "source": f"{record.document}, page {record.page}, characters {record.start} to {record.end}",
        "questions": {name: questions.get(name, "") for name in ("forward", "reverse")},
    }


def place(text: str, part: str, near: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """Where a part stands in a text: of several places the one nearest to `near`, else the first; None if nowhere."""
    if not part:
        return None
    spelled = r"\s?".join(re.escape(piece) for piece in part.split())
    found = [(m.start(), m.end()) for m in re.finditer(rf"(?<![A-Za-z0-9]){spelled}(?![A-Za-z0-9])", text)]
    if not found:
        return None
    return found[0] if near is None else min(found, key=lambda span: abs(span[0] - near[0]))
