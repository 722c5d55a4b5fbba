"""genmat: discover new inorganic crystals.

    >>> import genmat
    >>> candidates = genmat.generate(100, elements=["Li", "P", "S"], seed=0)  # doctest: +SKIP
    >>> ranked = genmat.screen(candidates)  # doctest: +SKIP

Importing genmat is instant: torch, pymatgen and the models are loaded by the first call that needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genmat.candidate import Candidate
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from genmat.cli.api import discover, generate, near, screen

__version__ = "0.1.0"
__all__ = ["Candidate", "GenmatError", "__version__", "discover", "generate", "near", "screen"]


def __getattr__(name: str) -> Any:
    """Load the verbs on first use, so that `import genmat` stays instant."""
    if name in ("discover", "generate", "near", "screen"):
        from genmat.cli import api

        return getattr(api, name)
    raise AttributeError(f"module 'genmat' has no attribute {name!r}")
