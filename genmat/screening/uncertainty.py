"""How far an energy above the hull can be believed: committee, calibrated intervals, probability of stability.

The spread of a committee of potentials trained on the same data says little by itself: their errors are nearly the
same. It is one of the features from which the size of the error is learnt; what the intervals say rests on crystals
with known DFT energies (`genmat.screening.calibrate`), by split-conformal prediction (`genmat.screening.conformal`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.candidate import Candidate
from genmat.screening.conformal import Conformal
from genmat.screening.hull import fractions

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.hull import ReferenceHull
    from genmat.screening.potentials.base import Potential

DATA = Path(__file__).parent / "data"
STABLE = 0.05
"""eV/atom above the hull up to which a crystal counts as stable in ``p_stable``."""

ANIONS = {
    "oxide": ("O",),
    "halide": ("F", "Cl", "Br", "I"),
    "chalcogenide": ("S", "Se", "Te"),
    "pnictide": ("N", "P", "As", "Sb", "Bi"),
    "carbide-like": ("H", "B", "C", "Si", "Ge"),
}
"""Chemical classes by the first anion found, in this order; without any, ``intermetallic``."""
CLASSES = (*ANIONS, "intermetallic")
HARDEST = ("pnictide", "carbide-like")
MAGNETIC = frozenset(("V", "Cr", "Mn", "Fe", "Co", "Ni"))
F_BLOCK = frozenset(
    "La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Ac Th Pa U Np Pu".split()  # noqa: SIM905
)
FEATURES = (
    *CLASSES,
    "binary",
    "ternary",
    "log_spread",
    "e_above_hull",
    "below_hull",
    "formation_energy",
    "share_magnetic",
    "share_f_block",
    "new_composition",
)
"""What the size of an error is learnt from. Not the change on relaxation: it tells of the start, not of the crystal."""


def anion_class(shares: Mapping[str, float]) -> str:
    """Chemical class of a composition.

    >>> anion_class({"Ba": 0.2, "Ti": 0.2, "O": 0.6}), anion_class({"Cu": 0.5, "Zr": 0.5})
    ('oxide', 'intermetallic')
    """
    return next((name for name, anions in ANIONS.items() if any(a in shares for a in anions)), "intermetallic")


def features(
    shares: Mapping[str, float], spread: float, e_above_hull: float, formation: float, new: bool
) -> np.ndarray:
    """(n_features,) of a relaxed crystal, in the order of `FEATURES`.

    Args:
        shares: atomic fractions.
        spread: of the committee, eV/atom.
        e_above_hull: predicted, eV/atom.
        formation: predicted formation energy, eV/atom.
        new: no reference phase has this composition.
    """
    kind = anion_class(shares)
    return np.array(
        [
            *(float(kind == name) for name in CLASSES),
            float(len(shares) == 2),
            float(len(shares) == 3),
            np.log(spread + 1e-3),
            np.clip(e_above_hull, 0.0, 1.0),
            np.clip(-e_above_hull, 0.0, 0.3),
            np.clip(formation, -4.0, 1.0),
            sum(v for s, v in shares.items() if s in MAGNETIC),
            sum(v for s, v in shares.items() if s in F_BLOCK),
            float(new),
        ]
    )


def group_of(shares: Mapping[str, float], new: bool) -> str:
    """Mondrian group: chemical class, binaries by themselves; coarser for new compositions, for want of crystals."""
    kind, binary = anion_class(shares), len(shares) == 2
    if not new:
        return f"{kind} binary" if binary else kind
    return "new binary" if binary else "new pnictide or carbide-like" if kind in HARDEST else "new"


def spread_of(formations: Sequence[float]) -> float:
    """Standard deviation of the members' formation energies, eV/atom; members that failed (NaN) are left out."""
    finite = [value for value in formations if np.isfinite(value)]
    return float(np.std(finite)) if len(finite) > 1 else float("nan")


@dataclass(frozen=True)
class Member:
    """One potential of a committee.

    Args:
        name: as `genmat.screening.potentials.load` takes it.
        source: of its energies.
        references: eV per atom of each element that bring its energies to one scale with the others.
    """

    name: str
    source: str
    references: Mapping[str, float]

    def formation(self, shares: Mapping[str, float], energy: float) -> float:
        """Formation energy (eV/atom) from a total energy (eV/atom); NaN where an element has no reference."""
        if not shares.keys() <= self.references.keys():
            return float("nan")
        return energy - sum(share * self.references[symbol] for symbol, share in shares.items())


@dataclass(frozen=True)
class Calibration:
    """What is known about the errors of one potential.

    Args:
        source: of the potential's energies.
        members: the committee; the first is the potential itself.
        typical_spread: eV/atom, used where the committee has no answer.
        hulls: source of a hull -> predictors "formation" and "above" of energies placed on it.
        note: one line on what it was made from.
    """

    source: str
    members: tuple[Member, ...]
    typical_spread: float
    hulls: Mapping[str, Mapping[str, Conformal]]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "source": self.source,
            "note": self.note,
            "typical_spread": self.typical_spread,
            "members": [vars(member) for member in self.members],
            "hulls": {hull: {name: p.to_dict() for name, p in found.items()} for hull, found in self.hulls.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """What `to_dict` wrote."""
        hulls = {hull: {k: Conformal.from_dict(v) for k, v in found.items()} for hull, found in data["hulls"].items()}
        members = tuple(Member(**member) for member in data["members"])
        return cls(data["source"], members, data["typical_spread"], hulls, data["note"])


def calibration_file(name: str) -> Path:
    """Where the calibration of a potential of this name is kept."""
    return DATA / f"calibration_{name}.json"


def load_calibration(potential: Potential, hull: ReferenceHull) -> Calibration | None:
    """The shipped calibration of a potential on a hull; None where there is none: doubt is not transferred."""
    path = calibration_file(potential.info.name)
    if not path.is_file():
        return None
    made = Calibration.from_dict(json.loads(path.read_text()))
    return made if made.source == potential.info.source and hull.source in made.hulls else None


def doubt_stage(
    candidates: Iterable[Candidate], potential: Potential, hull: ReferenceHull, calibration: Calibration
) -> Iterator[Candidate]:
    """Say how far each energy above the hull can be believed; a per-candidate stage.

    Adds ``committee_spread`` (eV/atom, standard deviation of the members' formation energies at the relaxed structure),
    ``formation_energy_low``, ``formation_energy_high``, ``e_above_hull_low``, ``e_above_hull_high`` (eV/atom, 90 %
    intervals of the DFT values) and ``p_stable``, the probability of lying at most `STABLE` above the hull.
    """
    committee = load_committee(potential, calibration)
    for candidate in candidates:
        found, structure = candidate.results, candidate.structure
        if candidate.failure is not None or structure is None or found.get("e_above_hull") is None:
            yield candidate
            continue
        shares = fractions({element.symbol: n for element, n in structure.composition.items()})
        energies = [_formation(member, engine, structure, shares) for member, engine in committee]
        yield candidate.add(**judge(candidate, shares, spread_of(energies), hull, calibration))


def _formation(member: Member, engine: Potential, structure: Structure, shares: Mapping[str, float]) -> float:
    """Formation energy by one member (eV/atom), one crystal at a time: no bit may depend on its company.

    NaN where the member has no answer: that is no fault of the candidate.
    """
    try:
        energy = float(engine.evaluate([structure], gradients=False).energies[0])
    except Exception:  # a third-party potential may raise anything
        return float("nan")
    return member.formation(shares, energy / len(structure))


def load_committee(potential: Potential, calibration: Calibration) -> list[tuple[Member, Potential]]:
    """The members and their engines; the potential at hand is not loaded again."""
    from genmat.screening.potentials import load

    return [
        (member, potential if member.source == potential.info.source else load(member.name))
        for member in calibration.members
    ]


def judge(
    candidate: Candidate, shares: Mapping[str, float], spread: float, hull: ReferenceHull, calibration: Calibration
) -> dict[str, float | None]:
    """Intervals and probability of one candidate from what its earlier stages found."""
    above, formation = candidate.results["e_above_hull"], candidate.results["formation_energy_per_atom"]
    new = not any(same_composition(phase.formula, shares) for phase in hull.entries(shares))
    known = spread if np.isfinite(spread) else calibration.typical_spread
    described, group = features(shares, known, above, formation, new), group_of(shares, new)
    predictors = calibration.hulls[hull.source]
    low, high = predictors["above"].interval(above, described, group)
    bottom, top = predictors["formation"].interval(formation, described, group)
    return {
        "committee_spread": spread if np.isfinite(spread) else None,
        "formation_energy_low": bottom,
        "formation_energy_high": top,
        "e_above_hull_low": low,
        "e_above_hull_high": high,
        "p_stable": predictors["above"].below(STABLE, above, described, group),
    }


def same_composition(formula: str, shares: Mapping[str, float]) -> bool:
    """Whether a formula has these atomic fractions."""
    other = fractions(formula)
    return other.keys() == shares.keys() and all(abs(other[s] - x) < 1e-6 for s, x in shares.items())
