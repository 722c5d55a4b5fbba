"""Hulls for the report, cut out of a reference hull."""

from __future__ import annotations

import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition, Element

from genmat.report import hulls_of, write_report
from genmat.report.figures import pack_hulls
from genmat.screening.hull import ReferenceHull, group_phases


def test_systems_of_the_candidates_best_first(candidates):
    phases = group_phases(["NaCl", "NaCl3", "SrO", "TiO2", "SrTiO3", "Ti2O3"], [-2.1, -0.6, -3.0, -3.4, -3.5, 0.2])
    references = dict.fromkeys(["Na", "Cl", "Sr", "Ti", "O", "Cs", "Mg", "B"], 0.0)
    reference = ReferenceHull("test", references, phases, "test")
    found = hulls_of(candidates, reference)
    assert list(found) == ["O-Sr-Ti", "Cl-Na", "O-Ti", "B-Mg", "Cl-Cs"]  # silicon alone makes no hull
    stable = {e["formula"] for e in found["O-Sr-Ti"]["entries"] if e["on_hull"]}
    assert stable == {"O", "Sr", "Ti", "SrO", "TiO2", "SrTiO3"} or stable == {"O2", "Sr", "Ti", "SrO", "TiO2", "SrTiO3"}
    assert {e["formula"]: e["x"] for e in found["Cl-Na"]["entries"]}["NaCl3"] == [0.75, 0.25]
    assert list(hulls_of(candidates, reference, limit=2)) == ["O-Sr-Ti", "Cl-Na"]


def test_stable_phases_agree_with_pymatgen(shared, candidates, tmp_path):
    path = shared / "mp" / "hull_entries.csv.gz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    import pandas as pd

    table = pd.read_csv(path)
    table = table[table.composition.str.fullmatch(r"(?:(?:Sr|Ti|O)[\d.]+ ?)+")]
    systems = group_phases(table.composition, table.ef_mp2020like)
    reference = ReferenceHull("dft:MP2020", dict.fromkeys(["Sr", "Ti", "O"], 0.0), systems, "dft:MP2020")
    sto = [c for c in candidates if c.id == "c0"]
    hulls = hulls_of(sto, reference)
    entries = hulls["O-Sr-Ti"]["entries"]
    assert len(entries) > 50
    compositions = [Composition(c.replace(" ", "")) for c in table.composition]
    diagram = PhaseDiagram(
        [PDEntry(c, e * c.num_atoms) for c, e in zip(compositions, table.ef_mp2020like, strict=True)]
        + [PDEntry(Composition(e), 0.0) for e in ("Sr", "Ti", "O")],
        [Element("O"), Element("Sr"), Element("Ti")],
    )
    stable = {entry.composition.reduced_formula for entry in diagram.stable_entries}
    assert {Composition(e["formula"]).reduced_formula for e in entries if e["on_hull"]} == stable
    ties = pack_hulls(hulls)["O-Sr-Ti"]["ties"]
    assert {i for pair in ties for i in pair} == set(range(len(stable)))  # stable phases come first and are all tied
    assert write_report(sto, tmp_path, funnel=[], run={}, hulls=hulls).stat().st_size < 3_000_000
