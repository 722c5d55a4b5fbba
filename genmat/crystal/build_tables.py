"""Build ``genmat/crystal/data/wyckoff.npz``: the Wyckoff positions of the 230 space groups and their normalisers.

Run once, with the ``dev`` extra installed: ``python -m genmat.crystal.build_tables``. The positions come from pyxtal
(International Tables A, standard settings: unique axis b, origin choice 2, hexagonal axes); the normalisers are
computed here, by trying every change of basis and origin on a grid and keeping those that map the group onto itself.
The table exists because it loads in milliseconds and needs no library; the tests compare it with pyxtal.
"""

from itertools import product
from pathlib import Path

import numpy as np

from genmat.crystal.wyckoff import LETTERS, SHIFTS, TABLE_FILE

DENOMINATOR = 24  # every translation in the standard settings is a multiple of 1/24
ORIGINS = sorted({i * DENOMINATOR // d for d in (3, 8) for i in range(d)} | {4, 20})  # grid of origin shifts, in 1/24
GENERIC = np.array([0.1373, 0.2691, 0.4127])  # a point on no symmetry element: stands for the free parameters


def integer_operations(operations) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (n, 3, 3) and translations (n, 3), the latter in units of 1/24, of pymatgen/pyxtal ``SymmOp`` s."""
    rotations = np.array([op.rotation_matrix for op in operations])
    translations = np.array([op.translation_vector for op in operations]) * DENOMINATOR
    for values in (rotations, translations):
        if np.abs(values - values.round()).max() > 1e-4:
            raise ValueError("an operation is not on the 1/24 grid")
    return rotations.round().astype(np.int8), (translations.round().astype(int) % DENOMINATOR).astype(np.int8)


def read_positions(number: int) -> tuple[dict, list[dict]]:
    """One space group's entry and its Wyckoff positions, letter ``a`` first, read from pyxtal."""
    from pyxtal.symmetry import Group

    group = Group(number)
    positions = []
    for wp in sorted(group.Wyckoff_positions, key=lambda w: LETTERS.index(w.letter)):
        wp.get_site_symmetry()
        rotations, translations = integer_operations(wp.ops)
        free = rotations[0].any(axis=0)
        if free.sum() != wp.get_dof():
            raise ValueError(f"{number}{wp.letter}: {wp.get_dof()} degrees of freedom but free parameters {free}")
        positions.append(
            {
                "letter": wp.letter,
                "site_symmetry": wp.site_symm.replace(" ", ""),
                "free": free,
                "rotations": rotations,
                "translations": translations,
            }
        )
    return {"symbol": group.symbol, "system": group.lattice_type, "centring": group.symbol[0]}, positions


def candidate_bases(system: str) -> np.ndarray:
    """Integer changes of basis (n, 3, 3) worth trying for a crystal system, determinant ±1.

    Triclinic: one per class modulo 2 (letters of P-1 depend on nothing else), axis permutations first; monoclinic: all
    that keep the unique axis b; others: entries in {-1, 0, 1}.
    """
    permutations = [
        np.eye(3, dtype=int)[list(p)] for p in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2), (0, 2, 1), (2, 1, 0))
    ]
    matrices = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    matrices = matrices[np.isin(np.linalg.det(matrices).round(), (-1, 1))]
    if system == "monoclinic":
        matrices = matrices[(matrices[:, 1, [0, 2]] == 0).all(1) & (matrices[:, [0, 2], 1] == 0).all(1)]
    if system == "triclinic":
        _, first = np.unique(matrices % 2, axis=0, return_index=True)
        matrices = matrices[first]
    return np.concatenate([permutations, matrices]).astype(int)


def normaliser(system: str, positions: list[dict]) -> list[tuple[np.ndarray, np.ndarray, tuple[int, ...], bool]]:
    """Distinct actions of the affine normaliser on the Wyckoff letters.

    Returns:
        ``(P, p, permutation, isometric)`` per action: new coordinates are ``x' = P⁻¹(x - p)`` (p in 1/24), letter i
        becomes ``permutation[i]``; ``isometric`` when P only permutes and inverts axes, so that the cell keeps its
        shape. Identity first.
    """
    general = positions[-1]
    rotations, translations = general["rotations"].astype(int), general["translations"].astype(int)
    group = {(*r.ravel(), *t) for r, t in zip(rotations, translations, strict=True)}
    keys = {tuple(r.ravel()) for r in rotations}
    polar = [(rotations[:, :, i] == np.eye(3, dtype=int)[i]).all() for i in range(3)]  # origin arbitrary: keep 0
    origins = np.array(list(product(*[[0] if p else ORIGINS for p in polar])))
    found: dict[tuple, tuple] = {}
    tried = set()
    for basis in candidate_bases(system):
        inverse = np.linalg.inv(basis).round().astype(int)
        conjugated = inverse @ rotations @ basis
        coset = min(tuple((r @ basis).ravel()) for r in rotations)  # operations of the group itself change no letter
        if coset in tried or {tuple(r.ravel()) for r in conjugated} != keys:
            continue
        tried.add(coset)
        isometric = bool((np.abs(basis).sum(0) == 1).all())
        # (P⁻¹RP, P⁻¹(Rp + t - p)) must be an operation of the group, for every operation (R, t)
        valid = np.ones(len(origins), bool)
        for r, t, c in zip(rotations, translations, conjugated, strict=True):
            moved = (origins[valid] @ (r - np.eye(3, dtype=int)).T + t) @ inverse.T % DENOMINATOR
            valid[valid] = [(*c.ravel(), *m) in group for m in moved]
        for origin, permutation in zip(origins[valid], landings(positions, inverse, origins[valid]), strict=True):
            permutation = tuple(int(i) for i in permutation)
            if permutation not in found or (isometric and not found[permutation][3]):
                found[permutation] = (basis, origin, permutation, isometric)
    return sorted(found.values(), key=lambda f: (f[2], not f[3]))


def landings(positions: list[dict], inverse: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Index (n_origins, n_positions) of the position on which each position lands under ``x' = P⁻¹(x - p)``."""
    landed = np.full((len(origins), len(positions)), -1)
    for i, position in enumerate(positions):
        point = position["rotations"][0] @ GENERIC + position["translations"][0] / DENOMINATOR
        points = (point - origins / DENOMINATOR) @ inverse.T  # (n, 3)
        for j, other in enumerate(positions):
            open_rows = np.flatnonzero(landed[:, i] < 0)
            same = (
                len(other["rotations"]) == len(position["rotations"]) and other["free"].sum() == position["free"].sum()
            )
            for r, t in zip(other["rotations"], other["translations"] / DENOMINATOR, strict=True):
                if not same or not len(open_rows):
                    break
                targets = points[open_rows, None, :] - t + SHIFTS  # (n, 125, 3)
                q = targets @ np.linalg.pinv(r.astype(float)).T
                hit = (np.abs(q @ r.T - targets).max(-1) < 1e-6).any(1)
                landed[open_rows[hit], i] = j
                open_rows = open_rows[~hit]
    if (landed < 0).any():
        raise ValueError("a position lands nowhere: the origin is not in the normaliser")
    return landed


def main() -> None:
    """Write the table next to the package's code."""
    groups, columns, rotations, translations, actions = [], [], [], [], []
    for number in range(1, 231):
        group, positions = read_positions(number)
        groups.append(group)
        seen: dict[str, int] = {}
        for position in positions:
            symmetry = position["site_symmetry"]
            seen[symmetry] = seen.get(symmetry, -1) + 1
            columns.append(
                (number, position["letter"], symmetry, seen[symmetry], len(position["rotations"]), *position["free"])
            )
            rotations.append(position["rotations"])
            translations.append(position["translations"])
        for basis, origin, permutation, isometric in normaliser(group["system"], positions):
            padded = list(permutation) + [-1] * (len(LETTERS) - len(permutation))
            actions.append((number, isometric, *basis.ravel(), *origin, *padded))
        print(
            number,
            group["symbol"],
            len(positions),
            "positions,",
            sum(a[0] == number for a in actions),
            "actions",
            flush=True,
        )
    Path(TABLE_FILE).parent.mkdir(exist_ok=True)
    np.savez_compressed(
        TABLE_FILE,
        symbols=np.array([g["symbol"] for g in groups]),
        systems=np.array([g["system"] for g in groups]),
        centrings=np.array([g["centring"] for g in groups]),
        group=np.array([c[0] for c in columns], np.uint8),
        letter=np.array([c[1] for c in columns]),
        site_symmetry=np.array([c[2] for c in columns]),
        enumeration=np.array([c[3] for c in columns], np.int8),
        multiplicity=np.array([c[4] for c in columns], np.uint8),
        free=np.array([c[5:] for c in columns], bool),
        rotations=np.concatenate(rotations),
        translations=np.concatenate(translations),
        actions=np.array(actions, np.int16),
    )


if __name__ == "__main__":
    main()
