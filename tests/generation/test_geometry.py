"""A given prototype gets a geometry from the model, and nothing else of it changes."""

import pytest

from genmat.candidate import Candidate
from genmat.crystal.prototype import Protostructure, Site
from genmat.generation.geometry import GeometryGrammar, spell_stage
from genmat.training.build import build_model
from genmat.training.config import ModelConfig

PROTOS = [
    Protostructure(221, (Site("Ba", "a"), Site("Ti", "b"), Site("O", "c"))),
    Protostructure(221, (Site("Ti", "a"), Site("Ba", "b"), Site("O", "c"))),  # the other way round
    Protostructure(136, (Site("Sn", "a"), Site("O", "f"))),
    Protostructure(62, (Site("Ca", "c"), Site("Ti", "a"), Site("O", "c"), Site("O", "d"))),
    Protostructure(2, (Site("Li", "a"), Site("Li", "i"), Site("P", "i"), Site("S", "i"), Site("S", "i"))),
]


@pytest.fixture(scope="module")
def model():
    """A model with fresh weights: whatever it prefers, the grammar decides."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    return build_model(ModelConfig(type="crystal_gpt", sizes={**sizes, "intermediate_size": 64})).eval()


def test_everything_but_the_geometry_is_kept(model) -> None:
    given = [Candidate(f"g{i}", "test", proto) for i, proto in enumerate(PROTOS)]
    for before, after in zip(given, spell_stage(given, model=model, e_above_hull=0.0), strict=True):
        assert after.alive and after.structure is not None
        old, new = before.protostructure, after.protostructure
        assert old is not None and new is not None and new.spacegroup == old.spacegroup and new.lattice
        assert sorted((s.element, s.letter) for s in new.sites) == sorted((s.element, s.letter) for s in old.sites)
        assert len(after.structure) == old.n_atoms


def test_the_draw_is_decided_by_seed_and_trial(model) -> None:
    given = [Candidate("g", "test", PROTOS[2], provenance={"trial": trial}) for trial in (0, 1)]
    first, second = spell_stage(given, model=model, seed=1)
    again = next(spell_stage(given[1:], model=model, seed=1))
    assert second.structure == again.structure != first.structure
    assert next(spell_stage(given, model=model, seed=2)).structure != first.structure


def test_what_cannot_be_spelled_fails(model) -> None:
    heavy = Protostructure(1, (Site("Li", "a"), *(Site("H", "a") for _ in range(65))))
    none, beyond = spell_stage([Candidate("a", "t"), Candidate("b", "t", heavy)], model=model)
    assert none.failure == "geometry: no protostructure to spell"
    assert beyond.failure is not None and beyond.failure.startswith("geometry: ")


def test_grammar_fixes_who_sits_where() -> None:
    assert GeometryGrammar(PROTOS[0]).assignments != GeometryGrammar(PROTOS[1]).assignments
    assert len(GeometryGrammar(PROTOS[3]).assignments) == 1
