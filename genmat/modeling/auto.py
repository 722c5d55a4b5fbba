"""Make the models known to the Auto classes, and their code part of every saved checkpoint."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForQuestionAnswering

from .cgat.configuration_cgat import CGATConfig
from .cgat.modeling_cgat import CGATModel
from .composition.configuration_composition import CompositionConfig
from .composition.configuration_disorder import DisorderConfig
from .composition.modeling_composition import CompositionModel
from .composition.modeling_disorder import DisorderModel
from .crystal_gpt.configuration_crystal_gpt import CrystalGPTConfig
from .crystal_gpt.modeling_crystal_gpt import CrystalGPTForCausalLM
from .crystal_rnn.configuration_crystal_rnn import CrystalRNNConfig
from .crystal_rnn.modeling_crystal_rnn import CrystalRNNForCausalLM
from .reader.configuration_reader import ReaderConfig
from .reader.modeling_reader import ReaderForQuestionAnswering

MODELS = {
    "crystal_gpt": (CrystalGPTConfig, CrystalGPTForCausalLM),
    "crystal_rnn": (CrystalRNNConfig, CrystalRNNForCausalLM),
}

COMPOSITIONS = {
    "composition": (CompositionConfig, CompositionModel),
    "disorder": (DisorderConfig, DisorderModel),
}

GRAPHS = {"cgat": (CGATConfig, CGATModel)}

READER = {"reader": (ReaderConfig, ReaderForQuestionAnswering)}

FAMILIES = (
    (AutoModelForCausalLM, MODELS),
    (AutoModel, COMPOSITIONS | GRAPHS),
    (AutoModelForQuestionAnswering, READER),
)


def register() -> None:
    """Register every model; calling it twice is harmless."""
    for auto, models in FAMILIES:
        for model_type, (config, model) in models.items():
            AutoConfig.register(model_type, config, exist_ok=True)
            auto.register(config, model, exist_ok=True)
            config.register_for_auto_class()  # `save_pretrained` now copies the code and writes `auto_map`
            model.register_for_auto_class(auto.__name__)


register()
