"""Which candidates are worth relaxing, and which of the relaxed are the best."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from genmat.candidate import Candidate
from genmat.screening.second import disagreement

LEVEL = 0.02
"""eV/atom above the hull, what half of the network's predictions err by."""
NEAR_HULL = 0.05
"""eV/atom; up to here a candidate counts as near the hull."""
TOO_LOW = -0.1
"""eV/atom; so far below the hull lie gaps of the reference and errors of the potential rather than discoveries."""


def select_stage(
    candidates: Iterable[Candidate], n: int, *, per_formula: int = 1, per_system: int = 3, per_prototype: int = 6
) -> Iterator[Candidate]:
    """Keep about the `n` most promising, and fail the rest with the reason they were left out.

    A whole-set stage. Duplicates and known phases are left out; charge-balanced candidates come first. The limits keep
    one easy family from filling the list; they are loosened when too few candidates would remain.

    Args:
        candidates: with ``log_likelihood_prototype``, ``unique``, ``novel`` and ``charge_balanced``, and what
            `prescreen_stage` adds.
        n: how many to keep.
        per_formula: at most this many of one reduced formula.
        per_system: at most this many of one chemical system.
        per_prototype: at most this many of one anonymous prototype.
    """
    everyone = list(candidates)
    eligible = [candidate for candidate in everyone if set_aside(candidate) is None]
    place = promise(eligible)
    order = sorted(eligible, key=lambda c: (c.results.get("charge_balanced") is False, place[c.id], c.id))
    chosen = _spread(order, n, per_formula, per_system, per_prototype)
    for candidate in everyone:
        reason = set_aside(candidate)
        if reason is not None:
            yield candidate.fail("select", reason)
        elif candidate.id not in chosen:
            yield candidate.fail("select", f"not among the {n} most promising")
        else:
            yield candidate


def set_aside(candidate: Candidate) -> str | None:
    """Why a candidate is not worth an evaluation whatever its score: a duplicate or a known phase; None if it is."""
    if candidate.results.get("unique") is False:
        return "duplicate of another candidate"
    if candidate.results.get("novel") is False:
        return "known phase"
    return None


def promise(candidates: Sequence[Candidate]) -> dict[str, float]:
    """Place of every candidate by id, less is better: the mean of its places by `surprise` and, where the network has
    judged it, by ``scan_e_above_hull`` plus its standard deviation. Up to `LEVEL` all are alike to the network: what it
    sees far below the hull is as often an odd reference as a find."""
    told = places({c.id: surprise(c) for c in candidates})
    names = ("scan_e_above_hull", "scan_sigma")
    judged = [c for c in candidates if all(name in c.results for name in names)]
    seen = places({c.id: max(LEVEL, sum(c.results[name] for name in names)) for c in judged})
    return {name: (place + seen.get(name, place)) / 2 for name, place in told.items()}


def places(values: Mapping[str, float]) -> dict[str, float]:
    """0 for the least to 1 for the most; equals share the mean of their places."""
    order = sorted(values.values())
    return {
        name: (bisect_left(order, value) + bisect_right(order, value) - 1) / 2 / max(1, len(order) - 1)
        for name, value in values.items()
    }


def surprise(candidate: Candidate) -> float:
    """Negative log-likelihood of composition and prototype (nats), the model's own score: low is plausible.

    Of the whole of them, not per word: crystals of few sites are favoured, which also relax faster and stay symmetric.
    Lattice and coordinates, which relaxation changes anyway, would only blur it.
    """
    log_likelihood = candidate.results.get("log_likelihood_prototype")
    if log_likelihood is None:
        return float("inf")
    return -float(log_likelihood)


def rank_stage(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Add ``rank``, 1 for the best, and ``doubt``, why an energy above hull is not to be believed; a whole-set stage.

    Unique and new ones first; of these the near ones without a doubt, with symmetry before P1 (a crystal without
    symmetry is rarely what is made). Where ``p_stable`` is known, near means more likely stable than not, and the
    likelier come first, in steps of 0.1 %; else it means within `NEAR_HULL`. Then by energy above the hull, in steps of
    1 µeV/atom.
    """
    everyone = [candidate.add(doubt=doubt(candidate)) for candidate in candidates]

    def key(index: int) -> tuple:
        candidate = everyone[index]
        found, energy = candidate.results, candidate.results.get("e_above_hull")
        plain = candidate.protostructure is not None and candidate.protostructure.spacegroup == 1
        known = (found.get("unique") is False, found.get("novel") is False)
        probability = found.get("p_stable")
        far = energy is None or (energy > NEAR_HULL if probability is None else probability < 0.5)
        likely = -round(probability or 0.0, 3)
        questioned = found["doubt"] is not None
        return *known, far, questioned, plain and not far, energy is None, likely, round(energy or 0.0, 6), index

    places = {index: place for place, index in enumerate(sorted(range(len(everyone)), key=key), start=1)}
    for index, candidate in enumerate(everyone):
        yield candidate.add(rank=places[index])


def doubt(candidate: Candidate) -> str | None:
    """Why the energy above the hull of a relaxed candidate should not be believed as it is; None if nothing is odd.

    An interval that reaches over `NEAR_HULL` is no doubt by itself, most do; where there is one it is told.
    """
    reasons = [reason for reason in (_own_doubt(candidate), disagreement(candidate.results, NEAR_HULL)) if reason]
    if not reasons:
        return None
    low, high = (candidate.results.get(f"e_above_hull_{end}") for end in ("low", "high"))
    if low is not None and high is not None and low <= NEAR_HULL < high:
        reasons.append(f"90 % interval {1000 * low:.0f} to {1000 * high:.0f} meV/atom")
    return "; ".join(reasons)


def _own_doubt(candidate: Candidate) -> str | None:
    """What the potential itself found odd."""
    energy = candidate.results.get("e_above_hull")
    if energy is not None and energy < TOO_LOW:
        return (
            f"over {-1000 * TOO_LOW:.0f} meV/atom below the hull, rather a missing phase or an error of the potential"
        )
    if candidate.results.get("converged") is False:
        return "relaxation not converged"
    return None


def _spread(order: list[Candidate], n: int, per_formula: int, per_system: int, per_prototype: int) -> set[str]:
    """Ids of the first `n` of `order` under the limits; the limits double until `n` are found or nothing is left."""
    chosen: dict[str, None] = {}
    counts: Counter[tuple[str, str]] = Counter()
    factor = 1
    while len(chosen) < min(n, len(order)):
        limits = {"formula": per_formula * factor, "system": per_system * factor, "prototype": per_prototype * factor}
        for candidate in order:
            keys = _families(candidate)
            if candidate.id in chosen or any(counts[key] >= limits[key[0]] for key in keys):
                continue
            chosen[candidate.id] = None
            counts.update(keys)
            if len(chosen) == n:
                break
        factor *= 2
    return set(chosen)


def _families(candidate: Candidate) -> list[tuple[str, str]]:
    """(kind, value) of the families a candidate belongs to."""
    families = [("formula", candidate.formula)]
    if candidate.structure is not None:
        families.append(("system", candidate.structure.composition.chemical_system))
    if candidate.protostructure is not None:
        families.append(("prototype", candidate.protostructure.label.rsplit(":", 1)[0]))
    return families
