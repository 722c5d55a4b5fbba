"""Wyckoff genes: read, refused, given random geometry."""

import gzip
import json
from pathlib import Path

import pytest

from genmat.crystal.prototype import from_structure
from genmat.data.generation_metrics import structurally_valid
from genmat.data.genes import is_gene_file, protostructure_of, random_stage, read_genes, trials_of
from genmat.errors import GenmatError

PEROVSKITE = {"group": 221, "sites": [["3c"], ["1a"], ["1b"]], "species": ["O", "Ba", "Ti"], "numIons": [3, 1, 1]}


def test_gene_to_protostructure() -> None:
    assert protostructure_of(PEROVSKITE).label == "AB3C_cP5_221_a_c_b:Ba-O-Ti"
    assert protostructure_of(PEROVSKITE).composition == {"Ba": 1, "Ti": 1, "O": 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"sites": [["3c"], ["1a"], ["1z"]]},
        {"sites": [["3c"], ["1a"], ["2b"]]},
        {"numIons": [3, 1, 2]},
        {"sites": [["3c"], ["1a"], ["1a"]]},
        {"species": ["O", "Ba", "Xx"]},
        {"group": 231},
        {"sites": [["3c"], ["1a"]]},
    ],
    ids=["letter", "multiplicity", "number", "taken twice", "element", "group", "length"],
)
def test_wrong_genes_fail_alone(tmp_path: Path, wrong: dict) -> None:
    path = tmp_path / "genes.json"
    path.write_text(json.dumps([PEROVSKITE | wrong, PEROVSKITE]))
    first, second = read_genes(path)
    assert first.failure is not None and first.failure.startswith("read: not a Wyckoff gene")
    assert second.alive and second.id == "genes-00001"


def test_what_is_a_gene_file(tmp_path: Path) -> None:
    packed = tmp_path / "g.json.gz"
    packed.write_bytes(gzip.compress(json.dumps([PEROVSKITE]).encode()))
    assert is_gene_file(packed) and len(read_genes(packed)) == 1
    for name, text in (("a.json", "[{}]"), ("b.json", "[1,"), ("c.json", '{"lattice": 1}'), ("d.csv", "group")):
        (tmp_path / name).write_text(text)
        assert not is_gene_file(tmp_path / name)
    assert not is_gene_file(tmp_path)
    with pytest.raises(GenmatError, match="not readable JSON"):
        read_genes(tmp_path / "b.json")


def test_random_geometry_keeps_the_prototype(tmp_path: Path) -> None:
    pytest.importorskip("pyxtal")
    path = tmp_path / "genes.json"
    rutile = {"group": 136, "sites": [["4f"], ["2a"]], "species": ["O", "Sn"], "numIons": [4, 2]}
    path.write_text(json.dumps([PEROVSKITE, rutile, {**PEROVSKITE, "numIons": [1, 1, 1]}]))
    genes = trials_of(read_genes(path), 2)
    assert [gene.id for gene in genes[:3]] == ["genes-00000.0", "genes-00000.1", "genes-00001.0"]
    made, again, other = (list(random_stage(genes, seed=seed)) for seed in (0, 0, 1))
    assert [c.structure for c in made] == [c.structure for c in again]
    assert made[2].structure != made[3].structure and made[2].structure != other[2].structure
    for candidate in made[:4]:
        assert candidate.structure is not None and structurally_valid(candidate.structure)
        assert candidate.protostructure is not None
        assert from_structure(candidate.structure, 1e-3).label == candidate.protostructure.label
    assert all(not candidate.alive and candidate.structure is None for candidate in made[4:])


def test_published_genes_are_all_read(shared: Path) -> None:
    genes = read_genes(shared / "generated" / "wyformer_mp20_ioi8tycx_2500genes.json.gz")
    assert len(genes) == 2500 and all(gene.alive for gene in genes)
