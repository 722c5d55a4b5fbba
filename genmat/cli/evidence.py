"""Evidence from papers in the campaigns: the stage, and what the report says about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from genmat.campaign import Stage
from genmat.candidate import Candidate


def evidence_plan(papers: str | None, out: Path) -> tuple[list[Stage], dict[str, str]]:
    """The stage that looks candidates up in papers, where some are given, and what to say about it in the report.

    Its name tells of the papers' content, so that a rerun with others reads those without starting over.

    Args:
        papers: a paper, a folder, an index of `genmat literature index` or records of `genmat extract`.
        out: folder of the campaign; what was read is kept there.

    Raises:
        GenmatError: nothing there.
    """
    if papers is None:
        return [], {}
    from genmat.cli.settings import fingerprint
    from genmat.literature.readers import find_papers
    from genmat.literature.retrieve import FILE

    source = Path(papers).expanduser()
    files = [source / FILE] if (source / FILE).is_file() else find_papers(source)
    stamp = fingerprint(files).split()[-1]

    def work(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        from genmat.cli.console import progress
        from genmat.crystal.matching import KnownPhases
        from genmat.literature.evidence import Library, evidence_stage
        from genmat.literature.statements import read_statements

        with progress() as shown:
            library = Library.of(read_statements(source, out / f"evidence_{stamp}.journal", shown))
        yield from evidence_stage(candidates, library, KnownPhases.shipped())

    return [Stage(f"evidence_{stamp}", work, "whole")], {"papers": str(source)}
