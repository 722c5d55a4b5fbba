"""transformers' own front door gives what the sampler gives."""

from __future__ import annotations

import pytest

from genmat.generation.sampler import DEFAULT_MODEL, find_model, generate


@pytest.fixture(scope="module")
def crystals():
    from transformers import pipeline

    import genmat.generation.pipeline  # noqa: F401  (registers the task)

    return pipeline("crystal-generation")


def test_prompts(crystals) -> None:
    found = crystals("Li-P-S", n=3)
    expected = list(generate(3, elements="Li-P-S"))
    assert [crystal["prototype"] for crystal in found] == [c.protostructure.label for c in expected]
    assert [crystal["structure"] for crystal in found] == [c.structure for c in expected]
    (titanates, anything) = crystals(["BaTiO3", ""], n=2, seed=3)
    assert [crystal["formula"] for crystal in titanates] == ["BaTiO3", "BaTiO3"]
    assert [c["formula"] for c in anything] == [c.formula for c in generate(2, seed=3)]


def test_any_folder_serves(crystals) -> None:
    from transformers import pipeline

    again = pipeline("crystal-generation", model=find_model(DEFAULT_MODEL))
    assert again("BaTiO3", spacegroup=221)[0]["spacegroup"] == 221
