"""The one error users see: a single line that names the input, the reason and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GenmatError(Exception):
    """A problem the user can mend. The message is one line: ``<input>: <reason>; <fix>``."""


class RunError(GenmatError):
    """A problem of the whole run, such as a lost network: nothing is booked on a candidate, and a rerun goes on."""


def did_you_mean(name: str, choices: Iterable[str], what: str = "name") -> str:
    """One-line message for an unknown ``name``: the closest known one, then all of them.

    >>> did_you_mean("chgnt", ["chgnet", "lj"], "potential")
    "unknown potential 'chgnt'; did you mean 'chgnet'? known: chgnet, lj"
    """
    known = sorted(choices)
    close = difflib.get_close_matches(name.lower(), [choice.lower() for choice in known], n=1, cutoff=0.5)
    spelled = next((choice for choice in known if close and choice.lower() == close[0]), None)
    hint = f"did you mean '{spelled}'? " if spelled else ""
    return f"unknown {what} {name!r}; {hint}known: {', '.join(known)}"
