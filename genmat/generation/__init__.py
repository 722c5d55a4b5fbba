"""Generation of crystals: an exact grammar, and a sampler that never breaks it."""
