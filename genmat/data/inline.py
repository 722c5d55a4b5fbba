"""What a page carries inside itself: data as a script element, and hashes of its scripts for the page's policy."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any


def json_island(data: Any) -> Any:
    """JSON that is safe inside a ``<script>`` element: no character can end the element or open a comment."""
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def script_hashes(*sources: str) -> str:
    """The inline scripts a content security policy allows, as it spells them."""
    digests = (hashlib.sha256(source.encode()).digest() for source in sources)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
