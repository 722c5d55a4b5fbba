"""Make the models known to `AutoConfig` and `AutoModelForCausalLM`, and their code part of every saved checkpoint."""

from transformers import AutoConfig, AutoModelForCausalLM

from .crystal_gpt.configuration_crystal_gpt import CrystalGPTConfig
from .crystal_gpt.modeling_crystal_gpt import CrystalGPTForCausalLM
from .crystal_rnn.configuration_crystal_rnn import CrystalRNNConfig
from .crystal_rnn.modeling_crystal_rnn import CrystalRNNForCausalLM

MODELS = {
    "crystal_gpt": (CrystalGPTConfig, CrystalGPTForCausalLM),
    "crystal_rnn": (CrystalRNNConfig, CrystalRNNForCausalLM),
}


def register() -> None:
    """Register every model; calling it twice is harmless."""
    for model_type, (config, model) in MODELS.items():
        AutoConfig.register(model_type, config, exist_ok=True)
        AutoModelForCausalLM.register(config, model, exist_ok=True)
        config.register_for_auto_class()  # `save_pretrained` now copies the code and writes `auto_map`
        model.register_for_auto_class("AutoModelForCausalLM")


register()
