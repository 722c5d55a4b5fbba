"""Candidates as an OPTIMADE response (specification 1.2): what a query of a structures endpoint would have answered."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from math import gcd, lcm
from typing import TYPE_CHECKING, Any

from genmat import __version__
from genmat.candidate import Candidate
from genmat.data.write import row

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

API_VERSION = "1.2.0"
MAX_DENOMINATOR = 100
"""Amounts of formulas are whole numbers in OPTIMADE: fractions are taken as the nearest with such a denominator."""


def response(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """A structures response, JSON-able; results of the funnel as ``_genmat_*``. Lengths in Å, energies in eV/atom."""
    return {
        "data": [resource(candidate) for candidate in candidates],
        "meta": {
            "query": {"representation": "/structures"},
            "api_version": API_VERSION,
            "more_data_available": False,
            "data_returned": len(candidates),
            "implementation": {"name": "genmat", "version": __version__},
            "provider": {"name": "genmat", "description": "Crystals of a genmat campaign", "prefix": "genmat"},
        },
        "links": {"next": None},
    }


def resource(candidate: Candidate) -> dict[str, Any]:
    """One structure resource; sites shared by several elements or partly empty are species with concentrations."""
    structure = candidate.structure
    assert structure is not None
    facts = {k: v for k, v in row(candidate).items() if k not in ("id", "formula", "spacegroup", "n_atoms")}
    own = {f"_genmat_{key.lower()}": value for key, value in facts.items() if value is not None}
    attributes = {"immutable_id": None, "last_modified": None, **_formulas(structure.composition), **_cell(structure)}
    if (group := row(candidate)["spacegroup"]) is not None:
        attributes["space_group_it_number"] = group
    return {"id": candidate.id, "type": "structures", "attributes": attributes | own}


def _cell(structure: Structure) -> dict[str, Any]:
    """Lattice vectors and sites."""
    species: dict[str, dict[str, Any]] = {}
    names = []
    for site in structure:
        amounts = site.species.get_el_amt_dict()
        missing = 1 - sum(amounts.values())
        if missing > 1e-6:
            amounts = {**amounts, "vacancy": missing}
        shared = len(amounts) > 1
        name = "".join(f"{e}{x:.4g}" for e, x in amounts.items()) if shared else next(iter(amounts))
        species[name] = {"name": name, "chemical_symbols": list(amounts), "concentration": list(amounts.values())}
        names.append(name)
    return {
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "lattice_vectors": structure.lattice.matrix.tolist(),
        "cartesian_site_positions": structure.cart_coords.tolist(),
        "nsites": len(structure),
        "species": list(species.values()),
        "species_at_sites": names,
        "structure_features": [] if structure.is_ordered else ["disorder"],
    }


def _formulas(composition: Composition) -> dict[str, Any]:
    """Elements in alphabetical order, their shares, and the formulas of whole numbers."""
    amounts = dict(sorted(composition.get_el_amt_dict().items()))
    total = sum(amounts.values())
    parts = [Fraction(x).limit_denominator(MAX_DENOMINATOR) for x in amounts.values()]
    scale = lcm(*(part.denominator for part in parts))
    whole = [max(1, int(part * scale)) for part in parts]
    whole = [x // reduce(gcd, whole) for x in whole]
    return {
        "elements": list(amounts),
        "nelements": len(amounts),
        "elements_ratios": [x / total for x in amounts.values()],
        "chemical_formula_descriptive": composition.formula,
        "chemical_formula_reduced": _text(list(amounts), whole),
        "chemical_formula_anonymous": _text([_letter(i) for i in range(len(whole))], sorted(whole, reverse=True)),
    }


def _text(names: Sequence[str], amounts: Sequence[int]) -> str:
    return "".join(name if x == 1 else f"{name}{x}" for name, x in zip(names, amounts, strict=True))


def _letter(i: int) -> str:
    """A … Z, then Aa … Za."""
    return chr(65 + i % 26) + ("" if i < 26 else chr(96 + i // 26))
