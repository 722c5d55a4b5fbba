"""Selection and ranking: the reasons given, the limits kept, the order right."""

from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.crystal.prototype import from_structure
from genmat.screening.select import promise, rank_stage, select_stage

SALTS = ("Na", "K", "Rb", "Li")


def salt(number: int, cation: str, likelihood: float, **results: object) -> Candidate:
    crystal = Structure.from_spacegroup(225, Lattice.cubic(5.6), [cation, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    candidate = Candidate(f"c{number}", "test", protostructure=from_structure(crystal), structure=crystal)
    return candidate.add(log_likelihood_prototype=likelihood, unique=True, novel=True, charge_balanced=True, **results)


def chosen(candidates: list[Candidate], n: int, **limits: int) -> list[str]:
    return [candidate.id for candidate in select_stage(candidates, n, **limits) if candidate.alive]


def test_likely_ones_are_kept_and_the_rest_gets_a_reason() -> None:
    candidates = [salt(0, "Na", -9), salt(1, "K", -3), salt(2, "Rb", -5).add(novel=False), salt(3, "Li", -4)]
    candidates.append(salt(4, "Cs", -1).add(unique=False))
    after = list(select_stage(candidates, 2))
    assert [candidate.id for candidate in after] == ["c0", "c1", "c2", "c3", "c4"]
    assert [candidate.failure for candidate in after] == [
        "select: not among the 2 most promising",
        None,
        "select: known phase",
        None,
        "select: duplicate of another candidate",
    ]


def test_one_family_does_not_fill_the_list() -> None:
    family = [salt(number, "Na", -1 - number) for number in range(5)]
    others = [salt(10 + number, cation, -50) for number, cation in enumerate(["K", "Rb", "Li"])]
    assert chosen(family + others, 4, per_formula=1) == ["c0", "c10", "c11", "c12"]
    assert chosen(family, 4, per_formula=1) == ["c0", "c1", "c2", "c3"]  # nothing else: the limit gives way


def test_balanced_charges_come_first() -> None:
    candidates = [salt(0, "Na", -1).add(charge_balanced=False), salt(1, "K", -90)]
    assert chosen(candidates, 1) == ["c1"]


def test_rank_prefers_new_near_symmetric_low() -> None:
    plain = salt(0, "Na", 0).replace(protostructure=from_structure(triclinic())).add(e_above_hull=-0.03)
    candidates = [
        plain,
        salt(1, "K", 0, e_above_hull=0.04),
        salt(2, "Rb", 0, e_above_hull=0.02),
        salt(3, "Li", 0, e_above_hull=-0.9).add(novel=False),
        salt(4, "Cs", 0, e_above_hull=0.2),
        salt(5, "Cs", 0),
        salt(6, "Na", 0, e_above_hull=-0.5),
        salt(7, "Na", 0, e_above_hull=0.0, converged=False),
    ]
    ranks = {candidate.id: candidate.results["rank"] for candidate in rank_stage(candidates)}
    assert sorted(ranks, key=ranks.__getitem__) == ["c2", "c1", "c0", "c6", "c7", "c4", "c5", "c3"]


def triclinic() -> Structure:
    lattice = Lattice.from_parameters(4.1, 5.2, 6.3, 81, 95, 103)
    return Structure(lattice, ["Na", "Cl", "Cl"], [[0, 0, 0], [0.21, 0.53, 0.37], [0.6, 0.13, 0.79]])


def test_two_opinions_weigh_the_same_and_one_alone_decides_where_there_is_no_other() -> None:
    """The mean of two places; c3, which the network has not judged, keeps the one it has."""
    judged = [(-1, 0.3, 0.1), (-9, 0.0, 0.03), (-3, 0.01, 0.03), (-2, None, None)]
    candidates = [salt(i, symbol, said) for i, (symbol, (said, *_)) in enumerate(zip(SALTS, judged, strict=True))]
    candidates = [
        c if above is None else c.add(scan_e_above_hull=above, scan_sigma=sigma)
        for c, (_, above, sigma) in zip(candidates, judged, strict=True)
    ]
    place = promise(candidates)
    assert place == {"c0": (0 + 1) / 2, "c1": (1 + 0) / 2, "c2": (2 / 3 + 1 / 2) / 2, "c3": 1 / 3}
    assert chosen(candidates, 1) == ["c3"]


def test_far_below_the_hull_is_no_better_than_on_it() -> None:
    below = zip(SALTS, (-0.6, -0.02, 0.005, 0.05), strict=True)
    candidates = [salt(i, s, -1, scan_e_above_hull=e, scan_sigma=0.01) for i, (s, e) in enumerate(below)]
    place = promise(candidates)
    assert place["c0"] == place["c1"] == place["c2"] < place["c3"]
