"""Substituted polymorphs: prototypes seen elsewhere, decorated with a new composition, far from equilibrium.

This is what screening feeds a potential all day. No DFT energy is known for them, but a substituted polymorph far
*below* the composition's own ground state, with the same potential, is a hole of the potential rather than a discovery.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.candidate import Candidate
from genmat.crystal.prototype import from_structure
from genmat.errors import GenmatError
from genmat.screening.stress.figures import Figure
from genmat.screening.stress.table import Known, atomic_volumes, expected_volume, known

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

MAX_ATOMS = 12
PER_FORMULA = 3
SUSPICIOUS = 0.05  # eV/atom below the ground state
COLLAPSED, EXPLODED = 0.6, 1.6  # volume per atom over that of the ground state
CONTACT = 0.6  # of the sum of covalent radii: nearer atoms have fallen into each other


def choose(table: pd.DataFrame, n: int, seed: int = 0) -> list[Candidate]:
    """About `n` substituted crystals of test compositions, `PER_FORMULA` each, after the ground state of each.

    A prototype is a structure of the training split with the same anonymous formula whose prototype none of the known
    polymorphs of the composition has; elements of equal amount are assigned at random, and the volume is scaled by
    atomic volumes.
    """
    rng = np.random.default_rng(seed)
    volumes = atomic_volumes(table, seed=seed)
    small = table[table.n_primitive <= MAX_ATOMS]
    templates = _by_anonymous(small[small.split == "train"])
    lowest = small[small.split == "test"].sort_values(["formula", "formation_energy_per_atom"])
    lowest = lowest.drop_duplicates("formula").sample(frac=1.0, random_state=seed)
    chosen: list[Candidate] = []
    made = 0
    for row in lowest.itertuples():
        if made >= n:
            break
        rows = templates.get(_anonymous(row.species), [])
        if len(rows) < PER_FORMULA or len(set(row.species)) < 2:
            continue
        try:
            ground = known(row)
        except GenmatError:
            continue
        taken = set(table.spacegroup_number[table.formula == row.formula])
        polymorphs = list(_decorated(ground, small, rows, taken, volumes, rng))
        if polymorphs:
            chosen += [_ground(ground), *polymorphs]
            made += len(polymorphs)
    return chosen


def _by_anonymous(rows: pd.DataFrame) -> dict[tuple[int, ...], list[int]]:
    found: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, species in zip(rows.index, rows.species, strict=True):
        found[_anonymous(species)].append(index)
    return found


def _anonymous(species: Iterable[str]) -> tuple[int, ...]:
    """Sorted reduced amounts: (1, 1, 3) for any perovskite."""
    counts = sorted(Counter(species).values())
    divisor = int(np.gcd.reduce(counts))
    return tuple(count // divisor for count in counts)


def _ground(ground: Known) -> Candidate:
    facts = {"formula": ground.formula, "ground": True, "label": ground.label}
    return Candidate(ground.id, "mp", structure=ground.structure, provenance=facts)


def _decorated(
    ground: Known, table: pd.DataFrame, rows: list[int], taken: set[int], volumes: Mapping[str, float], rng: Any
) -> Iterator[Candidate]:
    """Up to `PER_FORMULA` crystals of different prototypes, none in a space group the formula is known in."""
    seen: set[str] = set()
    for index in rng.permutation(rows)[: 8 * PER_FORMULA]:
        if len(seen) == PER_FORMULA:
            return
        row = next(table.loc[[index]].itertuples())
        if row.spacegroup_number in taken:
            continue
        try:
            crystal = substitute(known(row).structure, ground.structure, volumes, rng)
            label = from_structure(crystal).label
        except (GenmatError, ValueError):
            continue
        if label not in seen:
            seen.add(label)
            facts = {"formula": ground.formula, "ground": False, "label": label, "template": row.material_id}
            yield Candidate(f"{ground.formula}-as-{row.material_id}", "mp", structure=crystal, provenance=facts)


def substitute(template: Structure, target: Structure, volumes: Mapping[str, float], rng: Any) -> Structure:
    """The template with the elements of the target, amount by amount, its volume scaled by atomic volumes.

    Raises:
        ValueError: the amounts differ.
    """

    def by_amount(structure: Structure) -> list[tuple[float, str]]:
        amounts = structure.composition.reduced_composition.get_el_amt_dict()
        symbols = list(rng.permutation(sorted(amounts)))
        return sorted(((amounts[s], s) for s in symbols), key=lambda pair: pair[0])  # stable: equal amounts stay mixed

    theirs, ours = by_amount(template), by_amount(target)
    if [amount for amount, _ in theirs] != [amount for amount, _ in ours]:
        raise ValueError("amounts differ")
    crystal = template.copy()
    before = expected_volume([site.specie.symbol for site in crystal], volumes)
    crystal.replace_species({old: new for (_, old), (_, new) in zip(theirs, ours, strict=True)})
    after = expected_volume([site.specie.symbol for site in crystal], volumes)
    crystal.scale_lattice(template.volume * after / before)
    return crystal


def drift_stage(candidates: Iterable[Candidate], starts: Mapping[str, Structure]) -> Iterator[Candidate]:
    """How far the relaxation took a crystal: ``label_final``, ``rmsd`` and ``closest_contact``.

    ``rmsd`` is that of `StructureMatcher` (relative to the cube root of the volume per atom), None where it finds no
    mapping; ``closest_contact`` the least distance over the sum of covalent radii.

    Args:
        candidates: relaxed.
        starts: the crystals before, by id.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher()
    for candidate in candidates:
        final = candidate.structure
        found = matcher.get_rms_dist(starts[candidate.id], final)
        yield candidate.add(
            label_final=from_structure(final).label,
            rmsd=float(found[0]) if found else None,
            closest_contact=closest_contact(final),
        )


def closest_contact(structure: Structure) -> float:
    """Least distance between atoms over the sum of their covalent radii (Cordero et al., Dalton Trans. 2008, 2832)."""
    from ase.data import covalent_radii

    from genmat.screening.potentials.neighbours import half_list

    bonds = half_list(structure.cart_coords, structure.lattice.matrix, 5.0)
    vectors = structure.cart_coords[bonds.first] - structure.cart_coords[bonds.second]
    length = np.linalg.norm(vectors - bonds.image @ structure.lattice.matrix, axis=1)
    radii = np.array([covalent_radii[site.specie.Z] for site in structure])
    return float((length / (radii[bonds.first] + radii[bonds.second])).min(initial=np.inf))


def hole(candidate: Candidate, ground: Candidate) -> str | None:
    """Why a relaxed crystal is a hole of the potential: collapsed, exploded or atoms inside each other; else None."""
    ratio = _volume(candidate) / _volume(ground)
    if ratio < COLLAPSED:
        return "collapsed"
    if ratio > EXPLODED:
        return "exploded"
    return "atoms inside each other" if candidate.results["closest_contact"] < CONTACT else None


def _volume(candidate: Candidate) -> float:
    """Å³/atom."""
    assert candidate.structure is not None
    return candidate.structure.volume / len(candidate.structure)


def depths(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """One row per relaxed substituted crystal: ``depth``, its energy above the relaxed ground state (eV/atom)."""
    ground = {c.provenance["formula"]: c for c in candidates if c.provenance["ground"] and c.alive}
    rows = []
    for candidate in candidates:
        formula = candidate.provenance["formula"]
        if candidate.provenance["ground"] or not candidate.alive or formula not in ground:
            continue
        results = candidate.results
        rows.append(
            {
                "id": candidate.id,
                "formula": formula,
                "depth": results["energy_per_atom"] - ground[formula].results["energy_per_atom"],
                "volume_change": results["volume_change"],
                "rmsd": results["rmsd"],
                "hole": hole(candidate, ground[formula]),
                "steps": results["relax_steps"],
                "converged": results["converged"],
                "same_prototype": results["label_final"] == candidate.provenance["label"],
                "spacegroup": int(results["label_final"].split("_")[2]),
                "spacegroup_before": int(candidate.provenance["label"].split("_")[2]),
            }
        )
    return rows


def judge(candidates: Sequence[Candidate], allowed: set[str] | None = None) -> list[Figure]:
    """Figures of substituted polymorphs: failures, holes, drift, suspicious depths."""
    kept = [c for c in candidates if allowed is None or c.id in allowed]
    everyone = [c for c in kept if not c.provenance["ground"]]
    if not everyone:
        return []
    rows = depths(kept)
    n, done = len(everyone), len(rows)
    failed = 100 * sum(not c.alive for c in everyone) / n
    lost = Figure("sub_failed", "substituted: failed", failed, "%", n, None, "", "lower")
    if not rows:
        return [lost]

    def share(key: str, label: str, hits: Iterable[bool]) -> Figure:
        return Figure(key, label, 100 * sum(hits) / done, "%", done, None, "", "lower")

    rmsd = [row["rmsd"] for row in rows if row["rmsd"] is not None]
    change = 100 * float(np.median([abs(row["volume_change"]) for row in rows]))
    return [
        lost,
        share("sub_unconverged", "substituted: not converged", (not row["converged"] for row in rows)),
        share(
            "sub_holes", "substituted: holes (collapse, explosion, contact)", (row["hole"] is not None for row in rows)
        ),
        share(
            "sub_suspicious",
            "substituted: > 50 meV/atom below the ground state",
            (row["depth"] < -SUSPICIOUS for row in rows),
        ),
        share("sub_below", "substituted: below the ground state at all", (row["depth"] < -0.001 for row in rows)),
        share("sub_prototype", "substituted: prototype changed", (not row["same_prototype"] for row in rows)),
        Figure("sub_volume", "substituted: median |volume change|", change, "%", done),
        Figure(
            "sub_rmsd",
            "substituted: median RMSD / (V/n)^⅓",
            100 * float(np.median(rmsd)) if rmsd else None,
            "%",
            len(rmsd),
        ),
        Figure(
            "sub_steps", "substituted: evaluations per relaxation", float(np.mean([r["steps"] for r in rows])), "", done
        ),
    ]


def agreement(first: Sequence[Candidate], second: Sequence[Candidate]) -> tuple[float | None, int]:
    """Share (%) of pairs of substituted polymorphs of one composition that two potentials put in the same order.

    Pairs nearer than 5 meV/atom with both are left out.
    """
    energies = [{c.id: c.results["energy_per_atom"] for c in side if c.alive} for side in (first, second)]
    groups: dict[str, list[str]] = defaultdict(list)
    for candidate in first:
        if all(candidate.id in side for side in energies):
            groups[candidate.provenance["formula"]].append(candidate.id)
    same = []
    for ids in groups.values():
        for i, a in enumerate(ids):
            for b in ids[i + 1 :]:
                gaps = [side[b] - side[a] for side in energies]
                if max(map(abs, gaps)) >= 0.005:
                    same.append(gaps[0] * gaps[1] > 0)
    return (100 * float(np.mean(same)) if same else None), len(same)
