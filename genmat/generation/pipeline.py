"""``pipeline("crystal-generation")``: the sampler behind transformers' own front door.

    >>> import genmat.generation.pipeline
    >>> from transformers import pipeline
    >>> crystals = pipeline("crystal-generation")("Li-P-S", n=10)  # doctest: +SKIP

Importing this module registers the task. Without a model the default one that ships with genmat is taken, from its
folder; no network is asked.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForCausalLM, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

import genmat.modeling.auto  # noqa: F401  (registers the architectures)
from genmat.generation.sampler import DEFAULT_MODEL, generate, model_folders

TASK = "crystal-generation"


class CrystalGenerationPipeline(Pipeline):
    """Crystals from a prompt: a chemical system ("Li-P-S"), a formula ("BaTiO3"), or an empty string for anything.

    Calls take `n` and the options of `genmat.generation.sampler.generate`. Each answer is a list of `n` dictionaries:
    formula, spacegroup, prototype (label), log_likelihood and structure (pymatgen, Å). Same seed, same answer.
    """

    _load_tokenizer = False
    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def _sanitize_parameters(self, **options: Any) -> tuple[dict, dict, dict]:
        return options, {}, {}

    def preprocess(self, inputs: str | None, **options: Any) -> dict[str, Any]:
        """The prompt as options of the sampler."""
        text = (inputs or "").strip()
        prompt = {} if not text else {"elements": text} if "-" in text else {"formula": text}
        return {"n": 1, **prompt, **options}

    def _forward(self, input_tensors: dict[str, Any], **_: Any) -> dict[str, Any]:
        options = dict(input_tensors)
        return {"candidates": list(generate(options.pop("n"), model=self.model, **options))}

    def postprocess(self, model_outputs: dict[str, Any], **_: Any) -> list[dict[str, Any]]:
        """Candidates as plain dictionaries."""
        return [
            {
                "formula": candidate.formula,
                "spacegroup": candidate.protostructure.spacegroup,
                "prototype": candidate.protostructure.label,
                "log_likelihood": candidate.results["log_likelihood"],
                "structure": candidate.structure,
            }
            for candidate in model_outputs["candidates"]
        ]


def register() -> None:
    """Register the task; calling it twice is harmless."""
    if TASK in PIPELINE_REGISTRY.get_supported_tasks():
        return
    folder = model_folders().get(DEFAULT_MODEL)
    default = {"model": (str(folder), "main")} if folder is not None else None
    PIPELINE_REGISTRY.register_pipeline(TASK, CrystalGenerationPipeline, AutoModelForCausalLM, default, "text")


register()
