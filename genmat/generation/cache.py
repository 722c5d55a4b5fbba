"""Keys and values of a shrinking batch, kept in place: no copy per token, rows dropped when their sentence ends."""

from __future__ import annotations

import torch

FIRST_CAPACITY = 32  # tokens; doubled when full


class BatchCache:
    """Key/value cache with the interface of `transformers.Cache` that `CrystalGPTForCausalLM` uses."""

    is_compileable = False

    def __init__(self):
        self.keys: list[torch.Tensor] = []  # per layer (B, G, capacity, D)
        self.values: list[torch.Tensor] = []
        self.lengths: list[int] = []

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens read so far."""
        return self.lengths[layer_idx] if layer_idx < len(self.lengths) else 0

    def update(self, k: torch.Tensor, v: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, G, T, D) keys and values of a layer; return all of them, (B, G, S, D)."""
        if layer == len(self.keys):
            room = max(FIRST_CAPACITY, k.shape[2])
            self.keys.append(k.new_empty(*k.shape[:2], room, k.shape[3]))
            self.values.append(v.new_empty(*v.shape[:2], room, v.shape[3]))
            self.lengths.append(0)
        start, end = self.lengths[layer], self.lengths[layer] + k.shape[2]
        if end > self.keys[layer].shape[2]:
            for store in (self.keys, self.values):
                store[layer] = torch.cat([store[layer], torch.empty_like(store[layer])], dim=2)
        self.keys[layer][:, :, start:end] = k
        self.values[layer][:, :, start:end] = v
        self.lengths[layer] = end
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def batch_select_indices(self, rows: torch.Tensor) -> None:
        """Keep only some rows (B',) of the batch."""
        for store in (self.keys, self.values):
            for layer, tensor in enumerate(store):
                store[layer] = tensor[rows]
