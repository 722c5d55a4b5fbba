"""Cut the hulls a report draws out of a reference hull."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def hulls_of(candidates: Sequence[Any], reference: Any, limit: int = 60) -> dict[str, dict[str, Any]]:
    """Placeholder until the reference hull lands."""
    return {}
