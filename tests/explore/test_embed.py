"""The embedding does not depend on how a crystal is written down, and tells prototypes and chemistry apart."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import CRYSTALS

from genmat.crystal.composition import ATOMIC_NUMBER
from genmat.crystal.prototype import equivalents, from_arrays, from_structure
from genmat.crystal.slots import of_protostructure, prototype_key
from genmat.errors import GenmatError
from genmat.explore.embed import Embedder, prototype_of, sentence
from genmat.explore.index import WIDTH, fit_projection, make_index, search
from genmat.tokenization.vocabulary import vocabulary


@pytest.fixture(scope="module")
def embedder(models) -> Embedder:
    return Embedder(models.crystal, models.composition)


def test_one_sentence_for_every_setting():
    structure = CRYSTALS["SrTiO3"]
    other = structure.copy()
    other.translate_sites(range(len(other)), [0.5, 0.5, 0.5])
    labels = {proto.label for proto in equivalents(from_structure(structure))} | {from_structure(other).label}
    assert len({sentence(label) for label in labels}) == 1
    words = [vocabulary().words[i] for i in sentence(labels.pop())]
    assert words == ["<bos>", "Sr", "1", "Ti", "1", "O", "3", "sg221", "Sr", "221a", "Ti", "221b", "O", "221c"]


def test_supercell_and_primitive_cell_embed_alike(embedder):
    structure = CRYSTALS["KCl"]
    labels = [from_structure(s).label for s in (structure, structure.get_primitive_structure(), structure * (2, 1, 1))]
    assert np.ptp(embedder.prototypes(labels), axis=0).max() < 1e-5


def test_prototype_key_is_that_of_slots():
    for structure in CRYSTALS.values():
        proto = from_structure(structure)
        assert prototype_of(proto.label) == prototype_key(proto.spacegroup, of_protostructure(proto)[0])


def test_bare_symmetry_has_the_same_label():
    for structure in CRYSTALS.values():
        numbers = np.array([ATOMIC_NUMBER[site.specie.symbol] for site in structure])
        bare = from_arrays(structure.lattice.matrix, structure.frac_coords, numbers, bare=True)
        assert bare.label == from_structure(structure).label
        assert not bare.lattice and not any(site.coords for site in bare.sites)


def test_prototypes_are_nearer_than_other_prototypes(embedder):
    labels = [from_structure(s).label for s in CRYSTALS.values()]
    parts = embedder.prototypes(labels)
    apart = np.linalg.norm(parts[:, None] - parts[None], axis=2)
    salts, perovskites = slice(0, 6), slice(6, 12)  # TiO2 is neither
    within = max(apart[salts, salts].max(), apart[perovskites, perovskites].max())
    assert within < apart[salts, perovskites].min()


def test_composition_part_knows_chemistry(embedder):
    names = ["NaCl", "KBr", "FeCo"]
    parts = embedder.compositions([{"Na": 1, "Cl": 1}, {"K": 1, "Br": 1}, {"Fe": 1, "Co": 1}])
    near, far = np.linalg.norm(parts[0] - parts[1]), np.linalg.norm(parts[0] - parts[2])
    assert near < far, names


def test_batches_change_nothing(embedder):
    labels = [from_structure(s).label for s in CRYSTALS.values()]
    alone = np.concatenate([embedder.prototypes([label]) for label in labels])
    np.testing.assert_allclose(embedder.prototypes(labels), alone, atol=2e-4)


def test_another_model_is_refused(models):
    with pytest.raises(GenmatError, match="no transformer over crystal sentences"):
        Embedder(models.composition, models.composition)
    with pytest.raises(GenmatError, match="no composition model"):
        Embedder(models.crystal, models.crystal)


def test_projection_has_unit_scale():
    x = np.random.default_rng(0).normal(size=(500, 90)) * np.linspace(1, 5, 90)
    made = fit_projection(x)(x)
    assert made.shape == (500, WIDTH)
    assert (made**2).sum(1).mean() == pytest.approx(1, abs=1e-4)
    assert np.abs(made.mean(0)).max() < 1e-4
    assert (np.diff(made.var(0)) < 1e-6).all()


def test_inverted_file_finds_nearly_all(monkeypatch):
    monkeypatch.setattr("genmat.explore.index.EXACT_UP_TO", 100)
    random = np.random.default_rng(0)
    x = (random.normal(size=(60, 16))[random.integers(0, 60, 6000)] + 0.2 * random.normal(size=(6000, 16))).astype("f4")
    index, again = make_index(x), make_index(x)
    distances, rows = search(index, x[:200], 10)
    assert (rows == search(again, x[:200], 10)[1]).all()
    exact = np.sqrt(np.sort(((x[:200, None] - x[None]) ** 2).sum(2), axis=1)[:, :10])
    assert (distances <= exact + 1e-3).mean() > 0.95
