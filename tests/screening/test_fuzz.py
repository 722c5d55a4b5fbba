"""Malformed structures through the real funnel: no crash, nothing lost, everything has a result or a reason."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from malformed import OBJECTS, objects, texts
from pymatgen.core import Lattice, Structure

import genmat
from genmat.candidate import Candidate
from genmat.crystal.validity import valid_stage
from genmat.data.read import read_candidates
from genmat.screening.hull import hull_stage
from genmat.screening.potentials import load
from genmat.screening.potentials.emt import EMTPotential
from genmat.screening.reference import load_reference
from genmat.screening.relax import relax, relax_one
from genmat.screening.select import rank_stage

STAGES = ("read", "valid", "valid_relaxed", "relax", "hull")


def reasoned(candidate):
    """Failed in a stage there is, with words."""
    stage, _, reason = str(candidate.failure).partition(": ")
    return stage in STAGES and len(reason) > 5 and "Traceback" not in reason


def test_objects_with_chgnet():
    """One of every class, given as it is, through valid, relax, valid, hull and rank."""
    made = list(objects(len(OBJECTS), seed=1))
    candidates = [Candidate(f"c{i}", "test", structure=structure) for i, (_, structure) in enumerate(made)]
    relaxed = relax(valid_stage(candidates), load("chgnet", check=False), max_steps=4, rattle=0, max_atoms=40)
    done = list(rank_stage(hull_stage(valid_stage(relaxed), load_reference(None))))
    assert sorted(c.id for c in done) == sorted(c.id for c in candidates)
    assert all(reasoned(c) if c.failure else np.isfinite(c.results["energy_per_atom"]) for c in done)
    ended = {made[int(c.id[1:])][0]: c for c in done}
    assert ended["sound"].alive and ended["left-handed lattice"].alive and ended["oxidation states"].failure is None
    for name in ("coincident atoms", "no atoms", "NaN lattice", "infinite coordinate", "no volume", "disordered site"):
        assert not ended[name].alive


def test_objects_through_the_python_verb(tmp_path):
    """`genmat.screen` with Lennard-Jones: campaign, results and report survive it; a second call finds it done."""
    made = list(objects(2 * len(OBJECTS), seed=2))
    settings = {"potential": "lj", "reference": "none", "max_steps": 2, "workers": 1}
    done = genmat.screen([s for _, s in made], out=tmp_path / "run", **settings)
    assert len(done) == len(made) and (tmp_path / "run" / "results.csv").exists()
    assert all(reasoned(c) if c.failure else "energy_per_atom" in c.results for c in done)
    again = genmat.screen([s for _, s in made], out=tmp_path / "run", **settings)
    assert [(c.id, c.failure) for c in again] == [(c.id, c.failure) for c in done]


def test_texts_of_every_kind(tmp_path):
    """Broken CIF, JSONL and extxyz entries: each file gives candidates with a usable structure or a reason."""
    written = list(texts(270, seed=3))
    for i, (kind, _, text) in enumerate(written):
        (tmp_path / f"f{i}.{kind}").write_text(text, encoding="utf-8")
    found = list(read_candidates(tmp_path))
    assert len({c.id for c in found}) == len(found)
    sound = {f"f{i}" for i, (_, name, _) in enumerate(written) if name == "as it is"}
    assert sum(c.alive for c in found if c.id in sound) > len(sound) / 3
    for candidate in valid_stage(found):
        assert reasoned(candidate) if candidate.failure else len(candidate.structure) > 0


class Untouchable(EMTPotential):
    """Must never be asked."""

    def evaluate(self, structures, *, gradients=True):
        pytest.fail("an absurd structure reached the potential")


@pytest.mark.parametrize(
    ("reason", "structure"),
    [
        (
            "too flat",
            Structure(Lattice([[3, 0, 0], [2.999, 0.001, 0], [0, 0, 3e4]]), ["Cu"] * 2, [[0, 0, 0], [0, 0, 0.5]]),
        ),
        ("crowded", Structure(Lattice.cubic(20), ["Cu"] * 150, np.random.default_rng(0).random((150, 3)) * 0.2)),
        ("dissociated", Structure(Lattice.cubic(1e5), ["Cu"], [[0, 0, 0]])),
        ("closer than", Structure(Lattice.cubic(4), ["Cu"] * 40, np.zeros((40, 3)))),
    ],
)
def test_absurd_cells_cost_nothing(reason, structure):
    """Cells that would take for ever end before the first evaluation."""
    if reason == "crowded":  # no two closer than 0.5 Å, yet each with all others around it
        grid = np.stack(np.meshgrid(*[np.arange(6)] * 3), axis=-1).reshape(-1, 3)[:150] * 0.55 / 20
        structure = Structure(structure.lattice, structure.species, grid)
    done = relax_one(Candidate("a", "test", structure=structure), Untouchable())
    assert done.failure is not None and reason in done.failure


def test_needles_do_not_hang():
    """A cell 27 times longer than wide, from whose symmetry at 0.1 Å moyopy never returns (asked in a process)."""
    code = (
        "from pymatgen.core import Lattice, Structure; from genmat.crystal.prototype import from_structure;"
        "cell = Lattice([[2.1016, -1.21338, 0], [2.1016, 1.21338, 0], [-1.82168, 0, 66.06986]]);"
        "print(from_structure(Structure(cell, ['Cu'], [[0, 0, 0]])).formula)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip() == "Cu"
