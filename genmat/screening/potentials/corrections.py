"""MP2020 corrections: what plain PBE/PBE+U energies of the Materials Project's settings still need.

The scheme (Wang et al., Sci. Rep. 11, 15496, 2021) is fitted to experimental formation enthalpies; pymatgen carries
it. A potential that learnt uncorrected energies predicts total energies to which it must be added before they meet
corrected ones; one that learnt corrected energies must never get it a second time.
"""

from __future__ import annotations

import warnings
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymatgen.core import Structure

# anions whose correction depends on their oxidation state; oxygen and sulphur are told by their bonds
BY_STATE = frozenset(("Br", "I", "Se", "Si", "Sb", "Te", "H", "N", "F", "Cl"))


def mp2020(structure: Structure) -> float:
    """Correction in eV/atom, negative almost always; 0.0 for elements.

    The run type follows the Materials Project's settings: Hubbard U for oxides and fluorides of V, Cr, Mn, Fe, Co, Ni,
    Mo and W. Where pymatgen cannot classify a structure (far from any crystal), the oxide's correction is taken.
    """
    composition = structure.composition.element_composition
    if len(composition) == 1:
        return 0.0
    symbols = {element.symbol for element in composition}
    most_negative = max(composition, key=lambda element: element.X).symbol
    scheme = _scheme()
    hubbards = {s: u for s, u in scheme.u_settings.get(most_negative, {}).items() if s in symbols}
    states = dict(_oxidation_states(composition.reduced_formula)) if symbols & BY_STATE else {}
    return _sum(scheme, structure, {"oxidation_states": states}, hubbards) / len(structure)


def _sum(scheme: Any, structure: Structure, data: dict, hubbards: dict) -> float:
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    run = {"run_type": "GGA+U" if hubbards else "GGA", "hubbards": hubbards, "software": "potential"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no oxidation states were found is the common case
        try:
            entry = ComputedStructureEntry(structure, 0.0, parameters=run, data=dict(data))
            return sum(a.value for a in scheme.get_adjustments(entry))
        except Exception:  # the classification by bonds fails in many ways on odd geometries
            data = data | {"oxide_type": "oxide", "sulfide_type": "sulfide"}
            entry = ComputedStructureEntry(structure, 0.0, parameters=run, data=data)
            return sum(a.value for a in scheme.get_adjustments(entry))


@cache
def _scheme() -> Any:
    from pymatgen.entries.compatibility import MaterialsProject2020Compatibility

    return MaterialsProject2020Compatibility(check_potcar=False)


@lru_cache(maxsize=200_000)
def _oxidation_states(formula: str) -> tuple[tuple[str, float], ...]:
    """The likeliest oxidation states of a reduced formula, as the scheme guesses them; empty when there are none."""
    from pymatgen.core import Composition

    try:
        found = Composition(formula).oxi_state_guesses(max_sites=-20)
    except ValueError:
        return ()
    return tuple(found[0].items()) if found else ()
