"""The index space of scans, and the shipped prototypes it is made of."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from genmat.crystal.composition import ELEMENTS
from genmat.crystal.prototype import canonical_label
from genmat.crystal.realise import realise
from genmat.crystal.shells import shell_graph
from genmat.crystal.slots import of_protostructure, prototype_key, read_key
from genmat.data.crystal_table import label_table, mine_prototypes
from genmat.data.decorations import balanced, decorations, rank, unrank
from genmat.data.prototypes import SHIPPED, load_prototypes, placed
from genmat.errors import GenmatError


@pytest.fixture(scope="module")
def shipped():
    return load_prototypes()


def test_shipped_prototypes_are_small_and_consistent(shipped):
    assert SHIPPED.stat().st_size < 3e6 and len(shipped) > 8000 and len(set(shipped.keys)) == len(shipped)
    assert {"mp", "aflow"} == set(shipped.origin) and "221:a_b_c" in shipped.place
    for i in range(0, len(shipped), 401):
        proto, stored = shipped.geometries[i], shipped.graph(i)
        assert prototype_key(proto.spacegroup, of_protostructure(proto)[0]) == shipped.keys[i]
        assert len(realise(proto)) == proto.n_atoms == stored.atoms.sum()
        fresh = shell_graph(proto, shipped.site_slots[i])
        assert (fresh.symmetry == stored.symmetry).all() and (fresh.slots == stored.slots).all()
        agree = (fresh.counts == stored.counts).mean()  # geometries keep single precision: a rare shell splits
        assert agree > 0.98 and np.abs(fresh.distances - stored.distances).max() < 0.5


def test_mined_again_from_the_data(shared, tmp_path, monkeypatch):
    """A slice of the table: its prototypes are among the shipped ones, with their members' families."""
    import pandas as pd

    from genmat.data import crystal_table

    source = tmp_path / crystal_table.SOURCE
    source.parent.mkdir()
    rows = pd.read_parquet(shared / crystal_table.SOURCE)
    rows[rows.formula.isin(["SrTiO3", "NaCl", "TiO2"])].to_parquet(source)
    mined = mine_prototypes(tmp_path, tmp_path / "cache")
    shipped = load_prototypes()
    ours = [key for key, origin in zip(mined.keys, mined.origin, strict=True) if origin == "mp"]
    assert {"221:a_b_c", "225:a_b"} <= set(ours) <= set(shipped.keys)
    i, k = mined.place["225:a_b"], shipped.place["225:a_b"]
    assert all(a & b == a for a, b in zip(mined.seen[i], shipped.seen[k], strict=True))


def test_every_decoration_once(shipped):
    """All labels of a small system, each at one index, and the index found again."""
    space = decorations(shipped, ["Li", "Na", "O", "S"], keys=["221:a_b_c", "225:a_b", "216:a_b_c_d", "62:c_c_cd"])
    seen = set()
    for row, a, b in space.parts(0, len(space)):
        numbers = space.decode(row, np.arange(a, b))
        group, letters = read_key(shipped.keys[row])
        for k, z in enumerate(numbers):
            assert space.index_of(row, z) == a + k
            seen.add(
                canonical_label(group, tuple(sorted((ELEMENTS[n - 1], w) for n, w in zip(z, letters, strict=True))))
            )
    assert len(seen) == len(space) == 24 + 6 + 3 + 12


def test_any_index_without_the_ones_before(shipped):
    space = decorations(shipped, ELEMENTS[:83])
    assert len(space) > 5e9
    ((row, a, b),) = space.parts(4_999_999_999, 5_000_000_000)
    assert b - a == 1
    numbers = space.decode(row, np.array([a]))[0]
    assert space.index_of(row, numbers) == a
    cut = space.parts(10**9, 10**9 + 10**6)
    assert sum(b - a for _, a, b in cut) == 10**6
    halves = space.parts(10**9, 10**9 + 123_456) + space.parts(10**9 + 123_456, 10**9 + 10**6)
    assert sum(b - a for _, a, b in halves) == 10**6 and {r for r, _, _ in cut} == {r for r, _, _ in halves}


@pytest.mark.parametrize("n, k", [(6, 1), (7, 3), (9, 5)])
def test_combinations(n, k):
    every = sorted(itertools.combinations(range(n), k), key=lambda c: c[::-1])
    assert unrank(np.arange(len(every)), n, k).tolist() == [list(c) for c in every]
    assert [rank(np.array(c), n) for c in every] == list(range(len(every)))


def test_placed_as_in_the_scan(shipped):
    """A label's elements fill the slots as the index space fills them: the network sees one crystal, not two."""
    reference = dict(zip(shipped.keys, shipped.elements, strict=True))
    space = decorations(shipped, ["Na", "Cl", "Mg", "O", "Ti"], keys=["62:c_c_cd", "225:a_b", "221:a_b_c"])
    for row, a, b in space.parts(0, len(space)):
        group, letters = read_key(shipped.keys[row])
        for z in space.decode(row, np.arange(a, b)):
            pairs = sorted((ELEMENTS[n - 1], w) for n, w in zip(z, letters, strict=True))
            key, numbers = placed(canonical_label(group, tuple(pairs)), reference)
            assert key == shipped.keys[row] and numbers == tuple(z.tolist())
    table = label_table(["ABC3_cP5_221_a_b_c:Ba-Ti-O"], shipped)
    assert table.elements[0] == (56, 22, 8) and table.graphs[0].counts.any()


def test_options(shipped):
    row = shipped.place["221:a_b_c"]
    space = decorations(shipped, ["Ba", "Ti", "O"], keys=["221:a_b_c"], required=["O"], like_known=True, balanced=True)
    numbers = np.array([[56, 22, 8], [8, 56, 22]])
    assert space.allowed(row, numbers).tolist() == [True, False]
    assert balanced(np.array([[11, 17], [12, 17]]), np.array([1, 1])).tolist() == [True, False]  # NaCl, MgCl
    with pytest.raises(GenmatError, match="Xx"):
        decorations(shipped, ["Xx", "O"])
    with pytest.raises(GenmatError, match="no such prototype"):
        decorations(shipped, ["Ba", "O"], keys=["1:zz"])
    with pytest.raises(GenmatError, match="no prototype fits"):
        decorations(shipped, ["Ba", "O"], max_atoms=1)
